//! The vectors of a collection that are most similar to another, such as the features of pictures.

use std::cmp::Ordering;
use std::iter;
use std::task::Poll;

use super::alive;
use super::dispatch::Dispatch;
use super::helpers::Helper;
use super::resources::{create_scratch, create_table};
use super::ring::Ring;
use crate::error::Error;
use crate::kernels::{Launch, similarity, top_k, unit_vector};
use crate::plan::Capabilities;
use crate::tensor::LANES;

/// Searches whose results can be on their way at the same time.
const IN_FLIGHT: usize = 3;

/// Bytes of the number of a vector and its cosine.
const PAIR: u64 = 8;

/// A collection of vectors on the host's device, and which of them are most similar to a query: by the
/// cosine of the angle between the two.
///
/// Write the query to [`Similarity::query`], or copy it there on the GPU, such as the buffer of
/// [`Role::Features`](crate::graph::Role::Features) of one image, or what
/// [`OutputBuilder::unit_vectors`](super::OutputBuilder::unit_vectors) makes of it; record, submit, and poll as for a
/// [`Readback`](super::Readback). Everything happens on the GPU: the query is divided by its length and
/// multiplied with all vectors, the best are found, and nothing but these comes back.
///
/// A vector of zeros, or with a number that is not finite, has no direction; its cosine is 0.
#[derive(Debug)]
pub struct Similarity {
    query: wgpu::Buffer,
    unit_query: Dispatch,
    /// As many rows as a buffer may hold, each with the buffer of their results.
    parts: Vec<(Dispatch, wgpu::Buffer)>,
    /// The results of all parts.
    all: wgpu::Buffer,
    top_k: Dispatch,
    best: wgpu::Buffer,
    k: usize,
    results: Ring<()>,
}

impl Similarity {
    /// Uploads vectors of `width` numbers, one after another, to find the `k` most similar ones, or all if
    /// there are fewer.
    ///
    /// # Errors
    /// [`Error::TensorLength`] if they are not whole vectors, or there is none; [`Error::OutOfMemory`]
    /// and [`Error::Gpu`] from the device.
    pub fn new(
        device: &wgpu::Device,
        width: usize,
        vectors: &[f32],
        k: usize,
    ) -> Result<Self, Error> {
        if width == 0 || vectors.is_empty() || !vectors.len().is_multiple_of(width.max(1)) {
            return Err(Error::TensorLength {
                dims: vec![vectors.len() / width.max(1), width],
                got: vectors.len(),
            });
        }
        alive(device)?;
        let padded = width.next_multiple_of(LANES);
        let rows = vectors.len() / width;
        let found = k.clamp(1, rows);
        let none = wgpu::BufferUsages::empty();
        let (from, to) = (wgpu::BufferUsages::COPY_SRC, wgpu::BufferUsages::COPY_DST);
        let query = create_scratch(device, "query", bytes(padded), to)?;
        let unit = create_scratch(device, "query of length 1", bytes(padded), none)?;
        let all = create_scratch(device, "similarities", bytes(rows), to)?;
        let best = create_scratch(device, "nearest", PAIR * found as u64, from)?;
        let dispatch = |name: &str, helper: &Helper, launch: &Launch, bound: &[&wgpu::Buffer]| {
            let pipeline = helper.get(device, launch)?;
            let bound = bound.iter().map(|buffer| buffer.as_entire_binding());
            Dispatch::new(device, name, launch, pipeline, bound)
        };
        let helper = Helper::default();
        let mut parts = Vec::new();
        for part in vectors.chunks(rows_at_once(device, padded) * width) {
            let rows = part.len() / width;
            let packed = create_table(device, "vectors", &unit_vectors(part, width))?;
            let scores = create_scratch(device, "similarities of a part", bytes(rows), from)?;
            let launch = similarity::launch(rows, padded / LANES);
            let bound = [&packed, &unit, &scores];
            let part = dispatch("similarity", &helper, &launch, &bound)?;
            parts.push((part, scores));
        }
        let launch = unit_vector::launch(padded / LANES, 1);
        let bound = [&query, &unit];
        let unit_query = dispatch("unit vector", &Helper::default(), &launch, &bound)?;
        let bound = [&all, &best];
        Ok(Self {
            query,
            unit_query,
            parts,
            k,
            top_k: dispatch("top k", &Helper::default(), &top_k::launch(found), &bound)?,
            all,
            best,
            results: Ring::new(device, "nearest", PAIR * found as u64, IN_FLIGHT)?,
        })
    }

