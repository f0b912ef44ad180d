//! A model in this module, for browsers without WebGPU.

use resnet_wgpu::engine::{CpuExecutor, Engine};
use resnet_wgpu::graph::Role;
use resnet_wgpu::internals::explain::Sites;
use resnet_wgpu::picture::{Batch, Picture, Preprocess};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::{Answer, Model, refused, thrown};

/// A model on the processor.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Cpu {
    executor: CpuExecutor,
    rules: Preprocess,
    sites: Option<Sites>,
}

/// A picture from its RGBA, as a batch of one.
pub(crate) fn batch(rgba: &[u8], height: usize, rules: &Preprocess) -> Result<Batch, JsValue> {
    let rgb: Vec<u8> = rgba
        .chunks_exact(4)
        .flat_map(|p| [p[0], p[1], p[2]])
        .collect();
    let width = rgb.len() / 3 / height.max(1);
    let picture =
        Picture::new(height, width, rgb).ok_or_else(|| refused("usage", "the picture is empty"))?;
    Batch::prepare(&[picture], rules).map_err(thrown)
}

#[wasm_bindgen]
impl Cpu {
    /// Packs the weights.
    #[wasm_bindgen(constructor)]
    pub fn new(model: &Model) -> Result<Self, JsValue> {
        Ok(Self {
            executor: CpuExecutor::new(&model.graph).map_err(thrown)?,
            rules: model.rules,
            sites: model.sites.clone(),
        })
    }

    /// Runs on rows of RGBA.
    pub fn run(&self, rgba: &[u8], height: usize) -> Result<Answer, JsValue> {
        let batch = batch(rgba, height, &self.rules)?;
        let tensors = self.executor.answer(&batch).map_err(thrown)?;
        let roles = self
            .executor
            .outputs()
            .into_iter()
            .map(|output| output.roles);
        let values = roles.zip(tensors).filter_map(|(roles, tensor)| {
            let wanted = [Role::Logits, Role::Probabilities, Role::ClassMap];
            let role = roles.into_iter().find(|role| wanted.contains(role))?;
            Some((role, tensor))
        });
        Ok(Answer::new(values.collect(), self.sites.clone()))
    }
}
