//! Where the network runs: an adapter, or the CPU.

mod checked;

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use resnet_wgpu::Error;
use resnet_wgpu::check::{Check, WrongKernel};
use resnet_wgpu::gpu::Context;
use resnet_wgpu::graph::Graph;
use resnet_wgpu::internals::gpu::PipelineCacheFile;
use resnet_wgpu::internals::kernels::Precision;
use resnet_wgpu::plan::{Capabilities, Choices, InputFormat, KernelPath, PlanOptions, Winograd};
use resnet_wgpu::wgpu;
use serde::Serialize;

use crate::{Caches, Refused, Request};

/// What the user says about where to run.
#[derive(Clone, Debug, Default)]
pub struct DeviceOptions {
    /// An adapter by its number, by a part of its name, or by its PCI address after `pci:`.
    pub device: Option<String>,
    /// The API, or the CPU.
    pub backend: Option<Backend>,
    /// Where activations are stored.
    pub path: KernelPath,
    /// Whether stored choices of kernels are left out.
    pub untuned: bool,
    /// The folder for choices and compiled pipelines, if not the usual one.
    pub cache_dir: Option<PathBuf>,
    /// Whether pipelines are compiled anew, and not stored.
    pub no_pipeline_cache: bool,
    /// Where Winograd's algorithm is used.
    pub winograd: Winograd,
    /// What feature maps and weights are stored in.
    pub precision: Precision,
    /// Whether halves are multiplied with cooperative matrices.
    pub cooperative_matrix: bool,
    /// Whether numbers that no half can hold are let through.
    pub allow_overflow: bool,
    /// Whether kernels are used without a check.
    pub no_self_check: bool,
}

/// An API for GPUs, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Vulkan.
    Vulkan,
    /// Metal.
    Metal,
    /// DX12.
    Dx12,
    /// OpenGL.
    Gl,
    /// No GPU at all.
    Cpu,
}

impl Backend {
    /// The names that are read.
    pub const NAMES: [&str; 5] = ["vulkan", "metal", "dx12", "gl", "cpu"];

    /// The same as wgpu's type; the CPU is not one of its back ends.
    pub(crate) const fn wgpu(self) -> wgpu::Backends {
        match self {
            Self::Vulkan => wgpu::Backends::VULKAN,
            Self::Metal => wgpu::Backends::METAL,
            Self::Dx12 => wgpu::Backends::DX12,
            Self::Gl => wgpu::Backends::GL,
            Self::Cpu => wgpu::Backends::empty(),
        }
    }
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Ok(match name {
            "vulkan" => Self::Vulkan,
            "metal" => Self::Metal,
            "dx12" => Self::Dx12,
            "gl" => Self::Gl,
            "cpu" => Self::Cpu,
            _ => {
                let names = Self::NAMES.join(", ");
                return Err(format!("'{name}' is not a back end; they are {names}"));
            }
        })
    }
}

/// Where the network runs.
#[derive(Debug)]
pub enum Device {
    /// On an adapter.
    Gpu(Arc<Gpu>),
    /// On the CPU.
    Cpu,
}

/// An adapter, and how the flags want it used.
#[derive(Debug)]
pub struct Gpu {
    /// Its device.
    pub context: Context,
    wanted: DeviceOptions,
    caches: Option<Caches>,
    /// `None` where the adapter or the system does not support it.
    pipelines: Option<PipelineCacheFile>,
    /// What was found about the kernels.
    checked: Mutex<Option<Check>>,
    turn: Mutex<()>,
    left: Mutex<Left>,
}

/// What went on with the CPU.
#[derive(Debug, Default)]
struct Left {
    /// Why, the last time.
    reason: Option<String>,
    /// Whether everything must.
    lost: bool,
}

impl Gpu {
    pub(crate) fn new(mut context: Context, wanted: DeviceOptions) -> Self {
        let caches = Caches::new(wanted.cache_dir.clone());
        let pipelines = caches
            .as_ref()
            .filter(|_| !wanted.no_pipeline_cache)
            .and_then(|caches| caches.pipelines(&context));
        if let Some(file) = &pipelines {
            context.use_pipeline_cache(file);
        }
        Self {
            context,
            wanted,
            caches,
            pipelines,
            checked: Mutex::default(),
            turn: Mutex::default(),
            left: Mutex::default(),
        }
    }

    /// Whether the device is lost, so that the CPU has to do.
    pub fn is_lost(&self) -> bool {
        self.left().lost
    }

