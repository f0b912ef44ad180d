//! Shapes, host tensors, and the definition of the memory layout of activations.
//!
//! On the host a [`Tensor`] is row-major in its natural order: activations are NCHW, convolution
//! weights OIHW, linear weights `[out, in]`. On the GPU an activation is *channel-packed* ("NC4HW4"
//! with the channel groups outermost): four channels of one pixel are one `vec4<f32>`, and the
//! vectors of one channel group lie together for all pixels of all images:
//!
//! ```text
//! vector index (n, c, y, x) = (c / 4) · (N·H·W) + (n·H + y)·W + x        lane = c % 4
//! ```
//!
//! The pixels of the whole batch thus form one contiguous axis; lanes past the last channel are
//! zero. [`pack`] and [`unpack`] convert; every shader relies on exactly this layout.
//!
//! A *folded* texture holds the same vectors as texels in the same order, `FOLD_WIDTH` to a row,
//! after one row of zeros, which kernels read in place of pixels outside the image.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use half::f16;
use half::slice::HalfFloatSliceExt;
use twox_hash::xxhash3_128::Hasher;

use crate::error::Error;

pub use crate::shape::Shape;
pub(crate) use crate::shape::{FOLD_ROW_SCALARS, FOLD_WIDTH, LANES, folded_rows};

/// A host tensor of 32-bit floats, row-major. Clones share the data.
#[derive(Clone)]
pub struct Tensor {
    dims: Vec<usize>,
    data: Data,
    /// The fingerprint, once somebody has asked for it.
    fingerprint: Arc<OnceLock<u128>>,
}

/// Scalars, or what they are computed from: a large network should lie in memory once, as its file
/// stores it.
#[derive(Clone)]
enum Data {
    Scalars(Arc<[f32]>),
    Computed(Arc<Computed>),
}

struct Computed {
    recipe: Recipe,
    /// The scalars, once somebody has asked for a reference to them.
    scalars: OnceLock<Box<[f32]>>,
}

enum Recipe {
    Halves(Box<[f16]>),
    /// Another tensor, whose slices along its first dimension have a factor each.
    Scaled(Tensor, Box<[f64]>),
}

impl Recipe {
    /// The scalars of some slices along the first dimension, of `len` scalars each.
    fn compute(&self, slices: Range<usize>, len: usize) -> Vec<f32> {
        match self {
            Self::Halves(halves) => halves[slices.start * len..slices.end * len].to_f32_vec(),
            Self::Scaled(tensor, factors) => {
                let mut scalars = tensor.slices(slices.clone()).into_owned();
                for (slice, factor) in scalars.chunks_mut(len.max(1)).zip(&factors[slices]) {
                    for x in slice {
                        *x = rounded(f64::from(*x) * factor);
                    }
                }
                scalars
            }
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the one rounding of a product to single precision"
)]
const fn rounded(product: f64) -> f32 {
    product as f32
}

impl Tensor {
    /// A tensor from its dimensions and row-major data.
    ///
    /// # Errors
    /// [`Error::TensorLength`] if the data does not fill the dimensions exactly.
    pub fn new(dims: &[usize], data: impl Into<Arc<[f32]>>) -> Result<Self, Error> {
        let data = data.into();
        let expected = dims.iter().try_fold(1usize, |len, &d| len.checked_mul(d));
        if expected != Some(data.len()) {
            return Err(Error::TensorLength {
                dims: dims.to_vec(),
                got: data.len(),
            });
        }
        Ok(Self::of(dims, Data::Scalars(data)))
    }

    /// The dimensions, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The scalars, row-major.
    pub fn data(&self) -> &[f32] {
        match &self.data {
            Data::Scalars(scalars) => scalars,
            Data::Computed(data) => data.scalars.get_or_init(|| {
                let (all, len) = self.first_dimension();
                data.recipe.compute(0..all, len).into_boxed_slice()
            }),
        }
    }

    /// The dimensions as an activation shape.
    ///
    /// # Errors
    /// [`Error::TensorRank`] unless there are exactly four dimensions.
    #[doc(hidden)]
    pub fn shape(&self) -> Result<Shape, Error> {
        match self.dims[..] {
            [n, c, h, w] => Ok(Shape::new(n, c, h, w)),
            _ => Err(Error::TensorRank {
                expected: 4,
                dims: self.dims.clone(),
            }),
        }
    }
}

impl PartialEq for Tensor {
    fn eq(&self, other: &Self) -> bool {
        self.dims == other.dims && self.scalars() == other.scalars()
    }
}

impl Tensor {
    /// The product of each slice along the first dimension and its factor, in f64 and rounded once. The
    /// products are computed when they are needed, and not kept.
    pub(crate) fn scaled(&self, factors: Vec<f64>) -> Self {
        Self::computed(&self.dims, Recipe::Scaled(self.clone(), factors.into()))
    }

