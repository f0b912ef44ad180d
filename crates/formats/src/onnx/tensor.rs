//! Tensors of an ONNX file: weights as 32-bit floats, and integers, which are mostly shapes.

use half::{bf16, f16};

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::external::{Files, Place};
use super::lean::ELSEWHERE;
use super::wire::{Damaged, Message};
use crate::weights::bytes::Bytes;
use crate::weights::contents::Dtype;
use crate::weights::convert;
use resnet_wgpu::tensor::Tensor;

/// Element types, as numbered by `TensorProto.DataType`.
pub(super) const FLOAT: i64 = 1;
pub(super) const UINT8: i64 = 2;
pub(super) const INT32: i64 = 6;
pub(super) const INT64: i64 = 7;
pub(super) const BOOL: i64 = 9;
pub(super) const FLOAT16: i64 = 10;
pub(super) const DOUBLE: i64 = 11;
const BFLOAT16: i64 = 16;

/// Maximum rank of a tensor.
pub(super) const MAX_RANK: usize = 8;

/// Maximum length of an integer constant: shapes, axes and channel indices are short.
const MAX_INTS: usize = 1 << 12;

/// The number of elements; `None` if it or a dimension is too large to compute with.
pub(super) fn volume(dims: &[usize]) -> Option<usize> {
    const MAX: u64 = 1 << 40;
    let bound = dims
        .iter()
        .try_fold(1usize, |bound, &size| bound.checked_mul(size.max(1)));
    let fits = bound.is_some_and(|bound| bound as u64 <= MAX) && dims.len() <= MAX_RANK;
    fits.then(|| dims.iter().product())
}

/// Whether an element type is a float.
pub(super) const fn is_float(element: i64) -> bool {
    matches!(element, FLOAT | FLOAT16 | DOUBLE | BFLOAT16)
}

/// Whether an element type is an integer; booleans count as 0 and 1.
pub(super) const fn is_int(element: i64) -> bool {
    matches!(element, UINT8..=INT64 | BOOL | 12 | 13)
}

/// A value that does not depend on pixel values.
#[derive(Clone, Debug)]
pub(super) struct Constant {
    pub(super) numbers: Numbers,
    /// Whether it depends on the height or width of the image, so that it fits only one size.
    pub(super) sized: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Numbers {
    Floats(Tensor),
    Ints { dims: Vec<usize>, ints: Vec<i64> },
}

impl Constant {
    pub(super) fn ints(dims: &[usize], ints: Vec<i64>) -> Self {
        let dims = dims.to_vec();
        Self::of(Numbers::Ints { dims, ints })
    }

    pub(super) const fn of(numbers: Numbers) -> Self {
        let sized = false;
        Self { numbers, sized }
    }

    pub(super) fn dims(&self) -> &[usize] {
        match &self.numbers {
            Numbers::Floats(tensor) => tensor.dims(),
            Numbers::Ints { dims, .. } => dims,
        }
    }

    pub(super) fn len(&self) -> usize {
        match &self.numbers {
            Numbers::Floats(tensor) => tensor.len(),
            Numbers::Ints { ints, .. } => ints.len(),
        }
    }

    /// The value of a constant with a single element.
    pub(super) fn scalar(&self) -> Option<f32> {
        match &self.numbers {
            Numbers::Floats(tensor) if tensor.len() == 1 => Some(tensor.data()[0]),
            Numbers::Ints { ints, .. } if ints.len() == 1 => Some(ints[0] as f32),
            Numbers::Floats(_) | Numbers::Ints { .. } => None,
        }
    }

