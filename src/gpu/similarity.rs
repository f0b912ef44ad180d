//! The vectors of a collection that are most similar to another, such as the features of pictures.

use std::cmp::Ordering;
use std::iter;
use std::task::Poll;

use super::alive;
use super::dispatch::Dispatch;
use super::helpers::Helper;
use super::resources::{create_folded, create_scratch, create_table, side};
use super::ring::Ring;
use crate::error::Error;
use crate::kernels::textures::similarity_texture;
use crate::kernels::{Launch, Piece, similarity, top_k, unit_vector};
use crate::plan::{Capabilities, DeviceClass};
use crate::tensor::{FOLD_ROW_SCALARS, FOLD_WIDTH, LANES, folded_rows};

/// Searches whose results can be on their way at the same time.
const IN_FLIGHT: usize = 3;

/// Bytes of the number of a vector and its cosine.
const PAIR: u64 = 8;

type Bound<'a> = wgpu::BindingResource<'a>;

/// The products of some rows, and the buffer of their results.
type Part = (Dispatch, wgpu::Buffer);

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
    /// The query of length 1, and where a texture gets it from, if the vectors are in textures.
    unit_texels: Option<(wgpu::Buffer, wgpu::TextureView)>,
    /// As many rows as a buffer or a texture may hold, each with the buffer of their results.
    parts: Vec<Part>,
    /// The results of all parts.
    all: wgpu::Buffer,
    top_k: Dispatch,
    best: wgpu::Buffer,
    k: usize,
    results: Ring<()>,
}

