//! The options for planning a graph: what the device allows, and what the caller wants.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

use super::allocation::ParametersKey;
use super::candidate::Choices;
use super::capabilities::Capabilities;
use crate::kernels::Precision;
use crate::picture::Preprocess;
use crate::words::words;

/// The format of the data that the caller uploads.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum InputFormat {
    /// The channel-packed input tensor ([`crate::tensor::pack`]).
    #[default]
    Tensor,
    /// RGBA8 pixels, N×H×W, resized and cropped by these rules; the first dispatch normalises them.
    Rgba8(Preprocess),
}

#[doc(hidden)]
impl InputFormat {
    /// The format of images that are prepared by these rules.
    pub const fn of(rules: Preprocess) -> Self {
        if rules.takes_arrays() {
            Self::Tensor
        } else {
            Self::Rgba8(rules)
        }
    }
}

/// The storage of activations and weights, which determines the kernels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KernelPath {
    /// Textures on CPUs that support them, buffers everywhere else.
    #[default]
    Auto,
    /// Storage buffers, which every device supports.
    Buffers,
    /// Textures and subgroups of a known number of lanes, on any device that has them.
    Textures,
}

words!(KernelPath { Auto = "auto", Buffers = "buffers", Textures = "textures" });

/// Whether 3×3 convolutions of stride 1 are computed with fewer multiplications.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Winograd {
    /// Wherever that should be faster.
    #[default]
    Auto,
    /// Nowhere.
    Off,
    /// Wherever possible, in tiles of 2×2 outputs.
    Two,
    /// Wherever possible, in tiles of 4×4 outputs.
    Four,
}

words!(Winograd { Auto = "auto", Off = "off", Two = "f2", Four = "f4" });

/// The options for planning a graph: the device, and what the caller wants.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanOptions {
    pub(crate) capabilities: Capabilities,
    pub(crate) input: InputFormat,
    pub(crate) path: KernelPath,
    pub(crate) winograd: Winograd,
    pub(crate) precision: Precision,
    pub(crate) cooperative_matrix: bool,
    pub(crate) choices: Choices,
    /// Kernels, and ways to compute a convolution, that are wrong on the device.
    wrong: BTreeSet<String>,
    /// Parameters that are on the device.
    shared: Arc<HashSet<ParametersKey>>,
}

impl PlanOptions {
    /// Plans in single precision, with a tensor as input and the default kernels for the device.
    pub fn new(capabilities: Capabilities) -> Self {
        Self {
            capabilities,
            input: InputFormat::default(),
            path: KernelPath::default(),
            winograd: Winograd::default(),
            precision: Precision::default(),
            cooperative_matrix: false,
            choices: Choices::default(),
            wrong: BTreeSet::new(),
            shared: Arc::default(),
        }
    }

    /// The format of the data that the caller uploads.
    #[must_use]
    pub fn input(self, input: InputFormat) -> Self {
        Self { input, ..self }
    }

    /// Sets the storage of activations and weights.
    #[must_use]
    pub fn path(self, path: KernelPath) -> Self {
        Self { path, ..self }
    }

    /// Sets whether 3×3 convolutions are computed with fewer multiplications.
    #[must_use]
    #[doc(hidden)]
    pub fn winograd(self, winograd: Winograd) -> Self {
        Self { winograd, ..self }
    }

    /// Sets the precision of stored feature maps and weights. Callers always see single precision.
    #[must_use]
    pub fn precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// Sets whether convolutions may be computed with cooperative matrices if halves are stored and
    /// the device supports them. This is experimental: drivers should be tested first, as
    /// `gpu::cooperative_matrix_works` does.
    #[doc(hidden)]
    #[must_use]
    pub fn cooperative_matrix(self, cooperative_matrix: bool) -> Self {
        Self {
            cooperative_matrix,
            ..self
        }
    }

    /// Sets the choices that replace the default kernels of some layers.
    #[must_use]
    pub fn choices(self, choices: Choices) -> Self {
        Self { choices, ..self }
    }

    /// Leaves out kernels, and ways to compute a convolution, that are wrong on the device.
    #[cfg(feature = "cpu")]
    pub(crate) fn without(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.wrong.extend(names);
        self
    }

    /// Prefers kernels that read parameters in the layout in which these are on the device.
    pub(crate) fn share(self, shared: HashSet<ParametersKey>) -> Self {
        Self {
            shared: Arc::new(shared),
            ..self
        }
    }

    /// Whether any parameters are known to be on the device.
    pub(super) fn has_shared(&self) -> bool {
        !self.shared.is_empty()
    }

    /// Whether these parameters are on the device.
    pub(super) fn is_shared(&self, key: ParametersKey) -> bool {
        self.shared.contains(&key)
    }

    /// Whether something may be used.
    pub(crate) fn trusts(&self, name: impl fmt::Display) -> bool {
        self.wrong.is_empty() || !self.wrong.contains(&name.to_string())
    }
}
