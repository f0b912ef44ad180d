//! `resnet embed`: the feature vector of each image, which is the input of the classifier.

use std::path::Path;

use resnet_run::{Device, Fitted, Network};
use resnet_wgpu::graph::{Graph, Role};
use resnet_wgpu::passes::optimize;
use resnet_wgpu::picture::Preprocess;
use serde::Serialize;

use crate::args::{EmbedArgs, RunArgs};
use crate::escape::{printable, shown};
use crate::failure::Failure;
use crate::images::{Images, Readable};
use crate::npy::Npy;
use crate::output::{Out, SCHEMA_VERSION};
use crate::{network, runner};

/// A line of the `jsonl` format.
#[derive(Serialize)]
struct Line<'a> {
    schema_version: u32,
    image: String,
    embedding: &'a [f32],
}

pub(crate) fn run(args: &EmbedArgs, quiet: bool) -> Result<(), Failure> {
    let mut images = Images::find(&args.images, quiet);
    let mut embedder = Embedder::new(&args.run, &mut images, quiet)?;
    let mut target = Target::open(args, embedder.width)?;
    while let Some(batch) = images.next_batch(&embedder.rules)? {
        let rows = embedder.rows(&batch, &mut images)?;
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
    network: Network,
    /// Whether every image is run in its own size.
    free: bool,
    fitted: Fitted,
    /// The place of the vector among the outputs.
    place: usize,
    quiet: bool,
}

impl Embedder {
    pub(crate) fn new(args: &RunArgs, images: &mut Images, quiet: bool) -> Result<Self, Failure> {
        let device = Device::open(&args.device)?;
        let mut network = network::load(&args.network, images.batch())?;
        let free = network.is_free();
        if free {
            images.one_by_one();
            network.set_batch(1)?;
        }
        network::note_assumptions(&network);
        let graph = with_features(&network)?;
        let shape = graph.value_of(Role::Features)?.shape;
        let features = graph.role(Role::Features);
        let mut outputs = graph.outputs().iter();
        let Some(place) = outputs.position(|&value| Some(value) == features) else {
            return Err(Failure::runtime("the network has no feature vector"));
        };
        Ok(Self {
            device,
            rules: network.model.preprocess,
            width: shape.c * shape.h * shape.w,
            network,
            free,
            fitted: Fitted::default(),
            place,
            quiet,
        })
    }

    /// The vectors of a batch, and of what pads it; none for an image whose own size the network
    /// cannot take.
    pub(crate) fn rows(
        &mut self,
        batch: &Readable,
        images: &mut Images,
    ) -> Result<Vec<Vec<f32>>, Failure> {
        let rules = batch.batch.rules();
        let runner = self
            .fitted
            .runner(&mut self.network, rules, |network, input| {
                runner::prepare_anywhere(&self.device, &with_features(network)?, input, self.quiet)
            });
        let runner = match runner {
            Err(failure) if self.free => {
                images.refuse_size(&batch.paths[0], failure);
                return Ok(Vec::new());
            }
            runner => runner?,
        };
        let outputs = runner.answer(&batch.batch)?;
        let (features, width) = (outputs[self.place].data(), self.width);
        if features.len() != width * images.batch() {
            let reason = format!(
                "it has {} features in its size, others {width}",
                features.len()
            );
            images.refuse_size(&batch.paths[0], Failure::runtime(reason));
            return Ok(Vec::new());
        }
        Ok(features.chunks_exact(width).map(<[f32]>::to_vec).collect())
    }
}

/// The graph after fusion, with the features among its outputs.
fn with_features(network: &Network) -> Result<Graph, Failure> {
    let mut graph = network.model.graph.clone();
    if let Some(features) = graph.role(Role::Features) {
        graph.mark_output(features)?;
    }
    Ok(optimize(&graph, network.fusion)?)
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

/// Where the vectors are written.
enum Target {
    /// Lines on stdout.
    Lines(Out),
    /// A NumPy file; stdout lists the images of its rows.
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

    /// A reader at the other end of a pipe gets each batch as soon as it is finished.
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
