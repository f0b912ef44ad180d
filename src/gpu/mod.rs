//! The only module that uses wgpu: it turns a [`Plan`](crate::plan::Plan) into pipelines, buffers
//! and commands.
//!
//! A host that has a device builds an [`Executor`] from it, states once what a run reads
//! ([`Input`]) and where its results go ([`Output`]), and records runs into its own encoder;
//! [`contract`] says what it can rely on. A program without a device starts with a [`Context`], and
//! [`Session`] shows how the parts fit together.

use crate::plan::{Capabilities, DeviceClass, DeviceKind, Vendor};

#[doc = include_str!("contract.md")]
pub mod contract {}

pub(crate) mod context;
mod cooperative;
mod cursor;
mod dispatch;
mod executor;
mod heat_map;
mod helpers;
mod input;
mod output;
mod parallel;
pub(crate) mod pipeline_cache;
mod pipelines;
mod readback;
mod record;
mod resources;
mod scopes;
mod session;
mod texture;
pub(crate) mod timing;
mod warm_up;

pub use context::Context;
pub use cooperative::{cooperative_matrix_features, cooperative_matrix_works};
pub use cursor::{Cursor, Prewarm, Slice};
pub use executor::Executor;
pub use heat_map::{Colors, HeatMap};
pub use input::Input;
pub use output::{Output, OutputBuilder};
use pipeline_cache::PipelineCacheFile;
pub use pipelines::{BuildProgress, Pipelines};
pub use readback::Readback;
pub use scopes::answered;
use scopes::{alive, gpu_error, guarded, ready_now};
pub use session::Session;
pub use texture::{Encoding, Origin, TextureRead, TextureRect};
pub use timing::StepTimer;
pub(crate) use timing::{StepClock, StepSpan};

/// Features that a host's device must have: none.
pub fn required_features() -> wgpu::Features {
    wgpu::Features::empty()
}

/// Features that are used if a device has them.
pub fn optional_features() -> wgpu::Features {
    wgpu::Features::TIMESTAMP_QUERY
        | wgpu::Features::SUBGROUP
        | wgpu::Features::IMMEDIATES
        | wgpu::Features::TEXTURE_ADAPTER_SPECIFIC_FORMAT_FEATURES
        | wgpu::Features::SHADER_F16
        | wgpu::Features::PIPELINE_CACHE
}

/// Limits that a host's device must have: WebGPU's defaults. Larger storage buffers and textures
/// allow larger batches and images; a software adapter is several times faster with the [optional
/// features](optional_features) and its own `max_immediate_size`.
pub fn required_limits() -> wgpu::Limits {
    wgpu::Limits::default()
}

impl Capabilities {
    /// Reads the limits and features of a device.
    pub fn of(device: &wgpu::Device) -> Self {
        let limits = device.limits();
        let features = device.features();
        let info = device.adapter_info();
        Self {
            storage_binding_bytes: limits.max_storage_buffer_binding_size,
            buffer_bytes: limits.max_buffer_size,
            workgroups_per_dimension: limits.max_compute_workgroups_per_dimension.into(),
            texture_side: limits.max_texture_dimension_2d.into(),
            immediate_bytes: limits.max_immediate_size.into(),
            // On Vulkan, storage formats that can be written can also be read.
            read_write_textures: features
                .contains(wgpu::Features::TEXTURE_ADAPTER_SPECIFIC_FORMAT_FEATURES),
            half_arithmetic: features.contains(wgpu::Features::SHADER_F16),
            cooperative_matrix: features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX),
            subgroup_lanes: features
                .contains(wgpu::Features::SUBGROUP)
                .then_some([info.subgroup_min_size, info.subgroup_max_size]),
            device: DeviceKind {
                class: match info.device_type {
                    wgpu::DeviceType::Cpu => DeviceClass::Software,
                    wgpu::DeviceType::IntegratedGpu => DeviceClass::Integrated,
                    wgpu::DeviceType::DiscreteGpu => DeviceClass::Discrete,
                    wgpu::DeviceType::VirtualGpu | wgpu::DeviceType::Other => DeviceClass::Unknown,
                },
                vendor: Vendor::new(info.vendor, &info.name),
            },
        }
    }
}
