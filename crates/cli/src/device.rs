//! Where the network runs: an adapter, or the CPU.

use std::env;

use pollster::block_on;
use resnet_wgpu::Error;
use resnet_wgpu::gpu::Context;
use resnet_wgpu::graph::Graph;
use resnet_wgpu::internals::gpu::{Adapters, PipelineCacheFile};
use resnet_wgpu::internals::kernels::Precision;
use resnet_wgpu::plan::{Capabilities, Choices, InputFormat, PlanOptions};
use resnet_wgpu::wgpu;
use serde::Serialize;

use crate::args::{Backend, DeviceArgs};
use crate::caches::Caches;
use crate::failure::Failure;

/// Where the network runs.
#[derive(Debug)]
pub(crate) enum Device {
    Gpu(Box<Gpu>),
    Cpu,
}

/// An adapter, and the flags for using it.
#[derive(Debug)]
pub(crate) struct Gpu {
    pub(crate) context: Context,
    wanted: DeviceArgs,
    caches: Option<Caches>,
    /// `None` where the adapter or the system does not support it.
    pipelines: Option<PipelineCacheFile>,
}

impl Gpu {
    fn new(mut context: Context, args: &DeviceArgs) -> Self {
        let caches = Caches::new(args);
        let pipelines = caches
            .as_ref()
            .filter(|_| !args.no_pipeline_cache)
            .and_then(|caches| caches.pipelines(&context));
        if let Some(file) = &pipelines {
            context.use_pipeline_cache(file);
        }
        Self {
            context,
            wanted: args.clone(),
            caches,
            pipelines,
        }
    }

    /// Stores the pipelines compiled by the driver, for the next start.
    pub(crate) fn store_pipelines(&self) {
        if let Some(Err(error)) = self.pipelines.as_ref().map(PipelineCacheFile::store) {
            log::warn!("{error}; the next start compiles its pipelines again");
        }
    }

    /// The precision of stored feature maps and weights.
    pub(crate) const fn precision(&self) -> Precision {
        self.wanted.precision
    }

    /// The default options for planning a graph.
    pub(crate) fn default_options(&self, input: InputFormat) -> PlanOptions {
        PlanOptions::new(Capabilities::of(&self.context.device))
            .input(input)
            .path(self.wanted.path)
            .winograd(self.wanted.winograd)
            .precision(self.wanted.precision)
            .cooperative_matrix(self.wanted.cooperative_matrix)
    }

    /// The options for planning a graph, including the choices stored for it.
    pub(crate) fn options(&self, graph: &Graph, input: InputFormat) -> PlanOptions {
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
pub(crate) struct AdapterInfo {
    pub(crate) name: String,
    pub(crate) backend: String,
    pub(crate) driver: String,
    pub(crate) driver_info: String,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
}

impl AdapterInfo {
    pub(crate) fn new(info: &wgpu::AdapterInfo) -> Self {
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

impl Device {
    /// Opens the adapter that the flags and the environment ask for; if they do not ask, the best
    /// one, or else the CPU.
    pub(crate) fn open(args: &DeviceArgs) -> Result<Self, Failure> {
        let request = Request::new(args)?;
        if request.cpu {
            return Self::cpu(args);
        }
        if args.cooperative_matrix && args.precision != Precision::F16 {
            return Err(Failure::usage(
                "--cooperative-matrix multiplies halves: add --precision f16",
            ));
        }
        let adapters = request.adapters();
        let opened = request.choose(&adapters).and_then(|index| {
            Ok(if args.cooperative_matrix {
                block_on(adapters.open_with_cooperative_matrix(index))?
            } else {
                block_on(adapters.open(index))?
            })
        });
        match opened {
            Ok(context) => {
                let wgpu::AdapterInfo { name, backend, .. } = &context.info;
                log::debug!("running on {name} ({backend})");
                Ok(Self::Gpu(Box::new(Gpu::new(context, args))))
            }
            Err(_) if !request.is_explicit() => {
                log::warn!("no usable GPU adapter: running on the CPU, which is slower");
                Self::cpu(args)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Falls back to the CPU, if the flags allow it.
    fn cpu(args: &DeviceArgs) -> Result<Self, Failure> {
        if args.precision == Precision::F32 {
            return Ok(Self::Cpu);
        }
        Err(Failure::usage(
            "--precision f16 needs an adapter, the CPU stores f32; leave it out, or see \
             `resnet devices`",
        ))
    }

    /// The precision of stored feature maps and weights.
    pub(crate) const fn precision(&self) -> Precision {
        match self {
            Self::Gpu(gpu) => gpu.wanted.precision,
            Self::Cpu => Precision::F32,
        }
    }

    /// The description of the device in the results.
    pub(crate) fn info(&self) -> AdapterInfo {
        match self {
            Self::Gpu(gpu) => AdapterInfo::new(&gpu.context.info),
            Self::Cpu => AdapterInfo::cpu(),
        }
    }
}

/// The device that the flags and the environment ask for.
#[derive(Debug)]
pub(crate) struct Request {
    /// Use no adapter at all.
    pub(crate) cpu: bool,
    backends: Option<wgpu::Backends>,
    name: Option<String>,
}

impl Request {
    pub(crate) fn new(args: &DeviceArgs) -> Result<Self, Failure> {
        let cpu = args.backend == Some(Backend::Cpu);
        if cpu && args.device.is_some() {
            return Err(Failure::usage(
                "--device names an adapter, which --backend cpu does without; give one of them",
            ));
        }
        let variable = |name| env::var(name).ok().filter(|value| !value.trim().is_empty());
        let backends = match (args.backend, variable("WGPU_BACKEND")) {
            (Some(backend), _) => Some(backend.wgpu()),
            (None, Some(list)) => {
                let backends = wgpu::Backends::from_comma_list(&list);
                if backends.is_empty() {
                    return Err(Failure::usage(format!(
                        "WGPU_BACKEND is '{list}', which names no backend; there are vulkan, metal, \
                         dx12, gl"
                    )));
                }
                Some(backends)
            }
            (None, None) => None,
        };
        Ok(Self {
            cpu,
            backends,
            name: args
                .device
                .clone()
                .or_else(|| variable("WGPU_ADAPTER_NAME")),
        })
    }

    /// Whether a particular adapter or API was asked for, so that the CPU cannot take its place.
    pub(crate) const fn is_explicit(&self) -> bool {
        self.backends.is_some() || self.name.is_some()
    }

    pub(crate) fn adapters(&self) -> Adapters {
        block_on(Adapters::enumerate(self.backends))
    }

    pub(crate) fn choose(&self, adapters: &Adapters) -> Result<usize, Failure> {
        let chosen = adapters.choose(self.name.as_deref());
        match chosen {
            Ok(index) => Ok(index),
            Err(Error::NoAdapter { .. }) if adapters.all().is_empty() && self.is_explicit() => {
                Err(Failure::adapter(
                    "nothing that was asked for is there; `resnet devices` lists what is, \
                     `--backend cpu` needs no adapter",
                ))
            }
            Err(error) => Err(error.into()),
        }
    }
}
