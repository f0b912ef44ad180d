//! What a network looks at, laid over the image.

use resnet_wgpu::Error;
use resnet_wgpu::explain::{ClassMap, add_class_map};
use resnet_wgpu::gpu::Colors;
use resnet_wgpu::graph::{Graph, Role};
use resnet_wgpu::internals::explain::Sites;
use resnet_wgpu::internals::gpu::BuildProgress;
use resnet_wgpu::internals::host_memory;
use resnet_wgpu::internals::reference::heat_map;
use resnet_wgpu::passes::optimize;
use resnet_wgpu::picture::{Batch, Picture, Preprocess, top_k};
use resnet_wgpu::plan::InputFormat;
use resnet_wgpu::tensor::Tensor;

use crate::{Device, Network, Refused, Runner};

/// A network with the class activation map of one class, or of the most likely one.
#[derive(Debug)]
pub struct Cam {
    graph: Graph,
    runner: Runner,
    class: Option<usize>,
    rules: Preprocess,
    colors: Colors,
}

/// What speaks for a class in a picture.
#[derive(Debug)]
pub struct HeatMap {
    /// The class.
    pub class: usize,
    /// Its probability.
    pub probability: f32,
    /// Rows and columns of the map before it is interpolated.
    pub size: [usize; 2],
    /// The map, row by row, scaled to the range from 0 to 1.
    pub values: Vec<f32>,
    /// The map laid over the part of the picture that the network sees.
    pub overlay: Picture,
}

impl Cam {
    /// Prepares the map of a class, at a value of the network where one is named, for pictures of the
    /// size that the network has now.
    ///
    /// # Errors
    /// Those of networks without a classifier, of maps, plans and devices.
    pub fn new(
        device: &Device,
        network: &Network,
        class: Option<usize>,
        at: Option<&str>,
        progress: &mut dyn FnMut(BuildProgress),
    ) -> Result<Self, Refused> {
        network.classes()?;
        network.refuse_arrays()?;
        let mut map = ClassMap::default().class(class);
        if let Some(at) = at {
            map = map.at(at);
        }
        let whole = &network.model.graph;
        let merged = optimize(whole, network.fusion)?;
        let is_merged = |at: &str| whole.find(at).is_ok() && merged.find(at).is_err();
        let graph = if at.is_some_and(is_merged) {
            // The value must not be merged with what follows it.
            optimize(&add_class_map(whole, &map)?, network.fusion)?
        } else {
            add_class_map(&merged, &map)?
        };
        let rules = network.model.preprocess;
        let runner = Runner::new(device, &graph, InputFormat::Rgba8(rules), progress)?;
        Ok(Self {
            graph,
            runner,
            class,
            rules,
            colors: Colors::Ember,
        })
    }

    /// The same with other colours than [`Colors::Ember`]. Opaque ones are laid over by half.
    #[must_use]
    pub fn colors(mut self, colors: Colors) -> Self {
        self.colors = colors;
        self
    }

    /// The map of a picture.
    ///
    /// # Errors
    /// Those of [`Runner::answer`].
    pub fn of(&mut self, picture: &Picture) -> Result<HeatMap, Refused> {
        let batch = Batch::prepare(std::slice::from_ref(picture), &self.rules)?;
        let outputs = self.runner.answer(&batch)?;
        let [_, probabilities, map] = &outputs[..] else {
            return Err(refuse("the network has no probabilities").into());
        };
        let probabilities = probabilities.data();
        let best = || top_k(probabilities, 1).first().copied().unwrap_or(0);
        let class = self.class.unwrap_or_else(best);
        let seen = self.rules.seen(picture.size());
        let value = self.graph.role(Role::ClassMap);
        let value = value.ok_or_else(|| refuse("the graph has none"))?;
        let sites = Sites::of(&self.graph, value)?;
        let shape = map.shape()?;
        Ok(HeatMap {
            class,
            probability: probabilities[class],
            size: [shape.h, shape.w],
            values: stretched(map.data()),
            overlay: overlay(picture, seen, map, &sites, &self.colors)?,
        })
    }
}

fn refuse(reason: &str) -> Error {
    Error::Model {
        model: "class activation map".to_owned(),
        reason: reason.to_owned(),
    }
}

/// Scales a map to the range from 0 to 1.
fn stretched(map: &[f32]) -> Vec<f32> {
    let low = map.iter().copied().fold(f32::INFINITY, f32::min);
    let high = map.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let span = if high > low { high - low } else { 1.0 };
    map.iter().map(|value| (value - low) / span).collect()
}

/// Memory for a pixel of the map: its value, its colours, those with a caption, and the PNG that is made of them.
const PIXEL_BYTES: u64 = 4 + 3 + 3 + 3;

/// Lays the map over the part of the picture that the network saw.
fn overlay(
    picture: &Picture,
    [rows, columns]: [std::ops::Range<usize>; 2],
    map: &Tensor,
    sites: &Sites,
    colors: &Colors,
) -> Result<Picture, Error> {
    let painted = heat_map(map, sites, [rows.len(), columns.len()], true)?;
    let colors = see_through(colors);
    let [height, width] = picture.size();
    let pixels = height as u64 * width as u64;
    host_memory::check(
        &format!("a map over {height}x{width} pixels"),
        pixels * PIXEL_BYTES,
    )?;
    let mut rgb = picture.rgb().to_vec();
    for (y, values) in rows.zip(painted.data().chunks_exact(columns.len())) {
        for (x, &value) in columns.clone().zip(values) {
            let pixel = &mut rgb[(y * width + x) * 3..][..3];
            let [over @ .., alpha] = colors[index(value)];
            for (byte, over) in pixel.iter_mut().zip(over) {
                *byte = blended(*byte, over, alpha);
            }
        }
    }
    Picture::new(height, width, rgb).ok_or_else(|| refuse("the picture is empty"))
}

/// The 256 colours, of which none hides what it lies on.
#[must_use]
pub fn see_through(colors: &Colors) -> [[u8; 4]; 256] {
    let mut table = colors.table();
    if table.iter().all(|color| color[3] == 255) {
        for color in &mut table {
            color[3] = 128;
        }
    }
    table
}

/// A colour over another.
#[must_use]
pub fn blended(below: u8, over: u8, alpha: u8) -> u8 {
    let [below, over, alpha] = [below, over, alpha].map(u32::from);
    let sum = below * (255 - alpha) + over * alpha;
    u8::try_from((sum + 127) / 255).unwrap_or(u8::MAX)
}

/// Which of the 256 colours stands for a value from 0 to 1.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to 0..=255 before"
)]
fn index(value: f32) -> usize {
    (value.clamp(0.0, 1.0) * 255.0 + 0.5) as usize
}
