//! What the library shares with the program, the readers of weight files, the tests and the benches
//! in this repository. Neither this module nor any method hidden from the documentation is part of
//! the public interface: all of it may change in any version. Enums here can be matched without a
//! wildcard, because readers want the compiler to demand every variant.

pub mod files;
pub mod noise;
pub mod npy;

/// How much memory is available.
pub mod host_memory {
    pub use crate::host_memory::*;
}

/// Width of a folded texture in texels.
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
    pub use crate::check::cases::{Case, Channels, cases, run_on_noise};
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

/// The parts of a graph.
pub mod graph {
    pub use crate::graph::id::ParamId;
    pub use crate::graph::node::{Node, Param};
    pub use crate::graph::ops::{
        Add, AttentionPool, AvgPool, AvgPoolGradient, BatchNorm, BlurPool, ChannelConv, ChannelDot,
        ClassGradient, Conv2d, Dilate, Flatten, FlattenOrder, Gate, GlobalAvgPool, GroupNorm,
        Interpolation, Linear, MaxPool, Op, PadValue, Relu, ReluGradient, Resize, Sigmoid, Softmax,
        Statistics,
    };
    pub use crate::graph::window::{Padding, Window};
}

/// Choosing and measuring adapters.
pub mod gpu {
    pub use crate::gpu::check_room;
    pub use crate::gpu::context::Adapters;
    pub use crate::gpu::pipeline_cache::PipelineCacheFile;
    pub use crate::gpu::pipelines::BuildProgress;
    pub use crate::gpu::timing::{StepClock, StepSpan, StepTimer};
}

/// The normalisation of pixels.
pub mod picture {
    pub use crate::picture::preprocess::{IMAGENET_MEAN, IMAGENET_STD, Normalization};
}

/// What file readers build networks from.
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

    /// The ResNet family.
    pub mod resnet {
        pub use crate::network::resnet::*;
    }
}

/// The parts of a plan.
pub mod plan {
    pub use crate::plan::allocation::{Allocation, AllocationId, Content};
    pub use crate::plan::buffers::OnBuffers;
    pub use crate::plan::candidate::{Candidate, ConvShape, candidates};
    pub use crate::plan::capabilities::{DeviceClass, DeviceKind, Vendor};
    pub use crate::plan::step::{Step, Writable};
    pub use crate::plan::textures::OnTextures;
}

/// The results of tuning.
pub mod tune {
    pub use crate::tune::found::{NetworkTimes, TunedLayer};
}
