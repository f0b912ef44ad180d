//! What a run gives.

use resnet_wgpu::gpu::Colors;
use resnet_wgpu::graph::Role;
use resnet_wgpu::internals::explain::Sites;
use resnet_wgpu::internals::reference::heat_map;
use resnet_wgpu::tensor::Tensor;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::thrown;

/// The outputs of a run.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Answer {
    values: Vec<(Role, Tensor)>,
    sites: Option<Sites>,
}

impl Answer {
    pub(crate) fn new(values: Vec<(Role, Tensor)>, sites: Option<Sites>) -> Self {
        Self { values, sites }
    }

    fn find(&self, role: Role) -> Option<&Tensor> {
        let found = self.values.iter().find(|(of, _)| *of == role);
        found.map(|(_, tensor)| tensor)
    }

    fn numbers(&self, role: Role) -> Option<Vec<f32>> {
        self.find(role).map(|tensor| tensor.data().to_vec())
    }
}

#[wasm_bindgen]
impl Answer {
    /// The scores, by class.
    pub fn logits(&self) -> Option<Vec<f32>> {
        self.numbers(Role::Logits)
    }

    /// The probabilities, by class.
    pub fn probabilities(&self) -> Option<Vec<f32>> {
        self.numbers(Role::Probabilities)
    }

    /// The class activation map as RGBA of this size, not premultiplied; nothing without a map.
    pub fn heat(&self, height: usize, width: usize) -> Result<Option<Vec<u8>>, JsValue> {
        let (Some(map), Some(sites)) = (self.find(Role::ClassMap), &self.sites) else {
            return Ok(None);
        };
        let painted = heat_map(map, sites, [height, width], true).map_err(thrown)?;
        let colors = Colors::Heat.table();
        let pixels = painted.data().iter();
        Ok(Some(
            pixels.flat_map(|&value| colors[index(value)]).collect(),
        ))
    }
}

/// Which of 256 colours stands for a value from 0 to 1.
fn index(value: f32) -> usize {
    (value.clamp(0.0, 1.0) * 255.0 + 0.5) as usize
}
