//! Assigns the variables of a file to the parameters of layers.
//!
//! Takes a [`Network`] and a file's [`Saved`] variables, and returns the parameters of each layer
//! by the path of the layer. A variable that no layer takes is an error.

use std::collections::HashMap;

use super::network::{Network, Slot};
use super::store::{Folder, NamedLayer, Saved, Variable};
use super::unreadable;
use resnet_wgpu::Error;
use resnet_wgpu::internals::network::Parameter;

/// The parameters of all layers, by the path of the layer.
#[derive(Debug, Default)]
pub(super) struct Bound {
    variables: HashMap<String, Vec<(Parameter, Variable)>>,
    /// Whether kernels are stored flipped, as Theano does.
    pub(super) mirrored: bool,
}

/// Finds the parameters of every layer.
pub(super) fn bind(network: &Network, saved: Saved) -> Result<Bound, Error> {
    let mut bound = Bound::default();
    let slots = network.slots()?;
    match saved {
        Saved::Named(layers) => bound.named(slots, layers)?,
        Saved::Numbered(mut folder) => {
            bound.numbered(&slots, &mut folder, &network.name, "")?;
            if let Some(path) = left_over(&folder) {
                return Err(unused(path, 1));
            }
        }
    }
    Ok(bound)
}

/// The path of a layer: its name after those of the networks that contain it, joined by slashes.
pub(super) fn path(scope: &str, name: &str) -> String {
    let slash = if scope.is_empty() || name.is_empty() {
        ""
    } else {
        "/"
    };
    [scope, slash, name].concat()
}

fn unused(first: String, count: usize) -> Error {
    Error::WeightsUnused { first, count }
}

impl Bound {
    /// Looks up a parameter of a layer.
    pub(super) fn get(&self, path: &str, role: Parameter) -> Option<&Variable> {
        let mut variables = self.variables.get(path)?.iter();
        Some(&variables.find(|(other, _)| *other == role)?.1)
    }

    /// Removes and returns a parameter of a layer.
    pub(super) fn take(&mut self, path: &str, role: Parameter) -> Result<Variable, Error> {
        let variables = self.variables.get_mut(path);
        let found = variables.and_then(|list| {
            let position = list.iter().position(|(other, _)| *other == role)?;
            Some(list.swap_remove(position).1)
        });
        found.ok_or_else(|| Error::WeightMissing {
            name: format!("{path}/{}", role.keras_name()),
            expected: Vec::new(),
        })
    }

    fn named(&mut self, slots: Vec<Slot>, layers: Vec<NamedLayer>) -> Result<(), Error> {
        let mut by_name: HashMap<String, Vec<(String, Variable)>> = HashMap::new();
        for layer in layers {
            if by_name
                .insert(layer.name.clone(), layer.variables)
                .is_some()
            {
                return Err(unreadable(format!(
                    "two layers are called '{}'",
                    layer.name
                )));
            }
        }
        for slot in slots {
            let variables = by_name.remove(&slot.name).unwrap_or_default();
            match &slot.inner {
                Some(inner) => self.named_inner(inner, variables, &slot.name)?,
                None => self.layer(slot.name, &slot.roles, variables)?,
            }
        }
        let left = by_name
            .into_values()
            .flatten()
            .map(|(_, variable)| variable.path);
        let mut left: Vec<String> = left.collect();
        left.sort_unstable();
        match left.first() {
            None => Ok(()),
            Some(first) => Err(unused(first.clone(), left.len())),
        }
    }

    /// A nested network: one list holds all its variables, named after its inner layers.
    fn named_inner(
        &mut self,
        slots: &[Slot],
        variables: Vec<(String, Variable)>,
        scope: &str,
    ) -> Result<(), Error> {
        let mut by_owner: HashMap<String, Vec<(String, Variable)>> = HashMap::new();
        for (name, variable) in variables {
            let owner = name.rsplit('/').nth(1).unwrap_or_default().to_owned();
            by_owner.entry(owner).or_default().push((name, variable));
        }
        self.take_owned(slots, &mut by_owner, scope)?;
        let mut left = by_owner
            .into_values()
            .flatten()
            .map(|(_, variable)| variable.path);
        match left.next() {
            None => Ok(()),
            Some(first) => Err(unused(first, 1 + left.count())),
        }
    }

