//! Tensors of an ONNX file: weights as 32-bit floats, and short lists of integers for shapes.

use std::borrow::Cow;

use half::{bf16, f16};

use super::wire::{Damaged, Message};
use resnet_wgpu::tensor::Tensor;

/// Numbers of `TensorProto.DataType`.
pub(super) const FLOAT: i64 = 1;
const INT32: i64 = 6;
const INT64: i64 = 7;
pub(super) const FLOAT16: i64 = 10;
const BFLOAT16: i64 = 16;

/// The most sizes of a tensor.
const MAX_RANK: usize = 8;

/// The most integers of a list: shapes, axes and padding have at most 16.
pub(super) const MAX_INTS: usize = 64;

/// A value that does not depend on the image.
#[derive(Clone, Debug)]
pub(super) enum Constant {
    Floats(Tensor),
    /// The integers and whether they are one without a size.
    Ints {
        ints: Vec<i64>,
        scalar: bool,
    },
}

impl Constant {
    /// `TensorProto`.
    pub(super) fn decode(message: Message<'_>) -> Result<Self, Cow<'static, str>> {
        let proto = Proto::decode(message).map_err(|Damaged(reason)| reason)?;
        if proto.external {
            return Err(
                "its numbers are in another file, which is not supported; save the model \
                        with its weights inside"
                    .into(),
            );
        }
        let mut dims = Vec::new();
        for &size in &proto.dims {
            let size = usize::try_from(size).map_err(|_| "a size is negative")?;
            dims.push(size);
        }
        let len = dims.iter().try_fold(1usize, |len, &d| len.checked_mul(d));
        let len = len.ok_or("its sizes overflow")?;
        match proto.element {
            FLOAT | FLOAT16 | BFLOAT16 => {
                let data = proto.floats()?;
                if data.is_empty() || data.len() != len {
                    return Err(format!("sizes {dims:?} do not hold {} numbers", data.len()).into());
                }
                let tensor = Tensor::new(&dims, data);
                tensor
                    .map(Self::Floats)
                    .map_err(|error| error.to_string().into())
            }
            INT32 | INT64 => {
                let ints = proto.ints()?;
                if ints.len() != len || dims.len() > 1 {
                    return Err(
                        format!("sizes {dims:?} do not hold {} integers", ints.len()).into(),
                    );
                }
                let scalar = dims.is_empty();
                Ok(Self::Ints { ints, scalar })
            }
            other => Err(format!(
                "element type {} is not supported; convert it to float32 or float16",
                type_name(other)
            )
            .into()),
        }
    }
}

/// The name of an element type in messages.
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
    ];
    let index = usize::try_from(element).ok();
    let name = index.and_then(|index| names.get(index));
    name.map_or_else(|| format!("number {element}"), |&name| name.to_owned())
}

#[derive(Default)]
struct Proto<'a> {
    dims: Vec<i64>,
    element: i64,
    external: bool,
    raw: Option<&'a [u8]>,
    floats: Vec<f32>,
    /// 32-bit integers; 16-bit floats are listed here as well, by their bits.
    int32: Vec<i64>,
    int64: Vec<i64>,
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
                7 => field.ints(&mut proto.int64)?,
                9 => proto.raw = Some(field.bytes()?),
                13 => proto.external = true,
                14 => proto.external |= field.int()? != 0,
                _ => {}
            }
            if proto.dims.len() > MAX_RANK {
                return Err(Damaged("it has too many sizes"));
            }
        }
        Ok(proto)
    }

    fn floats(self) -> Result<Vec<f32>, &'static str> {
        let from_bits: fn(u16) -> f32 = match self.element {
            FLOAT16 => |bits| f16::from_bits(bits).to_f32(),
            _ => |bits| bf16::from_bits(bits).to_f32(),
        };
        match (self.raw, self.element) {
            (Some(raw), FLOAT) => Ok(chunks(raw)?.map(f32::from_le_bytes).collect()),
            (Some(raw), _) => {
                let bits = chunks(raw)?.map(u16::from_le_bytes);
                Ok(bits.map(from_bits).collect())
            }
            (None, FLOAT) => Ok(self.floats),
            (None, _) => {
                let bits = self.int32.into_iter().map(u16::try_from);
                let floats = bits.map(|bits| bits.map(from_bits));
                floats
                    .collect::<Result<_, _>>()
                    .map_err(|_| "a 16-bit float has more bits")
            }
        }
    }

    fn ints(self) -> Result<Vec<i64>, &'static str> {
        let ints: Vec<i64> = match (self.raw, self.element) {
            (Some(raw), INT32) => chunks(raw)?
                .map(|bytes| i32::from_le_bytes(bytes).into())
                .take(MAX_INTS + 1)
                .collect(),
            (Some(raw), _) => chunks(raw)?
                .map(i64::from_le_bytes)
                .take(MAX_INTS + 1)
                .collect(),
            (None, INT32) => self.int32,
            (None, _) => self.int64,
        };
        if ints.len() > MAX_INTS {
            return Err("it holds too many integers for a shape");
        }
        Ok(ints)
    }
}

fn chunks<const N: usize>(raw: &[u8]) -> Result<impl Iterator<Item = [u8; N]>, &'static str> {
    match raw.as_chunks::<N>() {
        (chunks, []) => Ok(chunks.iter().copied()),
        _ => Err("its bytes end in the middle of a number"),
    }
}
