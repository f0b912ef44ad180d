//! What the weights of a file show on their own: its convolutions, normalisations and classifier,
//! in order, and their names where there are any.

use super::bind::{self, Bound};
use super::families::unknown;
use super::network::Network;
use super::store::{Folder, NamedLayer, Saved, Variable};
use resnet_wgpu::Error;

/// A layer found in a file of either layout.
#[derive(Debug)]
pub(super) struct Found {
    /// `None` in numbered files of early versions.
    pub(super) name: Option<String>,
    variables: Vec<(String, Variable)>,
}

impl Found {
    /// The dimensions of its first variable, if it has `N` of them.
    pub(super) fn kernel<const N: usize>(&self) -> Option<[usize; N]> {
        let dims = self
            .variables
            .first()
            .map(|(_, variable)| &variable.dims[..])?;
        dims.try_into().ok()
    }

    /// Path of its first variable in the file.
    pub(super) fn path(&self) -> &str {
        self.variables
            .first()
            .map_or("", |(_, variable)| &variable.path)
    }

    fn is_norm(&self) -> bool {
        self.kernel::<1>().is_some() && self.variables.len() >= 2
    }
}
/// The layers of a file, by kind.
#[derive(Debug)]
pub(super) struct Evidence {
    pub(super) convs: Vec<Found>,
    pub(super) norms: Vec<Found>,
    pub(super) dense: Option<Found>,
    /// Number of convolutions with a bias.
    pub(super) biases: usize,
}

impl Evidence {
    pub(super) fn gather(layers: Vec<Found>) -> Result<Self, Error> {
        let mut evidence = Self {
            convs: Vec::new(),
            norms: Vec::new(),
            dense: None,
            biases: 0,
        };
        for layer in layers {
            if layer.kernel::<4>().is_some() {
                evidence.biases += usize::from(layer.variables.len() > 1);
                evidence.convs.push(layer);
            } else if layer.kernel::<2>().is_some() {
                if let Some(first) = &evidence.dense {
                    let paths = [first, &layer].map(|l| l.variables[0].1.path.clone());
                    return Err(unknown(format!(
                        "it has several linear layers ({}), and does not say how they are \
                         connected; save the whole model instead of the weights",
                        paths.join(", ")
                    )));
                }
                evidence.dense = Some(layer);
            } else if layer.is_norm() {
                evidence.norms.push(layer);
            }
            // Anything else is state, such as that of random number generators.
        }
        Ok(evidence)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let layers = self.convs.iter().chain(&self.norms);
        layers.filter_map(|layer| layer.name.as_deref())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names().any(|other| other == name)
    }

    pub(super) fn head_name(&self) -> Option<String> {
        let dense = self.dense.as_ref()?;
        Some(
            dense
                .name
                .clone()
                .unwrap_or_else(|| "predictions".to_owned()),
        )
    }

    pub(super) fn classes(&self) -> Option<usize> {
        Some(self.dense.as_ref()?.kernel::<2>()?[1])
    }

    pub(super) fn bind_by_name(self, network: &Network) -> Result<Bound, Error> {
        let layers = self.convs.into_iter().chain(self.norms).chain(self.dense);
        let named = layers.map(|layer| NamedLayer {
            name: layer.name.unwrap_or_else(|| "predictions".to_owned()),
            variables: layer.variables,
        });
        bind::bind(network, Saved::Named(named.collect()))
    }

    /// Assigns weights in order: within each kind, the file must list layers as the network does.
    pub(super) fn bind_in_order(self, network: &Network) -> Result<Bound, Error> {
        let mut convs = self.convs.into_iter();
        let mut norms = self.norms.into_iter();
        let mut dense = self.dense.into_iter();
        let mut named = Vec::new();
        for slot in network.slots()? {
            let found = match &slot.class[..] {
                "Conv2D" => convs.next(),
                "BatchNormalization" => norms.next(),
                "Dense" => dense.next(),
                _ => continue,
            };
            if let Some(found) = found {
                named.push(NamedLayer {
                    name: slot.name,
                    variables: found.variables,
                });
            }
        }
        let left: Vec<Found> = convs.chain(norms).chain(dense).collect();
        if let Some((_, first)) = left.first().and_then(|found| found.variables.first()) {
            return Err(Error::WeightsUnused {
                first: first.path.clone(),
                count: left.len(),
            });
        }
        bind::bind(network, Saved::Named(named))
    }
}

/// The layers of a file, in order; nested networks are replaced by their layers.
pub(super) fn list(saved: Saved) -> Vec<Found> {
    let mut layers = Vec::new();
    match saved {
        Saved::Named(named) => named
            .into_iter()
            .for_each(|layer| list_named(layer, &mut layers)),
        Saved::Numbered(folder) => list_folder(folder, &mut layers),
    }
    layers
}

fn list_named(layer: NamedLayer, layers: &mut Vec<Found>) {
    let mut owners: Vec<(String, Vec<(String, Variable)>)> = Vec::new();
    for (name, variable) in layer.variables {
        let owner = name.rsplit('/').nth(1).unwrap_or_default().to_owned();
        match owners.iter_mut().find(|(other, _)| *other == owner) {
            Some((_, list)) => list.push((name, variable)),
            None => owners.push((owner, vec![(name, variable)])),
        }
    }
    let single = owners.len() == 1;
    layers.extend(owners.into_iter().map(|(owner, variables)| Found {
        name: Some(if single { layer.name.clone() } else { owner }),
        variables,
    }));
}

fn list_folder(folder: Folder, layers: &mut Vec<Found>) {
    if !folder.variables.is_empty() {
        let variables = folder.variables.into_values();
        layers.push(Found {
            name: folder.name,
            variables: variables.map(|v| (String::new(), v)).collect(),
        });
    }
    let mut inner: Vec<(String, Folder)> = folder.folders.into_iter().collect();
    inner.sort_by(|(a, _), (b, _)| bind::class_and_number(a).cmp(&bind::class_and_number(b)));
    for (_, folder) in inner {
        list_folder(folder, layers);
    }
}
