//! The only module that uses wgpu. It turns a [`Plan`] into pipelines, buffers
//! and commands.
//!
//! A host that has a device builds an [`Executor`] from it, states once what a run reads
//! ([`Input`]) and where its results go ([`Output`]), and records runs into its own encoder;
//! [`contract`] says what it can rely on. A program without a device starts with a [`Context`], and
//! [`Session`] shows how the parts fit together.

use crate::error::Error;
use crate::host_memory;
use crate::plan::{Capabilities, DeviceClass, DeviceKind, Plan, Vendor, units};

#[doc = include_str!("contract.md")]
pub mod contract {}

mod classifier;
pub(crate) mod context;
mod cooperative;
mod cursor;
mod dispatch;
mod executor;
mod heat_map;
mod helpers;
mod input;
mod output;
mod pace;
mod parallel;
pub(crate) mod pipeline_cache;
pub(crate) mod pipelines;
mod readback;
mod record;
mod resources;
mod ring;
mod runs;
mod scopes;
mod session;
mod similarity;
mod texture;
pub(crate) mod timing;
mod warm_up;

pub use classifier::{Answer, Classifier, ClassifierBuilder, Guess};
pub use context::Context;
// As experimental as wgpu's own interface, and so no part of the public one.
#[doc(hidden)]
pub use cooperative::{cooperative_matrix_features, cooperative_matrix_works};
pub use cursor::{Cursor, Prewarm, Slice};
pub use executor::Executor;
pub use heat_map::{Colors, HeatMap};
pub use input::Input;
pub use output::{Output, OutputBuilder};
use pipeline_cache::PipelineCacheFile;
pub(crate) use pipelines::BuildProgress;
pub use pipelines::Pipelines;
pub use readback::Readback;
pub use scopes::answered;
use scopes::{alive, gpu_error, guarded, named, ready_now};
pub use session::Session;
pub use similarity::Similarity;
pub use texture::{Encoding, Origin, TextureRead, TextureRect};
pub(crate) use timing::{StepClock, StepSpan, StepTimer};

/// The features that are used where a device has them. None is needed.
#[doc(hidden)]
pub fn optional_features() -> wgpu::Features {
    wgpu::Features::TIMESTAMP_QUERY
        | wgpu::Features::SUBGROUP
        | wgpu::Features::IMMEDIATES
        | wgpu::Features::TEXTURE_ADAPTER_SPECIFIC_FORMAT_FEATURES
        | wgpu::Features::SHADER_F16
        | wgpu::Features::PIPELINE_CACHE
}

/// The device to request where nothing else decides: the features that make kernels faster, where the
/// adapter has them, the limits that allow large batches and images, and no more memory than what is used. No
/// feature is needed, and no limits beyond WebGPU's defaults; but a software adapter is several times slower without its own
/// `max_immediate_size`. A host adds what it needs itself:
///
/// ```no_run
/// # use resnet_wgpu::{gpu::device_descriptor, wgpu};
/// # async fn host(adapter: wgpu::Adapter) -> Result<(), wgpu::RequestDeviceError> {
/// let mut descriptor = device_descriptor(&adapter);
/// descriptor.required_features |= wgpu::Features::DEPTH_CLIP_CONTROL;
/// let (device, queue) = adapter.request_device(&descriptor).await?;
/// # Ok(())
/// # }
/// ```
pub fn device_descriptor(adapter: &wgpu::Adapter) -> wgpu::DeviceDescriptor<'static> {
    let allowed = adapter.limits();
    wgpu::DeviceDescriptor {
        label: Some("resnet-wgpu"),
        required_features: adapter.features() & optional_features(),
        required_limits: wgpu::Limits {
            max_storage_buffer_binding_size: allowed.max_storage_buffer_binding_size,
            max_buffer_size: allowed.max_buffer_size,
            max_texture_dimension_2d: allowed.max_texture_dimension_2d,
            max_immediate_size: allowed.max_immediate_size,
            ..wgpu::Limits::default()
        },
        // A network allocates once, and what it allocates is large: blocks to allocate from gain it nothing.
        memory_hints: wgpu::MemoryHints::MemoryUsage,
        ..Default::default()
    }
}

/// The cores of this machine, for a device that is its CPU.
fn cores() -> Option<u32> {
    let cores = std::thread::available_parallelism().ok()?;
    u32::try_from(cores.get()).ok()
}

/// The major version of Mesa, from what its drivers say of themselves: "Mesa 22.3.6 (LLVM 15.0.6)".
fn mesa(driver_info: &str) -> Option<u32> {
    let (major, _) = driver_info.strip_prefix("Mesa ")?.split_once('.')?;
    major.parse().ok()
}

impl Capabilities {
    /// Reads the limits and features of a device.
    pub fn of(device: &wgpu::Device) -> Self {
        let limits = device.limits();
        let features = device.features();
        let info = device.adapter_info();
        let vendor = Vendor::new(info.vendor, &info.name);
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
                vendor,
            },
            compute_units: match info.device_type {
                wgpu::DeviceType::Cpu => cores(),
                _ => units::by_name(vendor, &info.name),
            },
            llvmpipe: (info.driver == "llvmpipe")
                .then(|| mesa(&info.driver_info))
                .flatten(),
        }
    }
}

/// Refuses a plan for which this machine has too little memory, where the device uses that: for a device that
/// is full, or a compiler without memory, ends the process.
///
/// # Errors
/// [`Error::Memory`].
#[doc(hidden)]
pub fn check_room(device: &wgpu::Device, plan: &Plan) -> Result<(), Error> {
    let reserve = match device.adapter_info().device_type {
        wgpu::DeviceType::Cpu => COMPILER_BYTES,
        wgpu::DeviceType::IntegratedGpu => 0,
        _ => return Ok(()),
    };
    let bytes: u64 = plan.allocations().iter().map(|a| a.bytes).sum();
    // Parameters are in a queue of copies before they are where they belong.
    let needed = bytes + plan.weight_bytes() + reserve;
    host_memory::check(&plan.input_shape().batch_in_words(), needed)
}

/// What a driver that compiles for the CPU takes meanwhile.
const COMPILER_BYTES: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    use super::mesa;

    #[test]
    fn drivers_say_which_mesa_they_are() {
        for (driver_info, major) in [
            ("Mesa 22.3.6 (LLVM 15.0.6)", Some(22)),
            ("Mesa 25.0.7-2+deb13u1 (LLVM 19.1.7)", Some(25)),
            ("Mesa 26.3.0-devel (git-0123456789)", Some(26)),
            ("driver", None),
            ("", None),
        ] {
            assert_eq!(mesa(driver_info), major, "{driver_info}");
        }
    }
}
