//! What a run gives, in numbers that another thread can take.

use resnet_wgpu::gpu::Colors;
use resnet_wgpu::graph::Role;
use resnet_wgpu::internals::explain::Sites;
use resnet_wgpu::internals::reference::heat_map;
use resnet_wgpu::tensor::Tensor;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::{refused, thrown};

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

    /// The class activation map, by rows.
    pub fn map(&self) -> Option<Vec<f32>> {
        self.numbers(Role::ClassMap)
    }

    /// Rows and columns of the map, and of the image; then the first of the map's pixels in the image and the
    /// distance to the next, both along rows and columns.
    pub fn grid(&self) -> Result<Option<Vec<f64>>, JsValue> {
        let (Some(map), Some(sites)) = (self.find(Role::ClassMap), &self.sites) else {
            return Ok(None);
        };
        let shape = map.shape().map_err(thrown)?;
        let sizes = [shape.h, shape.w, sites.image[0], sites.image[1]].map(|size| size as f64);
        Ok(Some([&sizes[..], &sites.first, &sites.step].concat()))
    }
}

/// A map in the colours of heat, as RGBA of this size, not premultiplied. `grid` is that of its answer.
#[wasm_bindgen]
pub fn heat(map: &[f32], grid: &[f64], height: usize, width: usize) -> Result<Vec<u8>, JsValue> {
    let &[rows, columns, image_rows, image_columns, y, x, down, right] = grid else {
        return Err(refused("usage", "the grid is not that of an answer"));
    };
    let map = Tensor::new(&[1, 1, rows as usize, columns as usize], map).map_err(thrown)?;
    let sites = Sites {
        image: [image_rows as usize, image_columns as usize],
        first: [y, x],
        step: [down, right],
    };
    let painted = heat_map(&map, &sites, [height, width], true).map_err(thrown)?;
    let colors = Colors::Heat.table();
    let pixels = painted.data().iter();
    Ok(pixels.flat_map(|&value| colors[index(value)]).collect())
}

/// Which of 256 colours stands for a value from 0 to 1.
fn index(value: f32) -> usize {
    (value.clamp(0.0, 1.0) * 255.0 + 0.5) as usize
}
