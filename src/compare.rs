//! Whether two tensors agree, by one formula shared by tests, the program and benches: `|got −
//! want| ≤ atol + rtol · |want|`.

use std::fmt;

use crate::error::Error;
use crate::tensor::Tensor;

/// How far a number may be from the expected one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// The absolute part.
    pub atol: f32,
    /// The part relative to the expected scalar.
    pub rtol: f32,
}

impl Tolerance {
    /// The tolerance for a sum of `len` products of numbers near one, in 32-bit floats. Independent
    /// rounding errors grow with the square root of the sum's length (Higham, Accuracy and
    /// Stability of Numerical Algorithms, section 2.6); four times that is allowed.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a tolerance needs no more than seven digits"
    )]
    pub fn for_sum_of(len: usize) -> Self {
        let tolerance = 4.0 * f32::EPSILON * (len.max(1) as f32).sqrt();
        Self {
            atol: tolerance,
            rtol: tolerance,
        }
    }

    fn allows(self, want: f32, got: f32) -> bool {
        // Written so that a NaN on either side is not within, and nothing agrees with an infinity.
        want.is_finite() && (got - want).abs() <= self.atol + self.rtol * want.abs()
    }
}

/// The first element outside the tolerance.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Mismatch {
    /// Its index, outermost axis first: `[n, c, y, x]` for an activation.
    pub index: Vec<usize>,
    /// The expected value.
    pub want: f32,
    /// The actual value.
    pub got: f32,
}

/// How two tensors of the same shape differ.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Difference {
    /// The largest absolute difference; NaN if any element is NaN.
    pub max_abs: f32,
    /// The largest absolute difference, relative to the largest expected magnitude.
    pub max_rel: f32,
    /// The cosine of the angle between the tensors as vectors.
    pub cosine: f64,
    /// The number of elements outside the tolerance.
    pub mismatches: usize,
    /// The first element outside the tolerance.
    pub first: Option<Mismatch>,
}

impl Difference {
    /// Compares a computed tensor with the expected one.
    ///
    /// # Errors
    /// [`Error::TensorLength`] if the shapes differ.
    pub fn between(want: &Tensor, got: &Tensor, tolerance: Tolerance) -> Result<Self, Error> {
        if want.dims() != got.dims() {
            return Err(Error::TensorLength {
                dims: want.dims().to_vec(),
                got: got.len(),
            });
        }
        let mut difference = Self {
            max_abs: 0.0,
            max_rel: 0.0,
            cosine: 1.0,
            mismatches: 0,
            first: None,
        };
        let (mut dot, mut want_square, mut got_square) = (0.0, 0.0, 0.0);
        let mut largest = 0.0f32;
        for (flat, (&w, &g)) in want.data().iter().zip(got.data()).enumerate() {
            let distance = (g - w).abs();
            if distance > difference.max_abs || distance.is_nan() {
                difference.max_abs = distance;
            }
            largest = largest.max(w.abs());
            if !tolerance.allows(w, g) {
                difference.mismatches += 1;
                difference.first.get_or_insert_with(|| Mismatch {
                    index: position(flat, want.dims()),
                    want: w,
                    got: g,
                });
            }
            let (w, g) = (f64::from(w), f64::from(g));
            dot += w * g;
            want_square += w * w;
            got_square += g * g;
        }
        if largest > 0.0 {
            difference.max_rel = difference.max_abs / largest;
        }
        let norms = (want_square * got_square).sqrt();
        if norms > 0.0 {
            difference.cosine = dot / norms;
        }
        Ok(difference)
    }

    /// Whether every element is within the tolerance.
    pub fn is_within(&self) -> bool {
        self.mismatches == 0
    }
}

/// The index along each axis for a flat, row-major index.
fn position(mut flat: usize, dims: &[usize]) -> Vec<usize> {
    let mut index: Vec<usize> = dims
        .iter()
        .rev()
        .map(|&size| {
            let i = flat % size;
            flat /= size;
            i
        })
        .collect();
    index.reverse();
    index
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "max abs {:.3e}, max rel {:.3e}, cosine {:.9}",
            self.max_abs, self.max_rel, self.cosine
        )?;
        if let Some(Mismatch { index, want, got }) = &self.first {
            write!(
                f,
                "; {} outside, the first at {index:?}: want {want}, got {got}",
                self.mismatches
            )?;
        }
        Ok(())
    }
}
