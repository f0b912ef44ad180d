//! What the library shares with the program, the readers of weight files, the tests and the benches
//! of this repository. Neither this module nor any method hidden from the documentation is part of
//! the public interface: all of it may change in any version. The enums here can be matched without
//! a wildcard, because readers of files want the compiler to insist on every value.

pub mod files;
pub mod noise;

/// How much memory there is.
pub mod host_memory {
    pub use crate::host_memory::*;
}

/// Texels in a row of a folded texture.
pub const FOLD_WIDTH: usize = crate::tensor::FOLD_WIDTH;

/// Whether two tensors agree.
pub mod compare {
    pub use crate::compare::*;
}

/// One module per shader.
pub mod kernels {
    pub use crate::kernels::*;
}

/// Which activations share a buffer.
pub mod memory {
    pub use crate::plan::memory::*;
}

/// Whether kernels are right.
#[cfg(feature = "cpu")]
pub mod check {
    pub use crate::check::cache::CheckCache;
    pub use crate::check::cases::{Case, Channels, cases, pixels};
}

/// The oracle.
#[cfg(feature = "cpu")]
pub mod reference {
    pub use crate::reference::*;
}

/// The positions of a value's pixels in the image.
pub mod explain {
    pub use crate::explain::class_map::CLASS_MAP;
    pub use crate::explain::sites::*;
}

/// What graphs are made of.
pub mod graph {
    pub use crate::graph::id::ParamId;
    pub use crate::graph::node::{Node, Param};
    pub use crate::graph::ops::{
        Add, AttentionPool, AvgPool, AvgPoolGradient, BatchNorm, BlurPool, ChannelConv, ChannelDot,
        ClassGradient, Conv2d, Dilate, Flatten, FlattenOrder, Gate, GlobalAvgPool, GroupNorm,
        Linear, MaxPool, Op, PadValue, Relu, ReluGradient, Sigmoid, Softmax, Statistics,
    };
    pub use crate::graph::window::{Padding, Window};
}

/// For programs that choose and measure adapters.
pub mod gpu {
    pub use crate::gpu::check_room;
    pub use crate::gpu::context::Adapters;
    pub use crate::gpu::pipeline_cache::PipelineCacheFile;
    pub use crate::gpu::timing::{StepClock, StepSpan};
}

/// How pixels become numbers.
pub mod picture {
    pub use crate::picture::preprocess::{IMAGENET_MEAN, IMAGENET_STD, Normalization};
}

/// What readers of files build networks from.
pub mod network {
    pub use crate::network::blueprint::{Blueprint, Tensors};
    pub use crate::network::build::Facts;
    pub use crate::network::draft::{Draft, Ends};
    pub use crate::network::family::Family;
    pub use crate::network::layer::Operation;
    pub use crate::network::padding::{Fill, PaddingRule};
    pub use crate::network::parameter::Parameter;
    pub use crate::network::source::{Random, TensorSource};
    pub use crate::network::variant::{Choice, choose};

    /// The family of ResNets.
    pub mod resnet {
        pub use crate::network::resnet::*;
    }
}

/// What a plan consists of.
pub mod plan {
    pub use crate::plan::allocation::{Allocation, AllocationId, Content};
    pub use crate::plan::buffers::OnBuffers;
    pub use crate::plan::candidate::{Candidate, ConvShape, candidates};
    pub use crate::plan::capabilities::{DeviceClass, DeviceKind, Vendor};
    pub use crate::plan::step::{Step, Writable};
    pub use crate::plan::textures::OnTextures;
}

/// What tuning has measured.
pub mod tune {
    pub use crate::tune::found::{NetworkTimes, TunedLayer};
}
