//! The parameters of a layer, read from the file and brought into the order of the graph.

use super::import::{Import, Site};
use crate::weights::layout;
use resnet_wgpu::Error;
use resnet_wgpu::internals::network::Parameter;
use resnet_wgpu::tensor::Tensor;

impl Import {
    /// A kernel of so many sizes, in the order of the graph.
    pub(super) fn weight(&mut self, site: &Site<'_>, rank: usize) -> Result<Tensor, Error> {
        let variable = self.weights.take(&site.path, Parameter::Weight)?;
        if variable.dims.len() != rank || variable.dims.contains(&0) {
            return Err(site.refuse(format!(
                "its kernel has sizes {:?}, which are not {rank}",
                variable.dims
            )));
        }
        let dims = layout::channels_first(&variable.dims);
        let mut data = layout::transpose(variable.read()?, &dims);
        if self.settings.mirrored && rank == 4 {
            // A window turned by half is its numbers in reverse.
            let window: usize = dims[2..].iter().product();
            let mut turned = data.to_vec();
            turned.chunks_exact_mut(window).for_each(<[f32]>::reverse);
            data = turned.into();
        }
        Tensor::new(&dims, data)
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

    /// A parameter of one number for each channel, or what stands for it.
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

    /// Makes a parameter known, and returns its name.
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
