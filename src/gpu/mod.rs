//! The only module that uses wgpu. It turns a [`Plan`](crate::plan::Plan) into pipelines, buffers
//! and commands.
//!
//! A host that has a device builds an [`Executor`] from it, states once what a run reads
//! ([`Input`]) and where its results go ([`Output`]), and records runs into its own encoder;
//! [`contract`] says what it can rely on. A program without a device starts with a [`Context`], and
//! [`Session`] shows how the parts fit together.

use std::future::Future;
use std::pin::pin;
use std::task::{Poll, Waker};

use crate::error::Error;
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
pub use session::Session;
pub use texture::{Encoding, Origin, TextureRead, TextureRect};
pub use timing::StepTimer;
pub(crate) use timing::{StepClock, StepSpan};

/// Features that a host's device must have: none.
pub fn required_features() -> wgpu::Features {
    wgpu::Features::empty()
}

/// Features that are used where a device has them.
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
            // On Vulkan, storage formats that can be written can be read as well.
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

/// Creates GPU objects and turns what wgpu reports into an error, so that an invalid shader or full
/// memory never reaches the host's error handler.
fn guarded<T>(device: &wgpu::Device, what: &str, create: impl FnOnce() -> T) -> Result<T, Error> {
    let scopes = [
        wgpu::ErrorFilter::Internal,
        wgpu::ErrorFilter::OutOfMemory,
        wgpu::ErrorFilter::Validation,
    ]
    .map(|filter| device.push_error_scope(filter));
    let created = create();
    // Scopes form a stack: the last one pushed is popped first. Full memory causes invalid objects,
    // not the other way round.
    let mut worst = None;
    for scope in scopes.into_iter().rev() {
        if let Some(error) = ready(scope.pop()).flatten()
            && (worst.is_none() || matches!(error, wgpu::Error::OutOfMemory { .. }))
        {
            worst = Some(error);
        }
    }
    worst.map_or(Ok(created), |error| Err(gpu_error(what, &error)))
}

/// Refuses a device that is lost: on it, wgpu silently creates objects that do nothing.
fn alive(device: &wgpu::Device) -> Result<(), Error> {
    let probe = guarded(device, "probe", || {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("resnet-wgpu probe"),
            size: 8,
            usage: wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: true,
        })
    })?;
    let mapped = probe.get_mapped_range_mut(..);
    mapped.map(drop).map_err(|_| Error::Gpu {
        what: "device".to_owned(),
        reason: "it is lost; open it again".to_owned(),
    })
}

fn gpu_error(what: &str, error: &wgpu::Error) -> Error {
    match error {
        wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory {
            what: what.to_owned(),
        },
        _ => Error::Gpu {
            what: what.to_owned(),
            reason: error.to_string(),
        },
    }
}

/// The result of a future that is ready at once, as error scopes are outside browsers.
fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut std::task::Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