impl Similarity {
    /// Uploads vectors of `width` numbers, one after another, to find the `k` most similar ones, or all if
    /// there are fewer. The device takes them as it takes the weights of an [`Executor`](super::Executor).
    ///
    /// # Errors
    /// [`Error::TensorLength`] if they are not whole vectors, or there is none; [`Error::OutOfMemory`]
    /// and [`Error::Gpu`] from the device.
    pub fn new(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
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
        let vectors = Vectors {
            numbers: vectors,
            width,
            texels: width.div_ceil(LANES),
        };
        let rows = vectors.rows();
        let found = k.clamp(1, rows);
        let (from, to) = (wgpu::BufferUsages::COPY_SRC, wgpu::BufferUsages::COPY_DST);
        let in_textures = vectors.rows_of_a_texture(&Capabilities::of(device));
        // A texture takes whole rows of texels.
        let unit_len = match in_textures {
            Some(_) => folded_rows(vectors.texels) * FOLD_ROW_SCALARS,
            None => vectors.texels * LANES,
        };
        let query = create_scratch(device, "query", bytes(vectors.texels * LANES), to)?;
        let unit = create_scratch(device, "query of length 1", bytes(unit_len), from)?;
        let all = create_scratch(device, "similarities", bytes(rows), to)?;
        let best = create_scratch(device, "nearest", PAIR * found as u64, from)?;
        let (parts, unit_texels) = match in_textures {
            Some(at_once) => {
                let (parts, texels) = vectors.in_textures(device, queue, at_once)?;
                (parts, Some((unit.clone(), texels)))
            }
            None => (vectors.in_buffers(device, &unit)?, None),
        };
        let launch = unit_vector::launch(vectors.texels, 1);
        let bound = [&query, &unit].map(wgpu::Buffer::as_entire_binding);
        let helper = Helper::default();
        let unit_query = dispatch(device, "unit vector", &helper, &launch, &bound)?;
        let launch = top_k::launch(found);
        let bound = [&all, &best].map(wgpu::Buffer::as_entire_binding);
        let helper = Helper::default();
        Ok(Self {
            query,
            unit_query,
            unit_texels,
            parts,
            k,
            top_k: dispatch(device, "top k", &helper, &launch, &bound)?,
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
            record(encoder, iter::once(&self.unit_query));
            if let Some((unit, texels)) = &self.unit_texels {
                copy_texels(encoder, unit, texels.texture());
            }
            record(encoder, self.parts.iter().map(|(dispatch, _)| dispatch));
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

fn dispatch(
    device: &wgpu::Device,
    name: &str,
    helper: &Helper,
    launch: &Launch,
    bound: &[Bound<'_>],
) -> Result<Dispatch, Error> {
    let pipeline = helper.get(device, launch)?;
    Dispatch::new(device, name, launch, pipeline, bound.iter().cloned())
}

/// The buffer of the results of some rows.
fn scores(device: &wgpu::Device, rows: usize) -> Result<wgpu::Buffer, Error> {
    let usage = wgpu::BufferUsages::COPY_SRC;
    create_scratch(device, "similarities of a part", bytes(rows), usage)
}

/// Copies a buffer to a folded texture.
fn copy_texels(encoder: &mut wgpu::CommandEncoder, from: &wgpu::Buffer, to: &wgpu::Texture) {
    let row_bytes = bytes(FOLD_ROW_SCALARS);
    encoder.copy_buffer_to_texture(
        wgpu::TexelCopyBufferInfo {
            buffer: from,
            layout: wgpu::TexelCopyBufferLayout {
                offset: 0,
                bytes_per_row: Some(side(row_bytes)),
                rows_per_image: None,
            },
        },
        to.as_image_copy(),
        to.size(),
    );
}

/// Some of the vectors of a collection, one after another.
#[derive(Clone, Copy)]
struct Vectors<'a> {
    numbers: &'a [f32],
    width: usize,
    /// Texels, or vectors of four numbers, that one has when it is padded.
    texels: usize,
}

/// About how many numbers are uploaded at once.
const PIECE: usize = 256 << 10;

impl<'a> Vectors<'a> {
    const fn rows(&self) -> usize {
        self.numbers.len() / self.width
    }

    /// At most so many of them at a time.
    fn parts(self, rows: usize) -> impl Iterator<Item = Self> {
        let parts = self.numbers.chunks(rows * self.width);
        parts.map(move |numbers| Self { numbers, ..self })
    }

    /// All of them in textures of at most so many rows, for so many lanes, and the texture of the query.
    fn in_textures(
        self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        (at_once, lanes): (usize, u32),
    ) -> Result<(Vec<Part>, wgpu::TextureView), Error> {
        let helper = Helper::default();
        let query = create_folded(device, queue, "query of length 1", self.texels, [])?;
        let parts = self.parts(at_once).map(|part| {
            let texels = part.rows().next_multiple_of(similarity_texture::ROWS) * part.texels;
            let packed = create_folded(device, queue, "vectors", texels, part.pieces())?;
            let scores = scores(device, part.rows())?;
            let launch = similarity_texture::launch(part.rows(), part.texels, lanes);
            let bound = [
                Bound::TextureView(&packed),
                Bound::TextureView(&query),
                scores.as_entire_binding(),
            ];
            let products = dispatch(device, "similarity", &helper, &launch, &bound)?;
            Ok((products, scores))
        });
        let parts = parts.collect::<Result<_, Error>>()?;
        Ok((parts, query))
    }

    /// All of them in buffers.
    fn in_buffers(self, device: &wgpu::Device, query: &wgpu::Buffer) -> Result<Vec<Part>, Error> {
        let helper = Helper::default();
        let at_once = self.rows_of_a_buffer(&Capabilities::of(device));
        let parts = self.parts(at_once).map(|part| {
            let packed = create_table(device, "vectors", &part.unit_vectors())?;
            let scores = scores(device, part.rows())?;
            let launch = similarity::launch(part.rows(), part.texels);
            let bound = [&packed, query, &scores].map(wgpu::Buffer::as_entire_binding);
            let products = dispatch(device, "similarity", &helper, &launch, &bound)?;
            Ok((products, scores))
        });
        parts.collect()
    }

    /// The rows that one texture holds, and the lanes of a subgroup, if textures are the better choice: llvmpipe reads
    /// a texel at a tenth of the price of a vector in a buffer.
    fn rows_of_a_texture(&self, allowed: &Capabilities) -> Option<(usize, u32)> {
        let (width, side) = (FOLD_WIDTH as u64, allowed.texture_side);
        let lanes = allowed.texture_lanes()?;
        if allowed.device.class != DeviceClass::Software || side < width {
            return None;
        }
        // One row may be added, so that their number is no power of two.
        let texels = (side - 1).saturating_mul(width);
        let block = (self.texels * similarity_texture::ROWS) as u64;
        let blocks = (texels / block).min(allowed.workgroups_per_dimension);
        let blocks = usize::try_from(blocks).unwrap_or(usize::MAX);
        let rows = blocks.saturating_mul(similarity_texture::ROWS);
        (blocks > 0).then_some((rows, lanes))
    }

    /// The rows that one buffer holds and one dispatch covers.
    fn rows_of_a_buffer(&self, allowed: &Capabilities) -> usize {
        let buffer = allowed.storage_binding_bytes.min(allowed.buffer_bytes);
        let rows = usize::try_from(buffer / bytes(self.texels * LANES)).unwrap_or(usize::MAX);
        let groups = usize::try_from(allowed.workgroups_per_dimension).unwrap_or(usize::MAX);
        rows.min(groups.saturating_mul(similarity::ROWS)).max(1)
    }

    /// Whole blocks of the texture.
    fn pieces(self) -> impl Iterator<Item = Piece> {
        let block = similarity_texture::ROWS * self.texels * LANES;
        let blocks = (PIECE / block).max(1);
        let pieces = self.parts(blocks * similarity_texture::ROWS).enumerate();
        pieces.map(move |(index, part)| Piece {
            at: index * blocks * block,
            scalars: similarity_texture::pack(&part.unit_vectors(), part.texels),
        })
    }

    /// Vectors of length 1, each padded to whole texels; zeros for those without a direction, as
    /// `unit_vector.wgsl` makes of the query.
    fn unit_vectors(&self) -> Vec<f32> {
        let padded = self.texels * LANES;
        let mut packed = vec![0.0f32; self.rows() * padded];
        let rows = self.numbers.chunks(self.width);
        for (row, to) in rows.zip(packed.chunks_mut(padded)) {
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
}

/// Bytes of so many numbers.
const fn bytes(numbers: usize) -> u64 {
    numbers as u64 * 4
}