    fn take_owned(
        &mut self,
        slots: &[Slot],
        by_owner: &mut HashMap<String, Vec<(String, Variable)>>,
        scope: &str,
    ) -> Result<(), Error> {
        for slot in slots {
            let path = path(scope, &slot.name);
            if let Some(inner) = &slot.inner {
                self.take_owned(inner, by_owner, &path)?;
            } else {
                let variables = by_owner.remove(&slot.name).unwrap_or_default();
                self.layer(path, &slot.roles, variables)?;
            }
        }
        Ok(())
    }

    /// Assigns variables to a layer: by name if the names cover all its parameters, else in order.
    fn layer(
        &mut self,
        path: String,
        roles: &[Parameter],
        variables: Vec<(String, Variable)>,
    ) -> Result<(), Error> {
        let known: Vec<Option<Parameter>> = variables.iter().map(|(name, _)| role(name)).collect();
        let all_known = roles.iter().all(|&role| known.contains(&Some(role)));
        let variables = variables.into_iter().zip(known);
        let pairs: Vec<(Option<Parameter>, Variable)> = if all_known {
            variables
                .map(|((_, variable), role)| (role, variable))
                .collect()
        } else {
            let roles = roles
                .iter()
                .copied()
                .map(Some)
                .chain(std::iter::repeat(None));
            variables
                .zip(roles)
                .map(|(((_, variable), _), role)| (role, variable))
                .collect()
        };
        self.insert(path, roles, pairs)
    }

    fn insert(
        &mut self,
        path: String,
        roles: &[Parameter],
        pairs: Vec<(Option<Parameter>, Variable)>,
    ) -> Result<(), Error> {
        // Layers without parameters may still save state, such as a random generator's.
        if roles.is_empty() {
            return Ok(());
        }
        let found = pairs.len();
        let mut variables = Vec::new();
        for (role, variable) in pairs {
            match role.filter(|role| roles.contains(role)) {
                Some(role) => variables.push((role, variable)),
                // A scalar, such as the count of samples seen.
                None if variable.dims.is_empty() => {}
                None => return Err(unused(variable.path, found - roles.len().min(found) + 1)),
            }
        }
        if let Some(missing) = roles
            .iter()
            .find(|r| !variables.iter().any(|(role, _)| role == *r))
        {
            return Err(Error::WeightMissing {
                name: format!("{path}/{}", missing.keras_name()),
                expected: Vec::new(),
            });
        }
        if self.variables.insert(path.clone(), variables).is_some() {
            return Err(unreadable(format!("two layers are called '{path}'")));
        }
        Ok(())
    }

    /// Groups are numbered per class, in the order in which the network lists its layers. Numbers
    /// may be skipped: only their order counts.
    fn numbered(
        &mut self,
        slots: &[Slot],
        folder: &mut Folder,
        name: &str,
        scope: &str,
    ) -> Result<(), Error> {
        let Some(container) = container(folder) else {
            return Err(unreadable(format!(
                "the group of '{name}' has no layers; the file belongs to another network"
            )));
        };
        let mut by_class: HashMap<String, Vec<(usize, String)>> = HashMap::new();
        for (name, inner) in &container.folders {
            let (class, number) = class_and_number(name);
            if !is_empty(inner) {
                by_class
                    .entry(class.to_owned())
                    .or_default()
                    .push((number, name.clone()));
            }
        }
        for folders in by_class.values_mut() {
            // In reverse, as the next one is popped off the end.
            folders.sort_unstable_by(|a, b| b.cmp(a));
        }
        for slot in slots.iter().filter(|slot| has_parameters(slot)) {
            let layer_path = path(scope, &slot.name);
            let class = snake_case(&slot.class);
            let next = by_class.get_mut(&class).and_then(Vec::pop);
            let found = next.and_then(|(_, name)| container.folders.get_mut(&name));
            let Some(found) = found else {
                return Err(Error::WeightMissing {
                    name: format!("{layer_path} (a group '{class}')"),
                    expected: Vec::new(),
                });
            };
            if let Some(stated) = found.name.as_ref().filter(|stated| **stated != slot.name) {
                return Err(unreadable(format!(
                    "the weights of '{stated}' are where those of '{}' should be: the file is of \
                     another network",
                    slot.name
                )));
            }
            if let Some(inner) = &slot.inner {
                self.numbered(inner, found, &layer_path, &layer_path)?;
                continue;
            }
            let variables = std::mem::take(&mut found.variables).into_values();
            let roles = slot.roles.iter().copied().map(Some);
            let pairs = roles.chain(std::iter::repeat(None)).zip(variables);
            self.insert(layer_path, &slot.roles, pairs.collect())?;
        }
        // Discards the saved state of layers without parameters.
        let stateless = slots.iter().filter(|slot| !has_parameters(slot));
        let stateless: Vec<String> = stateless.map(|slot| snake_case(&slot.class)).collect();
        container
            .folders
            .retain(|name, _| !stateless.iter().any(|s| s == class_and_number(name).0));
        Ok(())
    }
}

