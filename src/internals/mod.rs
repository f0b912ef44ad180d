//! What the program, the readers of weight files, tests and benches of this repository share with the
//! library. None of it is part of the face: anything here may change in any version.

pub mod files;

/// How much memory there is.
pub mod host_memory {
    pub use crate::host_memory::*;
}

/// Columns of a texture into which rows of any length are folded.
pub const FOLD_WIDTH: usize = crate::tensor::FOLD_WIDTH;

/// Whether two tensors agree.
pub mod compare {
    pub use crate::compare::*;
}

/// One module for each shader.
pub mod kernels {
    pub use crate::kernels::*;
}

/// Which activations share a buffer.
pub mod memory {
    pub use crate::plan::memory::*;
}

/// The oracle.
#[cfg(feature = "cpu")]
pub mod reference {
    pub use crate::reference::*;
}

/// Where the pixels of a value lie in the image.
pub mod explain {
    pub use crate::explain::sites::*;
}

/// The operations of class activation maps.
pub mod graph {
    pub use crate::graph::ops::avg_pool_gradient::AvgPoolGradient;
    pub use crate::graph::ops::channel_dot::ChannelDot;
    pub use crate::graph::ops::class_gradient::ClassGradient;
    pub use crate::graph::ops::dilate::Dilate;
    pub use crate::graph::ops::relu_gradient::ReluGradient;
}

/// What readers of files make networks of.
pub mod network {
    pub use crate::network::blueprint::{Blueprint, Operation, Tensors};
    pub use crate::network::build::Facts;
    pub use crate::network::draft::{Draft, Ends};
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
    pub use crate::plan::textures::OnTextures;
}
