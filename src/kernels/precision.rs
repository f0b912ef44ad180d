//! The storage precision of activations and weights, and how a shader's text is adapted to it.
//!
//! Arithmetic is in single precision in either case, except in kernels written for devices with
//! half-precision arithmetic. Storing halves needs no device feature: in buffers, two of them are
//! packed into 32 bits, and half-precision textures are part of WebGPU.
//!
//! The WGSL files are for single precision. Their code for storing is in one section, which is
//! identical in all kernels on buffers and in all on textures; half precision replaces that section
//! and, on textures, the name of the format.

use std::borrow::Cow;

use super::Kernel;
use crate::error::Error;
use crate::words::words;

/// The storage precision of activations and weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits: a sign, 5 of exponent and 10 of mantissa.
    F16,
}

words!(Precision { F32 = "f32", F16 = "f16" });

#[doc(hidden)]
impl Precision {
    /// Both precisions.
    pub const ALL: [Self; 2] = [Self::F32, Self::F16];

    /// Bytes of a scalar.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }
}

/// The section in kernels on buffers, for single precision.
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

/// The same for half precision. Numbers that are too large become the largest half, because WGSL
/// does not define the result of `pack2x16float` for them.
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

/// The section in kernels that write textures, for single precision.
pub const TEXTURE_SECTION: &str = "
// Four channels of a pixel as the texture keeps them.
fn narrowed(value: vec4<f32>) -> vec4<f32> {
    return value;
}
";

/// The same for half precision: rounds to nearest, ties to even. A device may round towards zero
/// (Vulkan allows it, and llvmpipe does), but errors that all have the same sign do not cancel.
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

/// Adapts the text of a kernel to a precision.
///
/// # Errors
/// [`Error::Specialise`] for half precision if the text has several sections, or neither a section
/// nor a texture.
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
