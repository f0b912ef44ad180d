//! The vectors of a collection that are most similar to another, such as the features of pictures.

use std::task::Poll;

use super::alive;
use super::dispatch::Dispatch;
use super::helpers::Helper;
use super::resources::{create_scratch, create_table};
use super::ring::Ring;
use crate::error::Error;
use crate::kernels::similarity;
use crate::picture::top_k;
use crate::plan::Capabilities;
use crate::tensor::LANES;

/// Searches whose results can be on their way at the same time.
const IN_FLIGHT: usize = 3;

/// A collection of vectors on the host's device, and how similar each is to a query: the cosine of the
/// angle between the two.
///
/// Write the query to [`Similarity::query`], or copy it there on the GPU, such as the buffer of
/// [`Role::Features`](crate::graph::Role::Features) of one image; record, submit, and poll as for a
/// [`Readback`](super::Readback).
#[derive(Debug)]
pub struct Similarity {
    query: wgpu::Buffer,
    /// As many rows as a buffer may hold, each with the buffer of their results.
    parts: Vec<(Dispatch, wgpu::Buffer)>,
    scores: Ring<()>,
}

impl Similarity {
    /// Uploads vectors of `width` numbers, one after another.
    ///
    /// # Errors
    /// [`Error::TensorLength`] if they are not whole vectors, or there is none; [`Error::OutOfMemory`]
    /// and [`Error::Gpu`] from the device.
    pub fn new(device: &wgpu::Device, width: usize, vectors: &[f32]) -> Result<Self, Error> {
        if width == 0 || vectors.is_empty() || !vectors.len().is_multiple_of(width.max(1)) {
            return Err(Error::TensorLength {
                dims: vec![vectors.len() / width.max(1), width],
                got: vectors.len(),
            });
        }
        alive(device)?;
        let padded = width.next_multiple_of(LANES);
        let none = wgpu::BufferUsages::empty();
        let query = create_scratch(device, "query", bytes(padded), wgpu::BufferUsages::COPY_DST)?;
        let helper = Helper::default();
        let mut parts = Vec::new();
        for part in vectors.chunks(rows_at_once(device, padded) * width) {
            let rows = part.len() / width;
            let mut packed = vec![0.0f32; rows * padded];
            for (row, to) in part.chunks(width).zip(packed.chunks_mut(padded)) {
                to[..width].copy_from_slice(row);
            }
            let packed = create_table(device, "vectors", &packed)?;
            let usage = none | wgpu::BufferUsages::COPY_SRC;
            let scores = create_scratch(device, "similarities", bytes(rows), usage)?;
            let launch = similarity::launch(rows, padded / LANES);
            let pipeline = helper.get(device, &launch)?;
            let bound = [&packed, &query, &scores].map(wgpu::Buffer::as_entire_binding);
            let dispatch = Dispatch::new(device, "similarity", &launch, pipeline, bound)?;
            parts.push((dispatch, scores));
        }
        let rows = vectors.len() / width;
        Ok(Self {
            query,
            parts,
            scores: Ring::new(device, "similarities", bytes(rows), IN_FLIGHT)?,
        })
    }

    /// The buffer of the query: its numbers, and zeros up to a multiple of four. The queue may write to
    /// it, and commands may copy to it.
    pub const fn query(&self) -> &wgpu::Buffer {
        &self.query
    }

    /// Records a search; without effect, and false, while the results of three are in flight.
    pub fn record(&self, encoder: &mut wgpu::CommandEncoder) -> bool {
        self.scores.record(encoder, (), |encoder, host| {
            {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                    label: Some("resnet-wgpu similarity"),
                    timestamp_writes: None,
                });
                for (dispatch, _) in &self.parts {
                    dispatch.record(&mut pass);
                }
            }
            let mut offset = 0;
            for (_, scores) in &self.parts {
                encoder.copy_buffer_to_buffer(scores, 0, host, offset, scores.size());
                offset += scores.size();
            }
        })
    }

    /// The result of the search that arrived first, once it has: the `k` most similar vectors, by number
    /// and cosine, the most similar first.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the device was lost.
    pub fn poll(&self, k: usize) -> Result<Option<Vec<(usize, f32)>>, Error> {
        let arrived = self.scores.poll(None, |(), bytes| {
            let scores: Vec<f32> = bytemuck::pod_collect_to_vec(bytes);
            let best = top_k(&scores, k).into_iter();
            best.map(|row| (row, scores[row])).collect()
        });
        match arrived {
            Poll::Ready(results) => results.transpose(),
            Poll::Pending => Ok(None),
        }
    }
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
