//! How a graph is planned: what the device allows, and what the caller wants.

use std::fmt;
use std::str::FromStr;

use super::candidate::Choices;
use super::device::{Device, DeviceClass};
use crate::error::Error;
use crate::kernels::Precision;
use crate::kernels::{conv2d_cooperative, conv2d_texture};
use crate::picture::Normalization;

/// What the caller uploads.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum InputFormat {
    /// The channel-packed input tensor ([`crate::tensor::pack`]).
    #[default]
    Tensor,
    /// RGBA8 pixels, N×H×W, that the first dispatch normalises.
    Rgba8(Normalization),
}

/// What the device allows and offers. The defaults are WebGPU's default limits and features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one storage buffer binding.
    pub storage_binding_bytes: u64,
    /// Bytes of one buffer.
    pub buffer_bytes: u64,
    /// Workgroups along one dimension of a dispatch.
    pub workgroups_per_dimension: u64,
    /// Texels along one side of a texture.
    pub texture_side: u64,
    /// Bytes of immediates; none where the device has no such feature.
    pub immediate_bytes: u64,
    /// Whether a shader may read and write the same storage texture.
    pub read_write_textures: bool,
    /// Whether shaders may compute in half precision.
    pub half_arithmetic: bool,
    /// Whether the device has wgpu's experimental cooperative matrices, of 16×16 halves with sums in
    /// single precision.
    pub cooperative_matrix: bool,
    /// Smallest and largest number of lanes in a subgroup, where shaders may use subgroups.
    pub subgroup_lanes: Option<[u32; 2]>,
    /// What kind of device it is.
    pub device: Device,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            storage_binding_bytes: 128 << 20,
            buffer_bytes: 256 << 20,
            workgroups_per_dimension: 65_535,
            texture_side: 8192,
            immediate_bytes: 0,
            read_write_textures: false,
            half_arithmetic: false,
            cooperative_matrix: false,
            subgroup_lanes: None,
            device: Device::default(),
        }
    }
}

impl Limits {
    /// What keeps the device from running the kernels on textures; `None` when nothing does.
    pub fn texture_path_obstacle(&self) -> Option<String> {
        self.texture_lanes().err()
    }

    /// Lanes of the subgroups for the kernels on textures, or what keeps them from running.
    pub(super) fn texture_lanes(&self) -> Result<u32, String> {
        if self.immediate_bytes < conv2d_texture::IMMEDIATE_BYTES {
            return Err(format!(
                "it needs {} bytes of immediates, the device has {}",
                conv2d_texture::IMMEDIATE_BYTES,
                self.immediate_bytes
            ));
        }
        if !self.read_write_textures {
            return Err("it needs storage textures that are read and written".to_owned());
        }
        let has = match self.subgroup_lanes {
            Some([min, max]) if min == max && conv2d_texture::SUBGROUPS.contains(&min) => {
                return Ok(min);
            }
            Some([min, max]) if min == max => min.to_string(),
            Some([min, max]) => format!("{min} to {max}"),
            None => "none".to_owned(),
        };
        let [first, second, third] = conv2d_texture::SUBGROUPS;
        Err(format!(
            "it needs subgroups of {first}, {second} or {third} lanes, the device has {has}"
        ))
    }
}

/// What activations and weights lie in, and with that which kernels run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Path {
    /// Textures on a CPU that can, buffers everywhere else.
    #[default]
    Auto,
    /// Storage buffers: every device can.
    Buffers,
    /// Textures and subgroups of a known number of lanes, on any device that has them.
    Textures,
}

impl FromStr for Path {
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

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Buffers => "buffers",
            Self::Textures => "textures",
        })
    }
}

/// Whether 3×3 convolutions of stride 1 are computed with fewer multiplications.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
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

/// How a graph is planned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlanOptions {
    /// What the caller uploads.
    pub input: InputFormat,
    /// What the device allows and offers.
    pub limits: Limits,
    /// What activations and weights lie in.
    pub path: Path,
    /// Whether 3×3 convolutions are computed with fewer multiplications.
    pub winograd: Winograd,
    /// What feature maps and weights are stored in. What callers see has single precision always.
    pub precision: Precision,
    /// Whether convolutions may be computed with cooperative matrices, where halves are stored and the
    /// device can. Experimental: what drivers make of it should be tested first, as
    /// `gpu::cooperative_matrix_works` does.
    pub cooperative_matrix: bool,
    /// What replaces the default kernels of some layers.
    pub choices: Choices,
}

impl PlanOptions {
    /// Whether kernels may use cooperative matrices.
    pub(super) fn cooperative_matrix(&self) -> bool {
        let [min, max] = conv2d_cooperative::SUBGROUPS;
        let fits = |[smallest, largest]: [u32; 2]| min <= smallest && largest <= max;
        self.cooperative_matrix
            && self.half_arithmetic()
            && self.limits.cooperative_matrix
            && self.limits.subgroup_lanes.is_some_and(fits)
    }

    /// Whether kernels may multiply halves: what is stored in more bits keeps them.
    pub(super) fn half_arithmetic(&self) -> bool {
        self.precision == Precision::F16 && self.limits.half_arithmetic
    }

    /// Whether the kernels on textures are to run.
    ///
    /// A texel fetch costs llvmpipe a tenth of a load from a storage buffer; GPUs have shared memory
    /// for that, which the kernels on buffers use.
    ///
    /// # Errors
    /// [`Error::PathUnavailable`] when [`Path::Textures`] is asked for and the device is unable.
    pub fn textures(&self) -> Result<bool, Error> {
        let obstacle = self.limits.texture_path_obstacle();
        match (self.path, obstacle) {
            (Path::Buffers, _) => Ok(false),
            (Path::Auto, obstacle) => {
                Ok(self.limits.device.class == DeviceClass::Software && obstacle.is_none())
            }
            (Path::Textures, None) => Ok(true),
            (Path::Textures, Some(reason)) => Err(Error::PathUnavailable {
                path: "textures",
                reason,
            }),
        }
    }
}
