//! `resnet search`: the images of an index that are most similar to others.

use std::thread;
use std::time::{Duration, Instant};

use resnet_run::Device;
use resnet_wgpu::gpu::{Context, Similarity};
use resnet_wgpu::picture::top_k;
use resnet_wgpu::wgpu;
use resnet_wgpu::{Error, Kind};
use serde::Serialize;

use crate::args::SearchArgs;
use crate::embed::Embedder;
use crate::escape::{printable, shown};
use crate::failure::Failure;
use crate::images::Images;
use crate::npy::Index;
use crate::output::{Format, Out, SCHEMA_VERSION};

/// How long results take to arrive when the device has finished.
const SOON: Duration = Duration::from_secs(1);

/// A line of `jsonl`.
#[derive(Serialize)]
struct Line {
    schema_version: u32,
    image: String,
    nearest: Vec<Neighbour>,
}

#[derive(Serialize)]
struct Neighbour {
    image: String,
    row: usize,
    similarity: f32,
}

pub(crate) fn run(args: &SearchArgs, quiet: bool) -> Result<(), Failure> {
    let index = Index::read(&args.index)?;
    let mut images = Images::find(&args.images, quiet);
    let embedder = Embedder::new(&args.run, &mut images, quiet)?;
    if embedder.width != index.width {
        return Err(Failure::runtime(format!(
            "'{}' has vectors of {} numbers, the network makes {}; search with the network that the \
             index was made with",
            shown(&args.index),
            index.width,
            embedder.width
        )));
    }
    let mut vectors = Vectors::new(&embedder.answering.state().device, &index, args.top)?;
    let mut out = Out::new();
    embedder.embed(&mut images, |paths, rows| {
        for (path, row) in paths.iter().zip(rows) {
            let nearest = vectors.nearest(&row);
            let nearest = nearest.into_iter().map(|(row, similarity)| Neighbour {
                image: index.name(row),
                row,
                similarity,
            });
            let line = Line {
                schema_version: SCHEMA_VERSION,
                image: shown(path),
                nearest: nearest.collect(),
            };
            print(&mut out, &line, args.format)?;
        }
        out.flush()
    })?;
    if images.into_errors().is_empty() {
        Ok(())
    } else {
        Err(Failure::silent())
    }
}

fn print(out: &mut Out, line: &Line, format: Format) -> Result<(), Failure> {
    if format == Format::Jsonl {
        return out.jsonl(line);
    }
    out.line(printable(&line.image))?;
    for Neighbour {
        image, similarity, ..
    } in &line.nearest
    {
        out.line(format!("  {similarity:.4}  {}", printable(image)))?;
    }
    Ok(())
}

/// The vectors of the index, and the GPU that compares them if there is one.
struct Vectors<'a> {
    index: &'a Index,
    top: usize,
    on_gpu: Option<(Similarity, Context)>,
}

impl<'a> Vectors<'a> {
    fn new(device: &Device, index: &'a Index, top: usize) -> Result<Self, Failure> {
        let mut vectors = Self {
            index,
            top,
            on_gpu: None,
        };
        if let Device::Gpu(gpu) = device
            && !gpu.is_lost()
        {
            let context = gpu.context.clone();
            let Context { device, queue, .. } = &context;
            match Similarity::new(device, queue, index.width, &index.vectors, top) {
                Ok(collection) => vectors.on_gpu = Some((collection, context)),
                Err(error) if error.kind() == Kind::Gpu => vectors.leave(&error),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(vectors)
    }

    fn leave(&mut self, error: &Error) {
        log::warn!("{error}: the CPU searches, which is slower");
        self.on_gpu = None;
    }

    /// The most similar rows and their cosines, the most similar first.
    fn nearest(&mut self, query: &[f32]) -> Vec<(usize, f32)> {
        match self.on_gpu.as_ref().map(|gpu| on_gpu(gpu, query)) {
            Some(Ok(found)) => return found,
            Some(Err(error)) => self.leave(&error),
            None => {}
        }
        let rows = self.index.vectors.chunks_exact(self.index.width);
        let scores: Vec<f32> = rows.map(|row| cosine(row, query)).collect();
        let best = top_k(&scores, self.top).into_iter();
        best.map(|row| (row, scores[row])).collect()
    }
}

fn on_gpu(
    (collection, context): &(Similarity, Context),
    query: &[f32],
) -> Result<Vec<(usize, f32)>, Error> {
    let Context { device, queue, .. } = context;
    let bytes: Vec<u8> = query.iter().flat_map(|x| x.to_ne_bytes()).collect();
    queue.write_buffer(collection.query(), 0, &bytes);
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor {
        label: Some("search"),
    });
    collection.record(&mut encoder);
    let submission = queue.submit([encoder.finish()]);
    let failed = |reason: String| Error::Gpu {
        what: "searching".to_owned(),
        reason,
    };
    let waited = device.poll(wgpu::PollType::Wait {
        submission_index: Some(submission),
        timeout: None,
    });
    waited.map_err(|error| failed(error.to_string()))?;
    let start = Instant::now();
    while start.elapsed() < SOON {
        if let Some(found) = collection.poll()? {
            return Ok(found);
        }
        // The thread that is told of it may be one that waits for the network.
        thread::yield_now();
    }
    Err(failed("the device did not finish".to_owned()))
}

/// The cosine of the angle between two vectors; 0 for one without a direction.
fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let pairs = a.iter().zip(b);
        pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    };
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    #[expect(clippy::cast_possible_truncation, reason = "rounding is what is meant")]
    let cosine = if lengths > 0.0 {
        (dot(a, b) / lengths).clamp(-1.0, 1.0) as f32
    } else {
        0.0
    };
    cosine
}

#[cfg(test)]
#[path = "../tests/unit/search.rs"]
mod tests;