    /// The buffer of the query: its numbers, and zeros up to a multiple of four. The queue may write to
    /// it, and commands may copy to it.
    pub const fn query(&self) -> &wgpu::Buffer {
        &self.query
    }

    /// Records a search; without effect, and false, while the results of three are in flight.
    pub fn record(&self, encoder: &mut wgpu::CommandEncoder) -> bool {
        self.results.record(encoder, (), |encoder, host| {
            let parts = self.parts.iter().map(|(dispatch, _)| dispatch);
            record(encoder, iter::once(&self.unit_query).chain(parts));
            let mut offset = 0;
            for (_, scores) in &self.parts {
                encoder.copy_buffer_to_buffer(scores, 0, &self.all, offset, scores.size());
                offset += scores.size();
            }
            record(encoder, iter::once(&self.top_k));
            encoder.copy_buffer_to_buffer(&self.best, 0, host, 0, host.size());
        })
    }

    /// The result of the search that arrived first, once it has: the most similar vectors, by number and
    /// cosine, the most similar first, and of equally similar ones that of the lower number.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the device was lost.
    pub fn poll(&self) -> Result<Option<Vec<(usize, f32)>>, Error> {
        let arrived = self.results.poll(None, |(), bytes| {
            let pairs: Vec<[u32; 2]> = bytemuck::pod_collect_to_vec(bytes);
            let pairs = pairs.into_iter();
            let mut pairs: Vec<(usize, f32)> = pairs
                .map(|[row, bits]| (row as usize, f32::from_bits(bits)))
                .collect();
            pairs.sort_unstable_by(|(a_row, a), (b_row, b)| {
                // Not by `total_cmp`, for which the zeros differ.
                let by_score = b.partial_cmp(a).unwrap_or(Ordering::Equal);
                by_score.then(a_row.cmp(b_row))
            });
            pairs.truncate(self.k);
            pairs
        });
        match arrived {
            Poll::Ready(results) => results.transpose(),
            Poll::Pending => Ok(None),
        }
    }
}

fn record<'a>(encoder: &mut wgpu::CommandEncoder, dispatches: impl Iterator<Item = &'a Dispatch>) {
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
        label: Some("resnet-wgpu similarity"),
        timestamp_writes: None,
    });
    for dispatch in dispatches {
        dispatch.record(&mut pass);
    }
}

/// Vectors of length 1, each padded to whole vectors of four; zeros for those without a direction, as
/// `unit_vector.wgsl` makes of the query.
fn unit_vectors(vectors: &[f32], width: usize) -> Vec<f32> {
    let padded = width.next_multiple_of(LANES);
    let mut packed = vec![0.0f32; vectors.len() / width * padded];
    for (row, to) in vectors.chunks(width).zip(packed.chunks_mut(padded)) {
        // As bits magnitudes have the order of the numbers, and NaN is beyond infinity.
        let most = row.iter().map(|x| x.abs().to_bits()).max().unwrap_or(0);
        if !f32::from_bits(most).is_normal() {
            continue;
        }
        let length = row.iter().map(|&x| f64::from(x) * f64::from(x));
        let length = length.sum::<f64>().sqrt();
        for (&x, to) in row.iter().zip(to) {
            #[expect(clippy::cast_possible_truncation, reason = "at most 1")]
            let unit = (f64::from(x) / length) as f32;
            *to = unit;
        }
    }
    packed
}

/// The rows that one buffer holds and one dispatch covers.
fn rows_at_once(device: &wgpu::Device, padded: usize) -> usize {
    let allowed = Capabilities::of(device);
    let buffer = allowed.storage_binding_bytes.min(allowed.buffer_bytes);
    let rows = usize::try_from(buffer / bytes(padded)).unwrap_or(usize::MAX);
    let groups = usize::try_from(allowed.workgroups_per_dimension).unwrap_or(usize::MAX);
    rows.min(groups.saturating_mul(similarity::ROWS)).max(1)
}

/// Bytes of so many numbers.
const fn bytes(numbers: usize) -> u64 {
    numbers as u64 * 4
}
