//! `resnet embed`: the feature vector of each image, which is the input of the classifier.

use std::path::{Path, PathBuf};

use resnet_run::Network;
use resnet_wgpu::graph::{Graph, Role};
use resnet_wgpu::passes::optimize;
use resnet_wgpu::picture::{Batch, Preprocess};
use serde::Serialize;

use crate::args::{EmbedArgs, RunArgs};
use crate::escape::{printable, shown};
use crate::failure::Failure;
use crate::images::Images;
use crate::network;
use crate::npy::Npy;
use crate::output::{Out, SCHEMA_VERSION};
use crate::overwrite;
use crate::runner::{Answering, Fit};

/// A line of the `jsonl` format.
#[derive(Serialize)]
struct Line<'a> {
    schema_version: u32,
    image: String,
    embedding: &'a [f32],
}

pub(crate) fn run(args: &EmbedArgs, quiet: bool) -> Result<(), Failure> {
    let mut images = Images::find(&args.images, quiet);
    if let Some(output) = &args.output {
        let read = images.paths().iter().chain(&args.run.network.weights);
        overwrite::refuse(output, read.map(PathBuf::as_path))?;
    }
    let embedder = Embedder::new(&args.run, &mut images, quiet)?;
    let mut target = Target::open(args, embedder.width)?;
    embedder.embed(&mut images, |paths, rows| {
        for (path, row) in paths.iter().zip(rows) {
            target.row(path, &scaled(&row, args.normalize))?;
        }
        target.flush()
    })?;
    target.finish()?;
    if images.into_errors().is_empty() {
        Ok(())
    } else {
        Err(Failure::silent())
    }
}

/// A network that ends with its feature vector.
pub(crate) struct Embedder {
    pub(crate) answering: Answering,
    pub(crate) rules: Preprocess,
    /// The numbers of a vector.
    pub(crate) width: usize,
    /// The place of the vector among the outputs.
    place: usize,
}

impl Embedder {
    pub(crate) fn new(args: &RunArgs, images: &mut Images, quiet: bool) -> Result<Self, Failure> {
        let (device, _, mut network) =
            network::load_beside(&args.device, &args.network, images.batch())?;
        if network.is_free() {
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
            rules: network.model.preprocess,
            width: shape.c * shape.h * shape.w,
            answering: Answering::new(network, device, with_features, quiet),
            place,
        })
    }

    /// Hands over the vectors of all images, batch by batch and in order.
    pub(crate) fn embed(
        &self,
        images: &mut Images,
        mut take: impl FnMut(&[PathBuf], Vec<Vec<f32>>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let runs = self.answering.runs();
        let rows = |batch: &Batch| self.rows(batch);
        images.answer(&self.rules, runs, rows, |images, paths, rows| {
            images.while_hidden(|| take(paths, rows))
        })?;
        Ok(())
    }

    /// The vectors of a batch, and of what pads it.
    fn rows(&self, batch: &Batch) -> Result<Fit<Vec<Vec<f32>>>, Failure> {
        let outputs = match self.answering.answer(batch)? {
            Ok(outputs) => outputs,
            Err(failure) => return Ok(Err(failure)),
        };
        let (features, width) = (&outputs[self.place], self.width);
        let found = features.data().len() / features.shape()?.n;
        if found != width {
            let reason = format!("it has {found} features in its size, others {width}");
            return Ok(Err(Failure::runtime(reason)));
        }
        let rows = features.data().chunks_exact(width);
        Ok(Ok(rows.map(<[f32]>::to_vec).collect()))
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
    /// A NumPy file; stdout lists the images of its rows, once it is there.
    Npy(Npy),
}

impl Target {
    fn open(args: &EmbedArgs, width: usize) -> Result<Self, Failure> {
        Ok(match &args.output {
            Some(path) => Self::Npy(Npy::create(path, width)?),
            None => Self::Lines(Out::new()),
        })
    }

    fn row(&mut self, image: &Path, embedding: &[f32]) -> Result<(), Failure> {
        match self {
            Self::Lines(out) => out.jsonl(&Line {
                schema_version: SCHEMA_VERSION,
                image: shown(image),
                embedding,
            }),
            Self::Npy(file) => file.row(&shown(image), embedding),
        }
    }

    /// A reader at the other end of a pipe gets each batch as soon as it is finished.
    fn flush(&mut self) -> Result<(), Failure> {
        match self {
            Self::Lines(out) => out.flush(),
            Self::Npy(_) => Ok(()),
        }
    }

    fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Lines(_) => Ok(()),
            Self::Npy(file) => {
                let mut out = Out::new();
                for name in file.finish()? {
                    out.line(printable(&name))?;
                }
                out.flush()
            }
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
