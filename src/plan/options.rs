//! How a graph is planned: what the device allows, and what the caller wants.

use std::fmt;
use std::str::FromStr;

use super::candidate::Choices;
use super::capabilities::Capabilities;
use crate::kernels::Precision;
use crate::picture::Preprocess;

/// What the caller uploads.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum InputFormat {
    /// The channel-packed input tensor ([`crate::tensor::pack`]).
    #[default]
    Tensor,
    /// RGBA8 pixels, N×H×W, resized and cropped by these rules; the first dispatch normalises them.
    Rgba8(Preprocess),
}

/// What activations and weights lie in, and with that which kernels run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KernelPath {
    /// Textures on a CPU that can, buffers everywhere else.
    #[default]
    Auto,
    /// Storage buffers: every device can.
    Buffers,
    /// Textures and subgroups of a known number of lanes, on any device that has them.
    Textures,
}

impl FromStr for KernelPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "buffers" => Ok(Self::Buffers),
            "textures" => Ok(Self::Textures),
            _ => Err(format!("'{text}' is not one of auto, buffers, textures")),
        }
    }
}

#[doc(hidden)]
impl KernelPath {
    /// The word for it, as it is parsed and displayed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Buffers => "buffers",
            Self::Textures => "textures",
        }
    }
}

impl fmt::Display for KernelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether 3×3 convolutions of stride 1 are computed with fewer multiplications.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Winograd {
    /// Where it should be faster.
    #[default]
    Auto,
    /// Nowhere.
    Off,
    /// Wherever it can be done, in tiles of 2×2 outputs.
    Two,
    /// Wherever it can be done, in tiles of 4×4 outputs.
    Four,
}

impl FromStr for Winograd {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            "f2" => Ok(Self::Two),
            "f4" => Ok(Self::Four),
            _ => Err(format!("'{text}' is not one of auto, off, f2, f4")),
        }
    }
}

impl fmt::Display for Winograd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Off => "off",
            Self::Two => "f2",
            Self::Four => "f4",
        })
    }
}

/// How a graph is planned: for which device, and what the caller wants of it.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanOptions {
    pub(crate) capabilities: Capabilities,
    pub(crate) input: InputFormat,
    pub(crate) path: KernelPath,
    pub(crate) winograd: Winograd,
    pub(crate) precision: Precision,
    pub(crate) cooperative_matrix: bool,
    pub(crate) choices: Choices,
}

impl PlanOptions {
    /// A plan in single precision whose input is a tensor, with the kernels that are the defaults for the
    /// device.
    pub fn new(capabilities: Capabilities) -> Self {
        Self {
            capabilities,
            input: InputFormat::default(),
            path: KernelPath::default(),
            winograd: Winograd::default(),
            precision: Precision::default(),
            cooperative_matrix: false,
            choices: Choices::default(),
        }
    }

    /// What the caller uploads.
    #[must_use]
    pub fn input(self, input: InputFormat) -> Self {
        Self { input, ..self }
    }

    /// What activations and weights lie in.
    #[must_use]
    pub fn path(self, path: KernelPath) -> Self {
        Self { path, ..self }
    }

    /// Whether 3×3 convolutions are computed with fewer multiplications.
    #[must_use]
    pub fn winograd(self, winograd: Winograd) -> Self {
        Self { winograd, ..self }
    }

    /// What feature maps and weights are stored in. What callers see always has single precision.
    #[must_use]
    pub fn precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// Whether convolutions may be computed with cooperative matrices, where halves are stored and the
    /// device can. Experimental: what drivers make of it should be tested first, as
    /// `gpu::cooperative_matrix_works` does.
    #[must_use]
    pub fn cooperative_matrix(self, cooperative_matrix: bool) -> Self {
        Self {
            cooperative_matrix,
            ..self
        }
    }

    /// What replaces the default kernels of some layers.
    #[must_use]
    pub fn choices(self, choices: Choices) -> Self {
        Self { choices, ..self }
    }
}