    /// The scalars of some slices along the first dimension, as [`Self::scalars`] has those of all.
    pub(crate) fn slices(&self, slices: Range<usize>) -> Cow<'_, [f32]> {
        let (_, len) = self.first_dimension();
        let known = match &self.data {
            Data::Scalars(scalars) => scalars,
            Data::Computed(data) => match data.scalars.get() {
                Some(scalars) => &**scalars,
                None => return Cow::Owned(data.recipe.compute(slices, len)),
            },
        };
        Cow::Borrowed(&known[slices.start * len..slices.end * len])
    }

    /// The slices along the first dimension, and the scalars of each.
    fn first_dimension(&self) -> (usize, usize) {
        match self.dims.split_first() {
            Some((&slices, others)) => (slices, others.iter().product()),
            None => (1, 1),
        }
    }

    fn computed(dims: &[usize], recipe: Recipe) -> Self {
        let computed = Computed {
            recipe,
            scalars: OnceLock::new(),
        };
        Self::of(dims, Data::Computed(Arc::new(computed)))
    }

    fn of(dims: &[usize], data: Data) -> Self {
        Self {
            dims: dims.to_vec(),
            data,
            fingerprint: Arc::default(),
        }
    }

    /// A hash of the dimensions and of the scalars, or of what they are computed from: tensors with the same
    /// one are equal. It is computed once for a tensor and its clones.
    pub(crate) fn fingerprint(&self) -> u128 {
        *self.fingerprint.get_or_init(|| {
            let mut hasher = Hasher::new();
            for &dim in &self.dims {
                hasher.write(&(dim as u64).to_ne_bytes());
            }
            // The kinds of data begin differently, so that none passes for another.
            match &self.data {
                Data::Scalars(scalars) => {
                    hasher.write(b"scalars");
                    hasher.write(bytemuck::cast_slice(scalars));
                }
                Data::Computed(computed) => match &computed.recipe {
                    Recipe::Halves(halves) => {
                        hasher.write(b"halves");
                        hasher.write(bytemuck::cast_slice(halves.reinterpret_cast()));
                    }
                    Recipe::Scaled(tensor, factors) => {
                        hasher.write(b"scaled");
                        hasher.write(&tensor.fingerprint().to_ne_bytes());
                        hasher.write(bytemuck::cast_slice(factors));
                    }
                },
            }
            hasher.finish_128()
        })
    }
}

#[doc(hidden)]
impl Tensor {
    /// A tensor of numbers in half precision, which stay so in memory.
    ///
    /// # Errors
    /// [`Error::TensorLength`] if they do not fill the dimensions exactly.
    pub fn halves(dims: &[usize], halves: Vec<f16>) -> Result<Self, Error> {
        let expected = dims.iter().try_fold(1usize, |len, &d| len.checked_mul(d));
        if expected != Some(halves.len()) {
            return Err(Error::TensorLength {
                dims: dims.to_vec(),
                got: halves.len(),
            });
        }
        Ok(Self::computed(dims, Recipe::Halves(halves.into())))
    }

    /// The scalars as [`Self::data`] has them, for whoever reads them once: computed ones are not kept.
    pub fn scalars(&self) -> Cow<'_, [f32]> {
        self.slices(0..self.first_dimension().0)
    }

    /// A tensor whose scalars are computed from their flat, row-major indices.
    pub fn from_fn(dims: &[usize], f: impl FnMut(usize) -> f32) -> Self {
        let len = dims.iter().product();
        Self::of(dims, Data::Scalars((0..len).map(f).collect()))
    }

    /// The number of scalars.
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Whether there are no scalars.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor{:?}", self.dims)
    }
}

/// Converts row-major NCHW scalars to the channel-packed layout, with zeros in channel tails.
///
/// # Panics
/// If `data` does not hold exactly `shape.len()` scalars.
#[doc(hidden)]
pub fn pack(shape: Shape, data: &[f32]) -> Vec<f32> {
    assert_eq!(data.len(), shape.len(), "data must fill {shape}");
    let plane = shape.h * shape.w;
    let mut packed = vec![0.0; shape.packed_len()];
    for n in 0..shape.n {
        for c in 0..shape.c {
            let source = &data[(n * shape.c + c) * plane..][..plane];
            let first = ((c / LANES) * shape.pixels() + n * plane) * LANES + c % LANES;
            for (pixel, &value) in source.iter().enumerate() {
                packed[first + pixel * LANES] = value;
            }
        }
    }
    packed
}

