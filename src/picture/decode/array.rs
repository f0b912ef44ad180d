//! Arrays in place of pictures, for networks whose channels are no colours: NumPy files.

use super::{MAX_BYTES, Refused};
use crate::internals::npy::Array;
use crate::picture::{Batch, Preprocess};

/// Reads an array for a network that takes so many channels.
pub(super) fn decode(bytes: &[u8], channels: usize, rules: &Preprocess) -> Result<Batch, Refused> {
    let refuse = |what: &str| {
        Refused::Other(format!(
            "{what}; the network takes arrays of {channels} channels: save {channels}×H×W or \
             H×W×{channels} of float32 or uint8 with `numpy.save`"
        ))
    };
    let array = Array::read(bytes).ok_or_else(|| refuse("this is no NumPy file"))?;
    let shown = format!("{:?} of '{}'", array.dims, array.kind);
    let sizes = match array.dims[..] {
        [1, a, b, c] | [a, b, c] => [a, b, c],
        _ => return Err(refuse(&format!("an array of {shown}"))),
    };
    // Where both are possible, channels come first.
    let (last, [height, width]) = match sizes {
        [c, h, w] if c == channels => (false, [h, w]),
        [h, w, c] if c == channels => (true, [h, w]),
        _ => return Err(refuse(&format!("an array of {shown}"))),
    };
    let rules = match rules.for_image([height, width]) {
        Some(rules) => rules,
        None if rules.size == [height, width] => *rules,
        None => {
            let [h, w] = rules.size;
            return Err(refuse(&format!(
                "an array of {shown}, not of {h}x{w} pixels"
            )));
        }
    };
    let len = array
        .count()
        .filter(|&len| (1..=MAX_BYTES / 3).contains(&(len as u64)));
    let len = len.ok_or_else(|| refuse(&format!("an array of {shown}")))?;
    let [mean, std] = [rules.mean[0], rules.std[0]].map(f64::from);
    #[expect(clippy::cast_possible_truncation, reason = "rounding is what is meant")]
    let byte = |byte: u8| ((f64::from(byte) / 255.0 - mean) / std) as f32;
    #[expect(clippy::cast_possible_truncation, reason = "rounding is what is meant")]
    let double = |bytes: [u8; 8]| f64::from_le_bytes(bytes) as f32;
    let elements: Vec<f32> = match array.kind {
        "|u1" | "<u1" => array.data.iter().map(|&x| byte(x)).collect(),
        "<f4" => {
            let words = array.data.as_chunks::<4>().0.iter();
            words.map(|&word| f32::from_le_bytes(word)).collect()
        }
        "<f8" => array
            .data
            .as_chunks::<8>()
            .0
            .iter()
            .map(|&x| double(x))
            .collect(),
        _ => return Err(refuse(&format!("an array of {shown}"))),
    };
    if elements.len() != len {
        let cut_off = elements.len() < len;
        let what = if cut_off {
            "the file is cut off"
        } else {
            "more than one array in the file"
        };
        return Err(refuse(what));
    }
    if let Some(number) = elements.iter().find(|number| !number.is_finite()) {
        return Err(Refused::Other(format!(
            "it holds {number}, which is no finite number"
        )));
    }
    Ok(Batch::of_numbers(
        in_order(&elements, sizes, array.fortran, last),
        &rules,
    ))
}

/// The elements with channels first, in the order of C.
fn in_order(elements: &[f32], sizes: [usize; 3], fortran: bool, last: bool) -> Vec<f32> {
    let [a, b, c] = sizes;
    let steps = if fortran {
        [1, a, a * b]
    } else {
        [b * c, c, 1]
    };
    let order = if last { [2, 0, 1] } else { [0, 1, 2] };
    let [channels, rows, columns] = order.map(|axis| (sizes[axis], steps[axis]));
    let mut ordered = Vec::with_capacity(elements.len());
    for channel in 0..channels.0 {
        for row in 0..rows.0 {
            let start = channel * channels.1 + row * rows.1;
            ordered.extend((0..columns.0).map(|column| elements[start + column * columns.1]));
        }
    }
    ordered
}
