//! Converts the bytes of a tensor to `f32` in row-major order.
//!
//! The bytes may have any alignment. [`check_finite`] then makes sure that all numbers are finite.

use std::mem;
use std::ops::Range;
use std::sync::Arc;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::bytes::Bytes;
use super::contents::{Dtype, Fault};
use resnet_wgpu::Error;

/// Elements converted at a time: few enough to fit the L1 cache.
const CHUNK_LEN: usize = 2048;

/// Scalars read at a time: few enough for the L2 cache, and many for a call of the system.
const PIECE_LEN: usize = 32 << 10;

/// Copies the elements of a view into row-major order; `None` if one lies outside the bytes.
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
    let convert = converter(dtype)?;
    let mut data = zeros(bytes.len() / dtype.element_bytes());
    // The data was just made, so it has no other owner.
    convert(bytes, Arc::get_mut(&mut data)?);
    Some(data)
}

/// Does the same for a part of a file, of which only a piece is in memory at a time.
pub(crate) fn read(
    source: &Bytes,
    dtype: Dtype,
    range: Range<usize>,
) -> Result<Option<Arc<[f32]>>, Fault> {
    let Some(convert) = converter(dtype) else {
        return Ok(None);
    };
    let element_bytes = dtype.element_bytes();
    let mut data = zeros(range.len() / element_bytes);
    let mut left = Arc::get_mut(&mut data).unwrap_or_default();
    source.pieces(range, PIECE_LEN * element_bytes, |bytes| {
        let (wide, rest) = mem::take(&mut left).split_at_mut(bytes.len() / element_bytes);
        convert(bytes, wide);
        left = rest;
    })?;
    Ok(Some(data))
}

fn zeros(len: usize) -> Arc<[f32]> {
    std::iter::repeat_n(0.0, len).collect()
}

/// Converts elements to as many floats.
type Convert = fn(&[u8], &mut [f32]);

fn converter(dtype: Dtype) -> Option<Convert> {
    Some(match dtype {
        Dtype::F32 => |bytes, wide| {
            for (word, wide) in bytes.as_chunks().0.iter().zip(wide) {
                *wide = f32::from_le_bytes(*word);
            }
        },
        Dtype::F16 => |bytes, wide| {
            widen(bytes, wide, f16::from_le_bytes, |from, to| {
                from.convert_to_f32_slice(to);
            });
        },
        Dtype::BF16 => |bytes, wide| {
            widen(bytes, wide, bf16::from_le_bytes, |from, to| {
                from.convert_to_f32_slice(to);
            });
        },
        Dtype::F64 => |bytes, wide| {
            for (word, wide) in bytes.as_chunks().0.iter().zip(wide) {
                *wide = narrow(f64::from_le_bytes(*word));
            }
        },
        Dtype::Other { .. } => return None,
    })
}

/// Integers of 8 bits times the scale of their output channel, which is the first axis.
pub(crate) fn scaled(bytes: &[u8], scales: &[f32]) -> Arc<[f32]> {
    let channel = bytes.len() / scales.len().max(1);
    let values = bytes.iter().enumerate().map(|(index, &byte)| {
        let scale = scales.get(index / channel.max(1)).copied();
        f32::from(byte.cast_signed()) * scale.unwrap_or(f32::NAN)
    });
    values.collect()
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
    wide: &mut [f32],
    decode: impl Fn([u8; 2]) -> T,
    convert: impl Fn(&[T], &mut [f32]),
) {
    let mut narrow = [T::default(); CHUNK_LEN];
    let words = bytes.as_chunks::<2>().0;
    for (words, wide) in words.chunks(CHUNK_LEN).zip(wide.chunks_mut(CHUNK_LEN)) {
        let narrow = &mut narrow[..words.len()];
        for (number, word) in narrow.iter_mut().zip(words) {
            *number = decode(*word);
        }
        convert(narrow, wide);
    }
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