    /// Decodes a `TensorProto`.
    pub(super) fn decode(message: Message<'_>, files: &mut Files) -> Result<Self, String> {
        let proto = Proto::decode(message).map_err(|Damaged(reason)| reason.to_owned())?;
        let mut dims = Vec::new();
        for &size in &proto.dims {
            let size = usize::try_from(size).map_err(|_| "a size is negative".to_owned())?;
            dims.push(size);
        }
        let bytes = width(proto.element).ok_or_else(|| {
            let element = type_name(proto.element);
            format!("element type {element} is not supported; convert it to float32 or float16")
        })?;
        let len = volume(&dims).ok_or_else(|| "its sizes overflow".to_owned())?;
        let raw = match (proto.external, proto.elsewhere) {
            (true, _) => Some(Raw::of(files.bytes(proto.place, len * bytes)?)),
            (false, Some(place)) => Some(Raw::of(files.inside(place)?)),
            (false, None) => proto.raw.map(Raw::Here),
        };
        let misfit = |got: usize| Err(format!("shape {dims:?} does not hold {got} numbers"));
        if is_int(proto.element) {
            if len > MAX_INTS {
                return Err(format!(
                    "it holds {len} integers of {}, which are too many for a shape; a quantised \
                     network is not supported",
                    type_name(proto.element)
                ));
            }
            let raw = raw.map(Raw::read).transpose()?;
            let ints = proto.ints(raw.as_deref())?;
            if ints.len() != len {
                return misfit(ints.len());
            }
            return Ok(Self::ints(&dims, ints));
        }
        let data = proto.floats(raw)?;
        if data.is_empty() || data.len() != len {
            return misfit(data.len());
        }
        let tensor = Tensor::new(&dims, data).map_err(|error| error.to_string())?;
        Ok(Self::of(Numbers::Floats(tensor)))
    }
}

/// Size of an element in bytes.
const fn width(element: i64) -> Option<usize> {
    Some(match element {
        UINT8 | 3 | BOOL => 1,
        4 | 5 | FLOAT16 | BFLOAT16 => 2,
        FLOAT | INT32 | 12 => 4,
        INT64 | DOUBLE | 13 => 8,
        _ => return None,
    })
}

/// The name of an element type, for messages.
pub(super) fn type_name(element: i64) -> String {
    let names = [
        "undefined",
        "float32",
        "uint8",
        "int8",
        "uint16",
        "int16",
        "int32",
        "int64",
        "string",
        "bool",
        "float16",
        "float64",
        "uint32",
        "uint64",
        "complex64",
        "complex128",
        "bfloat16",
        "float8",
        "float8",
        "float8",
        "float8",
        "uint4",
        "int4",
    ];
    let index = usize::try_from(element).ok();
    let name = index.and_then(|index| names.get(index));
    name.map_or_else(|| format!("number {element}"), |&name| name.to_owned())
}

/// Numbers as bytes: in the message, or in a file.
enum Raw<'a> {
    Here(&'a [u8]),
    There(&'a Bytes, Range<usize>),
}

impl<'a> Raw<'a> {
    const fn of((file, range): (&'a Bytes, Range<usize>)) -> Self {
        Self::There(file, range)
    }

    fn read(self) -> Result<Cow<'a, [u8]>, String> {
        match self {
            Self::Here(bytes) => Ok(Cow::Borrowed(bytes)),
            Self::There(file, range) => file.read(range).map_err(|fault| fault.to_string()),
        }
    }

    fn floats(self, dtype: Dtype) -> Result<Arc<[f32]>, String> {
        let length = match &self {
            Self::Here(bytes) => bytes.len(),
            Self::There(_, range) => range.len(),
        };
        if length % dtype.element_bytes() != 0 {
            return Err(SPLIT.to_owned());
        }
        let floats = match self {
            Self::Here(bytes) => convert::to_f32(dtype, bytes),
            Self::There(file, range) => {
                convert::read(file, dtype, range).map_err(|fault| fault.to_string())?
            }
        };
        floats.ok_or_else(|| "it holds no floats".to_owned())
    }
}

const SPLIT: &str = "its bytes end in the middle of a number";

#[derive(Default)]
struct Proto<'a> {
    dims: Vec<i64>,
    element: i64,
    external: bool,
    place: Place<'a>,
    raw: Option<&'a [u8]>,
    /// Where the raw numbers are in the file, if they are not here.
    elsewhere: Option<&'a [u8]>,
    floats: Vec<f32>,
    /// The field `int32_data`, which also holds smaller integers and the bits of 16-bit floats.
    int32: Vec<i64>,
    int64: Vec<i64>,
    doubles: Vec<f32>,
}

impl<'a> Proto<'a> {
    fn decode(message: Message<'a>) -> Result<Self, Damaged> {
        let mut proto = Self::default();
        for field in message.fields() {
            let (number, field) = field?;
            match number {
                1 => field.ints(&mut proto.dims)?,
                2 => proto.element = field.int()?,
                3 => return Err(Damaged("it is stored in segments, which is not supported")),
                4 => field.floats(&mut proto.floats)?,
                5 => field.ints(&mut proto.int32)?,
                7 | 11 => field.ints(&mut proto.int64)?,
                9 => (proto.raw, proto.elsewhere) = (Some(field.bytes()?), None),
                10 => field.doubles(&mut proto.doubles)?,
                13 => proto.place.add(field.message()?)?,
                14 => proto.external = field.int()? != 0,
                ELSEWHERE => (proto.raw, proto.elsewhere) = (None, Some(field.bytes()?)),
                _ => {}
            }
            if proto.dims.len() > MAX_RANK {
                return Err(Damaged("it has too many dimensions"));
            }
        }
        Ok(proto)
    }