/// Converts channel-packed scalars back to row-major NCHW, dropping channel tails.
///
/// # Panics
/// If `packed` does not hold exactly `shape.packed_len()` scalars.
#[doc(hidden)]
pub fn unpack(shape: Shape, packed: &[f32]) -> Vec<f32> {
    assert_eq!(
        packed.len(),
        shape.packed_len(),
        "packed data must fill {shape}"
    );
    let plane = shape.h * shape.w;
    let mut data = vec![0.0; shape.len()];
    for n in 0..shape.n {
        for c in 0..shape.c {
            let target = &mut data[(n * shape.c + c) * plane..][..plane];
            let first = ((c / LANES) * shape.pixels() + n * plane) * LANES + c % LANES;
            for (pixel, value) in target.iter_mut().enumerate() {
                *value = packed[first + pixel * LANES];
            }
        }
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_puts_four_channels_of_a_pixel_side_by_side() {
        let shape = Shape::new(2, 5, 1, 2);
        let data: Vec<f32> = (0u8..20).map(f32::from).collect();
        let packed = pack(shape, &data);
        // Group 0: pixels (n0,x0) (n0,x1) (n1,x0) (n1,x1), channels 0..4 each.
        assert_eq!(
            packed[..8],
            [0.0, 2.0, 4.0, 6.0, 1.0, 3.0, 5.0, 7.0],
            "image 0"
        );
        assert_eq!(
            packed[8..12],
            [10.0, 12.0, 14.0, 16.0],
            "image 1, first pixel"
        );
        // Group 1: channel 4 and three zero lanes.
        assert_eq!(packed[16..20], [8.0, 0.0, 0.0, 0.0], "channel tail is zero");
        assert_eq!(unpack(shape, &packed), data, "round trip");
    }

    #[test]
    fn slices_of_computed_scalars_are_those_of_all() {
        let halves = (0u8..30).map(|i| f16::from_f32(f32::from(i))).collect();
        let tensor = Tensor::halves(&[5, 2, 3], halves).unwrap();
        let scaled = tensor.scaled(vec![1.0, 0.1, -2.0, 1e9, 0.0]);
        for tensor in [&tensor, &scaled] {
            for (first, last) in [(0, 5), (0, 1), (2, 4), (4, 5), (3, 3)] {
                let slices = tensor.slices(first..last).into_owned();
                assert_eq!(
                    slices,
                    tensor.scalars()[first * 6..last * 6],
                    "{first}..{last}"
                );
            }
        }
        let kept = scaled.data().to_vec();
        assert_eq!(*scaled.slices(1..3), kept[6..18], "once they are kept");
        assert_eq!(kept[18], 18.0 * 1e9);
    }

    #[test]
    fn tensors_with_the_same_fingerprint_are_equal() {
        let numbers = |len: usize, factor: f32| Tensor::from_fn(&[len], |i| i as f32 * factor);
        let halves = |first: f32| {
            let halves = [first, 2.0, 3.0, 4.0].map(f16::from_f32).to_vec();
            Tensor::halves(&[2, 2], halves).unwrap()
        };
        let tensors = || {
            [
                numbers(4, 1.0),
                numbers(4, 2.0),
                numbers(5, 1.0),
                Tensor::from_fn(&[2, 2], |i| i as f32),
                halves(1.0),
                halves(0.0),
                halves(1.0).scaled(vec![1.0, 1.0]),
                halves(1.0).scaled(vec![1.0, 0.5]),
                halves(0.0).scaled(vec![1.0, 0.5]),
                halves(1.0).scaled(vec![1.0, 0.5]).scaled(vec![1.0, 0.5]),
            ]
        };
        let fingerprints = || tensors().map(|tensor| tensor.fingerprint());
        assert_eq!(fingerprints(), fingerprints(), "made again");
        let different: std::collections::HashSet<u128> = fingerprints().into();
        assert_eq!(different.len(), tensors().len(), "all differ");
        let computed = halves(1.0);
        let before = computed.fingerprint();
        computed.data();
        assert_eq!(computed.clone().fingerprint(), before, "once computed");
    }

    #[test]
    fn a_tensor_refuses_data_of_the_wrong_length() {
        assert!(
            matches!(
                Tensor::new(&[2, 3], vec![0.0; 5]),
                Err(Error::TensorLength { got: 5, .. })
            ),
            "5 scalars cannot fill [2, 3]"
        );
        assert!(
            Tensor::new(&[usize::MAX, 3], vec![0.0; 5]).is_err(),
            "overflow"
        );
    }
}
