//! Converts the bytes of a tensor to `f32` in row-major order.
//!
//! The bytes may have any alignment. [`check_finite`] then makes sure that all numbers are finite.

use std::sync::Arc;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::contents::Dtype;
use resnet_wgpu::Error;

/// Elements converted at a time: few enough to fit the L1 cache.
const CHUNK_LEN: usize = 2048;

/// Copies the elements of a strided view in row-major order; `None` if any lies outside `bytes`.
pub(super) fn gather(
    bytes: &[u8],
    element_bytes: usize,
    dims: &[usize],
    strides: &[usize],
) -> Option<Vec<u8>> {
    let len: usize = dims.iter().product();
    let mut gathered = Vec::with_capacity((len * element_bytes).min(bytes.len()));
    let mut index = vec![0; dims.len()];
    loop {
        let steps = index.iter().zip(strides).map(|(i, stride)| i * stride);
        let start = steps.sum::<usize>() * element_bytes;
        gathered.extend_from_slice(bytes.get(start..start + element_bytes)?);
        // Step to the next index, last axis first.
        let mut axis = dims.len();
        loop {
            if axis == 0 {
                return Some(gathered);
            }
            axis -= 1;
            index[axis] += 1;
            if index[axis] < dims[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
}

/// Converts little-endian floats of a supported type to `f32`. The bytes need not be aligned.
pub(crate) fn to_f32(dtype: Dtype, bytes: &[u8]) -> Option<Arc<[f32]>> {
    match dtype {
        Dtype::F32 => {
            let words = bytes.as_chunks::<4>().0;
            Some(words.iter().map(|w| f32::from_le_bytes(*w)).collect())
        }
        Dtype::F16 => Some(widen(bytes, f16::from_le_bytes, |from, to| {
            from.convert_to_f32_slice(to);
        })),
        Dtype::BF16 => Some(widen(bytes, bf16::from_le_bytes, |from, to| {
            from.convert_to_f32_slice(to);
        })),
        Dtype::F64 => {
            let words = bytes.as_chunks::<8>().0;
            Some(
                words
                    .iter()
                    .map(|w| narrow(f64::from_le_bytes(*w)))
                    .collect(),
            )
        }
        Dtype::Other { .. } => None,
    }
}

/// Refuses a tensor that holds a NaN or an infinity.
pub(crate) fn check_finite(name: &str, data: &[f32]) -> Result<(), Error> {
    // A fold over all elements, without an early exit, lets the compiler use vector instructions.
    if data.iter().fold(true, |finite, x| finite & x.is_finite()) {
        return Ok(());
    }
    match data.iter().enumerate().find(|(_, x)| !x.is_finite()) {
        None => Ok(()),
        Some((index, &value)) => Err(Error::WeightNotFinite {
            name: name.to_owned(),
            index,
            value,
        }),
    }
}

/// The nearest `f32`. Numbers that are too large become infinite; the reader then refuses the
/// tensor.
#[expect(
    clippy::cast_possible_truncation,
    reason = "rounding is what is asked for"
)]
const fn narrow(value: f64) -> f32 {
    value as f32
}

/// Converts 16-bit floats to `f32` in chunks: `half` uses the processor's conversion instructions
/// on slices only, and checks for them once per call.
fn widen<T: Copy + Default>(
    bytes: &[u8],
    decode: impl Fn([u8; 2]) -> T,
    convert: impl Fn(&[T], &mut [f32]),
) -> Arc<[f32]> {
    let mut data: Arc<[f32]> = std::iter::repeat_n(0.0, bytes.len() / 2).collect();
    let mut narrow = [T::default(); CHUNK_LEN];
    // The data was just allocated, so it has no other owner.
    if let Some(data) = Arc::get_mut(&mut data) {
        let words = bytes.as_chunks::<2>().0;
        for (words, wide) in words.chunks(CHUNK_LEN).zip(data.chunks_mut(CHUNK_LEN)) {
            let narrow = &mut narrow[..words.len()];
            for (number, word) in narrow.iter_mut().zip(words) {
                *number = decode(*word);
            }
            convert(narrow, wide);
        }
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_widened_across_chunks_and_from_odd_addresses() {
        let count = 2 * CHUNK_LEN + 3;
        let values: Vec<f32> = (0..count).map(|i| i as f32 / 16.0 - 20.0).collect();
        let mut bytes = vec![0u8];
        bytes.extend(values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()));
        let read = to_f32(Dtype::F16, &bytes[1..]).expect("f16 is supported");
        let expected: Vec<f32> = values.iter().map(|&v| f16::from_f32(v).to_f32()).collect();
        assert_eq!(read[..], expected[..], "f16");

        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|&v| bf16::from_f32(v).to_le_bytes())
            .collect();
        let read = to_f32(Dtype::BF16, &bytes).expect("bf16 is supported");
        let expected: Vec<f32> = values.iter().map(|&v| bf16::from_f32(v).to_f32()).collect();
        assert_eq!(read[..], expected[..], "bf16");
    }

    #[test]
    fn doubles_are_rounded() {
        let bytes: Vec<u8> = [0.1f64, -2.5, 1e300]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let read = to_f32(Dtype::F64, &bytes).expect("f64 is supported");
        assert_eq!(read[..], [0.1f32, -2.5, f32::INFINITY], "f64");
    }

    #[test]
    fn a_view_is_made_row_major_and_never_read_past_its_storage() {
        let bytes: Vec<u8> = (0..12).collect();
        let view = |dims: &[usize], strides: &[usize]| gather(&bytes, 2, dims, strides);
        // The storage as 2×3 elements of two bytes each, transposed.
        let transposed = view(&[3, 2], &[1, 3]).expect("within");
        assert_eq!(transposed, [0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11], "3 x 2");
        assert_eq!(view(&[], &[]).expect("within"), [0, 1], "a scalar");
        assert_eq!(view(&[2, 4], &[3, 1]), None, "ends past the storage");
    }

    #[test]
    fn integers_are_not_weights() {
        let long = Dtype::Other {
            name: "I64",
            element_bytes: 8,
        };
        assert!(to_f32(long, &[0; 8]).is_none(), "i64");
    }
}
