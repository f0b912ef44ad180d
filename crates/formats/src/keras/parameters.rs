//! Reads the parameters of a layer and converts them to the layout of the graph.

use super::bind::{self, Bound};
use super::import::{Import, Site};
use crate::weights::layout;
use resnet_wgpu::Error;
use resnet_wgpu::internals::network::{Parameter, TensorSource};
use resnet_wgpu::tensor::Tensor;

impl Bound {
    /// Reads a parameter in the layout of the graph: kernels OIHW, matrices `[out, in]`.
    pub(super) fn tensor(&mut self, path: &str, role: Parameter) -> Result<Tensor, Error> {
        let variable = self.take(path, role)?;
        let dims = layout::channels_first(&variable.dims);
        let mut data = layout::transpose(variable.read()?, &dims);
        if let ([_, _, window @ ..], true) = (&dims[..], self.mirrored) {
            // Flipping a kernel in both directions reverses the order of its numbers.
            let window: usize = window.iter().product();
            let mut turned = data.to_vec();
            turned
                .chunks_exact_mut(window.max(1))
                .for_each(<[f32]>::reverse);
            data = turned.into();
        }
        Tensor::new(&dims, data)
    }

    /// The parameters of the layers inside the layer at `scope`.
    pub(super) const fn below<'a>(&'a mut self, scope: &'a str) -> Below<'a> {
        Below { bound: self, scope }
    }
}

/// The parameters of the layers inside another.
pub(super) struct Below<'a> {
    bound: &'a mut Bound,
    scope: &'a str,
}

impl TensorSource for Below<'_> {
    fn dims(&self, name: &str) -> Option<Vec<usize>> {
        let (layer, role) = Parameter::of_keras(name)?;
        let variable = self.bound.get(&bind::path(self.scope, layer), role)?;
        Some(layout::channels_first(&variable.dims))
    }

    fn take(&mut self, name: &str, dims: &[usize]) -> Result<Tensor, Error> {
        let (layer, role) = Parameter::of_keras(name).unwrap_or((name, Parameter::Weight));
        let path = bind::path(self.scope, layer);
        let expected = layout::channels_last(dims);
        match self.bound.get(&path, role) {
            Some(variable) if variable.dims != expected => Err(Error::WeightShape {
                name: variable.path.clone(),
                expected,
                got: variable.dims.clone(),
            }),
            _ => self.bound.tensor(&path, role),
        }
    }
}

impl Import {
    /// A kernel with `rank` dimensions, in the layout of the graph.
    pub(super) fn weight(&mut self, site: &Site<'_>, rank: usize) -> Result<Tensor, Error> {
        let tensor = self.weights.tensor(&site.path, Parameter::Weight)?;
        if tensor.dims().len() != rank || tensor.dims().contains(&0) {
            return Err(site.refuse(format!(
                "its kernel has shape {:?}, not {rank} dimensions",
                layout::channels_last(tensor.dims())
            )));
        }
        Ok(tensor)
    }

    pub(super) fn bias(
        &mut self,
        site: &Site<'_>,
        there: bool,
        channels: usize,
    ) -> Result<Option<String>, Error> {
        if !there {
            return Ok(None);
        }
        let absent = Tensor::from_fn(&[channels], |_| 0.0);
        self.vector(site, Parameter::Bias, true, absent).map(Some)
    }

    /// A parameter with one number per channel; `absent` takes its place if the layer has none.
    pub(super) fn vector(
        &mut self,
        site: &Site<'_>,
        role: Parameter,
        there: bool,
        absent: Tensor,
    ) -> Result<String, Error> {
        if !there {
            return self.param(site, role, absent);
        }
        let variable = self.weights.take(&site.path, role)?;
        if variable.dims != absent.dims() {
            return Err(Error::WeightShape {
                name: variable.path,
                expected: absent.dims().to_vec(),
                got: variable.dims,
            });
        }
        let tensor = Tensor::new(absent.dims(), variable.read()?)?;
        self.param(site, role, tensor)
    }

    /// Registers a parameter with the draft, and returns its name.
    pub(super) fn param(
        &mut self,
        site: &Site<'_>,
        role: Parameter,
        tensor: Tensor,
    ) -> Result<String, Error> {
        let name = format!("{}.{}", site.path, role.name());
        self.draft.tensor(&name, tensor)?;
        Ok(name)
    }
}