    /// Whether an error is one of the GPU alone, so that the CPU can go on; each is said once.
    pub fn leaves(&self, error: &Error) -> bool {
        let lost = matches!(error, Error::DeviceLost { .. });
        if !lost && !matches!(error, Error::OutOfMemory { .. } | Error::WrongKernel { .. }) {
            return false;
        }
        let reason = error.to_string();
        let mut left = self.left();
        left.lost |= lost;
        if left.reason.as_ref() != Some(&reason) {
            log::warn!("{reason}: going on with the CPU, which is slower");
            left.reason = Some(reason);
        }
        true
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the pipelines that the driver has compiled for the next start.
    pub fn store_pipelines(&self) {
        if let Some(Err(error)) = self.pipelines.as_ref().map(PipelineCacheFile::store) {
            log::warn!("{error}; the next start compiles its pipelines again");
        }
    }

    /// The precision of stored feature maps and weights.
    pub const fn precision(&self) -> Precision {
        self.wanted.precision
    }

    /// Whether numbers that no half can hold are let through.
    pub const fn allows_overflow(&self) -> bool {
        self.wanted.allow_overflow
    }

    /// The default options for planning a graph.
    pub fn default_options(&self, input: InputFormat) -> PlanOptions {
        PlanOptions::new(Capabilities::of(&self.context.device))
            .input(input)
            .path(self.wanted.path)
            .winograd(self.wanted.winograd)
            .precision(self.wanted.precision)
            .cooperative_matrix(self.wanted.cooperative_matrix)
    }

    /// Where Winograd's algorithm is to be used.
    pub const fn winograd(&self) -> Winograd {
        self.wanted.winograd
    }

    /// The options for planning a graph, including the choices stored for it.
    pub fn unchecked_options(&self, graph: &Graph, input: InputFormat) -> PlanOptions {
        let options = self.default_options(input);
        let choices = match &self.caches {
            Some(caches) if !self.wanted.untuned => caches.choices(&self.context, graph, &options),
            _ => Choices::default(),
        };
        options.choices(choices)
    }
}

/// The description of the device in the results.
#[derive(Debug, Serialize)]
pub struct AdapterInfo {
    /// Its name.
    pub name: String,
    /// The API, or `cpu`.
    pub backend: String,
    /// The driver.
    pub driver: String,
    /// Its version.
    pub driver_info: String,
    /// What kind of device it is.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

impl AdapterInfo {
    /// Of an adapter.
    pub fn new(info: &wgpu::AdapterInfo) -> Self {
        Self {
            name: info.name.clone(),
            backend: info.backend.to_string(),
            driver: info.driver.clone(),
            driver_info: info.driver_info.clone(),
            kind: match info.device_type {
                wgpu::DeviceType::DiscreteGpu => "discrete GPU",
                wgpu::DeviceType::IntegratedGpu => "integrated GPU",
                wgpu::DeviceType::VirtualGpu => "virtual GPU",
                wgpu::DeviceType::Cpu => "software",
                wgpu::DeviceType::Other => "other",
            },
        }
    }

    fn cpu() -> Self {
        let threads = rayon::current_num_threads();
        let threads = if threads == 1 {
            "1 thread".to_owned()
        } else {
            format!("{threads} threads")
        };
        Self {
            name: format!("CPU, {threads}"),
            backend: "cpu".to_owned(),
            driver: String::new(),
            driver_info: String::new(),
            kind: "cpu",
        }
    }
}

/// Says what stands in for a GPU's own driver, where nobody asked for it.
fn note_makeshift(info: &wgpu::AdapterInfo) {
    let name = &info.name;
    if info.device_type == wgpu::DeviceType::Cpu {
        log::info!("{name} is a GPU in software; the back end `cpu` is several times faster");
    } else if info.backend == wgpu::Backend::Gl {
        log::info!("{name} is used through OpenGL, since there is no other driver");
    }
}

impl Device {
    /// Opens the adapter that the options and the environment ask for, otherwise the best one,
    /// otherwise the CPU.
    ///
    /// # Errors
    /// Every [`Refused`] about devices.
    pub fn open(options: impl Into<DeviceOptions>) -> Result<Self, Refused> {
        let options = options.into();
        let request = Request::new(&options)?;
        if request.cpu {
            return Self::cpu(&options);
        }
        if options.cooperative_matrix && options.precision != Precision::F16 {
            return Err(Refused::MatricesWithoutHalves);
        }
        let adapters = request.adapters();
        let tried = request.try_adapters(&adapters, &options, false);
        match tried.and_then(|tried| Ok(tried.into_chosen()?)) {
            Ok(gpu) => {
                let wgpu::AdapterInfo { name, backend, .. } = &gpu.context.info;
                log::debug!("running on {name} ({backend})");
                if !request.is_explicit() {
                    note_makeshift(&gpu.context.info);
                }
                Ok(Self::Gpu(gpu))
            }
            Err(_) if !request.is_explicit() => {
                log::warn!("no usable GPU adapter: running on the CPU, which is slower");
                Self::cpu(&options)
            }
            Err(refused) => Err(refused),
        }
    }

    /// Falls back to the CPU, if the options allow it.
    fn cpu(options: &DeviceOptions) -> Result<Self, Refused> {
        if options.precision != Precision::F32 {
            return Err(Refused::HalvesOnCpu);
        }
        if options.path != KernelPath::Auto {
            return Err(Refused::KernelsOnCpu("path"));
        }
        if options.winograd != Winograd::Auto {
            return Err(Refused::KernelsOnCpu("winograd"));
        }
        if options.cooperative_matrix {
            return Err(Refused::KernelsOnCpu("cooperative-matrix"));
        }
        Ok(Self::Cpu)
    }

    /// The precision of stored feature maps and weights.
    pub fn precision(&self) -> Precision {
        match self {
            Self::Gpu(gpu) => gpu.wanted.precision,
            Self::Cpu => Precision::F32,
        }
    }

    /// The kernels that were found to be wrong.
    pub fn wrong(&self) -> Vec<WrongKernel> {
        match self {
            Self::Gpu(gpu) => gpu.wrong(),
            Self::Cpu => Vec::new(),
        }
    }

    /// Batches that run at the same time: a GPU computes one while the next is uploaded.
    pub const fn runs(&self) -> usize {
        match self {
            Self::Gpu(_) => 2,
            Self::Cpu => 1,
        }
    }

    /// The description of the device in the results: the CPU, where something had to go on with it.
    pub fn info(&self) -> AdapterInfo {
        match self {
            Self::Gpu(gpu) if gpu.left().reason.is_none() => AdapterInfo::new(&gpu.context.info),
            Self::Gpu(_) | Self::Cpu => AdapterInfo::cpu(),
        }
    }
}