/// The group that holds a network's layers.
fn container(folder: &mut Folder) -> Option<&mut Folder> {
    // Keras 2.13 used the second name.
    let names = ["layers", "_layer_checkpoint_dependencies"];
    let name = names
        .into_iter()
        .find(|&name| folder.folders.contains_key(name))?;
    folder.folders.get_mut(name)
}

fn has_parameters(slot: &Slot) -> bool {
    let mut inner = slot.inner.iter().flatten();
    !slot.roles.is_empty() || inner.any(has_parameters)
}

fn is_empty(folder: &Folder) -> bool {
    folder.variables.is_empty() && folder.folders.values().all(is_empty)
}

/// The path of a variable that no layer took.
fn left_over(folder: &Folder) -> Option<String> {
    let own = folder
        .variables
        .values()
        .next()
        .map(|variable| variable.path.clone());
    own.or_else(|| folder.folders.values().find_map(left_over))
}

/// Splits a name and its number: `conv2d_12` is the thirteenth `conv2d`, the first has no number.
pub(super) fn class_and_number(name: &str) -> (&str, usize) {
    let split = name.rsplit_once('_');
    let numbered = split.and_then(|(class, number)| Some((class, number.parse().ok()?)));
    numbered.unwrap_or((name, 0))
}

/// The name that Keras derives from a class for layers and groups: `Conv2D` becomes `conv2d`,
/// `BatchNormalization` becomes `batch_normalization`.
fn snake_case(class: &str) -> String {
    let letters: Vec<char> = class
        .chars()
        .filter(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    let mut snake = String::new();
    for (index, &letter) in letters.iter().enumerate() {
        let before = index.checked_sub(1).map(|i| letters[i]);
        let after = letters.get(index + 1);
        let starts_word = letter.is_uppercase()
            && before.is_some_and(|before| before != '_')
            && (after.is_some_and(|after| after.is_lowercase())
                || before.is_some_and(char::is_lowercase));
        if starts_word {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

/// The parameter named at the end of `conv1/kernel:0`, or `conv1_W:0` in early versions.
fn role(name: &str) -> Option<Parameter> {
    let last = name.rsplit('/').next().unwrap_or(name);
    let last = last.split(':').next().unwrap_or(last);
    let ends = [
        ("kernel", Parameter::Weight),
        ("_W", Parameter::Weight),
        ("bias", Parameter::Bias),
        ("_b", Parameter::Bias),
        ("gamma", Parameter::Gamma),
        ("beta", Parameter::Beta),
        ("moving_mean", Parameter::Mean),
        ("running_mean", Parameter::Mean),
        ("moving_variance", Parameter::Variance),
        // In spite of its name, it holds the variance.
        ("running_std", Parameter::Variance),
        // Those of a `Normalization` layer.
        ("mean", Parameter::Mean),
        ("variance", Parameter::Variance),
    ];
    ends.into_iter()
        .find(|(end, _)| last.ends_with(end))
        .map(|(_, role)| role)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_become_the_names_that_keras_gives() {
        for (class, expected) in [
            ("Conv2D", "conv2d"),
            ("BatchNormalization", "batch_normalization"),
            ("Dense", "dense"),
            ("ReLU", "re_lu"),
            ("ResNetBackbone", "res_net_backbone"),
            ("GlobalAveragePooling2D", "global_average_pooling2d"),
            ("TFOpLambda", "tf_op_lambda"),
        ] {
            assert_eq!(snake_case(class), expected, "{class}");
        }
        assert_eq!(class_and_number("conv2d_12"), ("conv2d", 12), "numbered");
        assert_eq!(class_and_number("re_lu"), ("re_lu", 0), "the first");
    }

    #[test]
    fn weights_of_all_ages_are_known_by_their_names() {
        for (name, expected) in [
            ("conv1/kernel:0", Some(Parameter::Weight)),
            ("res2a_branch2a_W:0", Some(Parameter::Weight)),
            ("fc1000_b:0", Some(Parameter::Bias)),
            ("resnet/bn/moving_variance", Some(Parameter::Variance)),
            ("bn_conv1_running_std:0", Some(Parameter::Variance)),
            ("seed_generator_state", None),
        ] {
            assert_eq!(role(name), expected, "{name}");
        }
    }
}