    fn floats(self, raw: Option<Raw<'_>>) -> Result<Arc<[f32]>, String> {
        let (dtype, from_bits): (_, fn(u16) -> f32) = match self.element {
            FLOAT => (Dtype::F32, f32::from),
            DOUBLE => (Dtype::F64, f32::from),
            FLOAT16 => (Dtype::F16, |bits| f16::from_bits(bits).to_f32()),
            _ => (Dtype::BF16, |bits| bf16::from_bits(bits).to_f32()),
        };
        if let Some(raw) = raw {
            return raw.floats(dtype);
        }
        Ok(match dtype {
            Dtype::F32 => self.floats.into(),
            Dtype::F64 => self.doubles.into(),
            Dtype::F16 | Dtype::BF16 | Dtype::Other { .. } => {
                let bits = self.int32.into_iter().map(u16::try_from);
                let floats: Result<_, _> = bits.map(|bits| bits.map(from_bits)).collect();
                floats.map_err(|_| "a 16-bit float has more bits".to_owned())?
            }
        })
    }

    fn ints(self, raw: Option<&[u8]>) -> Result<Vec<i64>, String> {
        let Some(raw) = raw else {
            return Ok(match self.element {
                INT64 | 12 | 13 => self.int64,
                _ => self.int32,
            });
        };
        Ok(match self.element {
            UINT8 | BOOL => raw.iter().map(|&byte| byte.into()).collect(),
            3 => raw.iter().map(|&byte| byte.cast_signed().into()).collect(),
            4 => chunks(raw)?
                .map(|bytes| u16::from_le_bytes(bytes).into())
                .collect(),
            5 => chunks(raw)?
                .map(|bytes| i16::from_le_bytes(bytes).into())
                .collect(),
            INT32 => chunks(raw)?
                .map(|bytes| i32::from_le_bytes(bytes).into())
                .collect(),
            12 => chunks(raw)?
                .map(|bytes| u32::from_le_bytes(bytes).into())
                .collect(),
            _ => chunks(raw)?.map(i64::from_le_bytes).collect(),
        })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "everything is computed with 32 bits, and what overflows them is refused where it is used"
)]
pub(super) const fn narrow(number: f64) -> f32 {
    number as f32
}

fn chunks<const N: usize>(raw: &[u8]) -> Result<impl Iterator<Item = [u8; N]>, String> {
    match raw.as_chunks::<N>() {
        (chunks, []) => Ok(chunks.iter().copied()),
        _ => Err(SPLIT.to_owned()),
    }
}
