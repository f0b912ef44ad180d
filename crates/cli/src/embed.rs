//! `resnet embed`: the vector that the classifier would read, for each image.

use std::path::Path;

use resnet_wgpu::graph::Role;
use resnet_wgpu::passes::optimize;
use resnet_wgpu::picture::Preprocess;
use resnet_wgpu::plan::InputFormat;
use serde::Serialize;

use crate::args::{EmbedArgs, RunArgs};
use crate::device::Device;
use crate::escape::{printable, shown};
use crate::failure::Failure;
use crate::images::{Images, Readable};
use crate::network::Network;
use crate::npy::Npy;
use crate::output::{Out, SCHEMA_VERSION};
use crate::runner::Runner;

/// A line of `jsonl`.
#[derive(Serialize)]
struct Line<'a> {
    schema_version: u32,
    image: String,
    embedding: &'a [f32],
}

pub(crate) fn run(args: &EmbedArgs, quiet: bool) -> Result<(), Failure> {
    let mut images = Images::find(&args.images, quiet);
    let embedder = Embedder::new(&args.run, images.batch(), quiet)?;
    let mut target = Target::open(args, embedder.width)?;
    while let Some(batch) = images.next_batch(&embedder.rules)? {
        let rows = embedder.rows(&batch)?;
        images.while_hidden(|| {
            for (path, row) in batch.paths.iter().zip(rows) {
                target.row(path, &scaled(&row, args.normalize))?;
            }
            target.flush()
        })?;
    }
    target.finish()?;
    if images.into_errors().is_empty() {
        Ok(())
    } else {
        Err(Failure::silent())
    }
}

/// A network that ends with its feature vector.
pub(crate) struct Embedder {
    pub(crate) device: Device,
    pub(crate) rules: Preprocess,
    /// The numbers of a vector.
    pub(crate) width: usize,
    runner: Runner,
    /// The place of the vector among the outputs.
    place: usize,
}

impl Embedder {
    pub(crate) fn new(args: &RunArgs, batch: usize, quiet: bool) -> Result<Self, Failure> {
        let device = Device::open(&args.device)?;
        let mut network = Network::load(&args.network, batch)?;
        network.note_assumptions();
        network.refuse_free()?;
        let model = &mut network.model;
        if let Some(features) = model.graph.role(Role::Features) {
            model.graph.mark_output(features)?;
        }
        let graph = optimize(&model.graph, network.fusion)?;
        let wanted = graph.role(Role::Features);
        let place = graph
            .outputs()
            .iter()
            .position(|&value| Some(value) == wanted);
        let Some(place) = place else {
            return Err(Failure::runtime("the network has no feature vector"));
        };
        let rules = network.model.preprocess;
        let runner = Runner::new(&device, &graph, InputFormat::Rgba8(rules), quiet)?;
        let shape = graph.value_of(Role::Features)?.shape;
        Ok(Self {
            device,
            rules,
            width: shape.c * shape.h * shape.w,
            runner,
            place,
        })
    }

    /// The vectors of a batch, and of what pads it.
    pub(crate) fn rows(&self, batch: &Readable) -> Result<Vec<Vec<f32>>, Failure> {
        let outputs = self.runner.engine().answer(&batch.batch)?;
        let rows = outputs[self.place].data().chunks_exact(self.width);
        Ok(rows.map(<[f32]>::to_vec).collect())
    }
}

/// A vector as it is, or scaled to length 1.
fn scaled(row: &[f32], normalize: bool) -> Vec<f32> {
    let length = row
        .iter()
        .map(|&x| f64::from(x).powi(2))
        .sum::<f64>()
        .sqrt();
    if !normalize || length == 0.0 {
        return row.to_vec();
    }
    #[expect(clippy::cast_possible_truncation, reason = "rounding is what is meant")]
    let scaled = row.iter().map(|&x| (f64::from(x) / length) as f32);
    scaled.collect()
}

/// Where the vectors go.
enum Target {
    /// Lines on stdout.
    Lines(Out),
    /// A file, and the images of its rows on stdout.
    Npy { file: Npy, out: Out },
}

impl Target {
    fn open(args: &EmbedArgs, width: usize) -> Result<Self, Failure> {
        let out = Out::new();
        Ok(match &args.output {
            Some(path) => Self::Npy {
                file: Npy::create(path, width)?,
                out,
            },
            None => Self::Lines(out),
        })
    }

    fn row(&mut self, image: &Path, embedding: &[f32]) -> Result<(), Failure> {
        match self {
            Self::Lines(out) => out.jsonl(&Line {
                schema_version: SCHEMA_VERSION,
                image: shown(image),
                embedding,
            }),
            Self::Npy { file, out } => {
                file.row(&shown(image), embedding)?;
                out.line(printable(&shown(image)))
            }
        }
    }

    /// A reader at the other end of a pipe gets each batch as soon as it is done.
    fn flush(&mut self) -> Result<(), Failure> {
        let (Self::Lines(out) | Self::Npy { out, .. }) = self;
        out.flush()
    }

    fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Lines(_) => Ok(()),
            Self::Npy { file, .. } => file.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_of_length_1_points_the_same_way() {
        assert_eq!(scaled(&[3.0, -4.0], true), [0.6, -0.8], "normalised");
        assert_eq!(scaled(&[3.0, -4.0], false), [3.0, -4.0], "as it is");
        assert_eq!(scaled(&[0.0, 0.0], true), [0.0, 0.0], "no direction");
    }
}
