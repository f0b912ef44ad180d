//! What activations and weights are stored in, and how the text of a shader is fitted to it.
//!
//! Arithmetic is in single precision whatever is stored, except in kernels that are written for devices
//! with half arithmetic. Halves need no feature of the device: on
//! buffers two of them are packed into 32 bits, and textures of half precision are part of WebGPU.
//!
//! WGSL on disk is that of single precision. A kernel says in one section, word for word the same in all
//! kernels on buffers and in all on textures, what it stores, and half precision is the one other text of
//! that section; on textures the name of the format differs too.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::Kernel;
use crate::error::Error;

/// What activations and weights are stored in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits: 5 of the exponent, 10 of the mantissa.
    F16,
}

#[doc(hidden)]
impl Precision {
    /// Both.
    pub const ALL: [Self; 2] = [Self::F32, Self::F16];

    /// Bytes of a scalar.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            _ => Err(format!("'{text}' is not one of f32, f16")),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        })
    }
}

/// The section of a kernel on buffers.
pub const BUFFER_SECTION: &str = "
// Four channels of a pixel as they lie in memory.
alias Stored = vec4<f32>;

fn widened(stored: Stored) -> vec4<f32> {
    return stored;
}

fn narrowed(value: vec4<f32>) -> Stored {
    return value;
}
";

/// The same in half precision. What is too large becomes the largest half: WGSL leaves open what
/// `pack2x16float` makes of it.
const BUFFER_SECTION_F16: &str = "
// Four channels of a pixel as they lie in memory.
alias Stored = vec2<u32>;

fn widened(stored: Stored) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(stored.x), unpack2x16float(stored.y));
}

fn narrowed(value: vec4<f32>) -> Stored {
    let finite = clamp(value, vec4<f32>(-65504.0), vec4<f32>(65504.0));
    return vec2<u32>(pack2x16float(finite.xy), pack2x16float(finite.zw));
}
";

/// The section of a kernel that writes textures.
pub const TEXTURE_SECTION: &str = "
// Four channels of a pixel as the texture keeps them.
fn narrowed(value: vec4<f32>) -> vec4<f32> {
    return value;
}
";

/// The same in half precision: the nearest half, of two the even one. Left to the device it may be the
/// one towards zero (Vulkan leaves it open, llvmpipe does that), and errors that all have
/// one sign do not cancel.
const TEXTURE_SECTION_F16: &str = "
// Four channels of a pixel as the texture keeps them.
fn narrowed(value: vec4<f32>) -> vec4<f32> {
    let bits = bitcast<vec4<u32>>(clamp(value, vec4<f32>(-65504.0), vec4<f32>(65504.0)));
    // Half of the last place that is kept, but for a tie that is even already.
    let half = vec4<u32>(0xfffu) + ((bits >> vec4<u32>(13u)) & vec4<u32>(1u));
    return bitcast<vec4<f32>>((bits + half) & vec4<u32>(0xffffe000u));
}
";

/// The format of textures.
const TEXTURE_FORMAT: &str = "rgba32float";
const TEXTURE_FORMAT_F16: &str = "rgba16float";

/// The text of a kernel for what it is to store.
///
/// # Errors
/// [`Error::Specialise`] for half precision, when the text has several sections, or none and no texture.
pub(super) fn fit<'a>(
    kernel: &Kernel,
    source: Cow<'a, str>,
    precision: Precision,
) -> Result<Cow<'a, str>, Error> {
    if precision == Precision::F32 || kernel.is_half() {
        return Ok(source);
    }
    let sections = [BUFFER_SECTION, TEXTURE_SECTION];
    let sections: usize = sections.map(|s| source.matches(s).count()).iter().sum();
    let textures = source.matches(TEXTURE_FORMAT).count();
    if sections > 1 || sections + textures == 0 {
        return Err(Error::Specialise {
            kernel: kernel.name,
            reason: format!("{sections} sections say what it stores, and {textures} textures"),
        });
    }
    let source = source
        .replace(BUFFER_SECTION, BUFFER_SECTION_F16)
        .replace(TEXTURE_SECTION, TEXTURE_SECTION_F16);
    Ok(source.replace(TEXTURE_FORMAT, TEXTURE_FORMAT_F16).into())
}
