//! Adapter and device for programs that do not have their own.

use std::sync::{Arc, Mutex};

use super::cooperative::{cooperative_matrix_features, cooperative_matrix_works};
use super::{PipelineCacheFile, Pipelines};
use crate::error::Error;

/// The adapters of this machine, in order of preference.
#[derive(Debug)]
pub struct Adapters {
    adapters: Vec<wgpu::Adapter>,
}

/// The rank of an adapter, lower is better: real GPUs before software, native APIs before OpenGL.
fn adapter_rank(info: &wgpu::AdapterInfo) -> (u8, u8) {
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    };
    (kind, u8::from(info.backend == wgpu::Backend::Gl))
}

impl Adapters {
    /// Lists the adapters of the given backends; by default those of the native APIs, or those of
    /// OpenGL if there are none.
    pub async fn enumerate(backends: Option<wgpu::Backends>) -> Self {
        if let Some(backends) = backends {
            return Self::of(backends).await;
        }
        let native = Self::of(wgpu::Backends::PRIMARY).await;
        if native.adapters.is_empty() {
            return Self::of(wgpu::Backends::GL).await;
        }
        native
    }

    async fn of(backends: wgpu::Backends) -> Self {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends,
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let mut adapters = instance.enumerate_adapters(backends).await;
        adapters.sort_by_key(|adapter| adapter_rank(&adapter.get_info()));
        Self { adapters }
    }

    /// The description of each adapter, in the order of their indices.
    fn infos(&self) -> Vec<wgpu::AdapterInfo> {
        self.adapters.iter().map(wgpu::Adapter::get_info).collect()
    }

    /// The adapters, in the order of their indices.
    pub fn all(&self) -> &[wgpu::Adapter] {
        &self.adapters
    }

    /// The reason why an adapter cannot run the kernels; `None` if it can.
    pub fn unsuitable(adapter: &wgpu::Adapter) -> Option<String> {
        let compute = wgpu::DownlevelFlags::COMPUTE_SHADERS;
        if !adapter.get_downlevel_capabilities().flags.contains(compute) {
            return Some("no compute shaders".to_owned());
        }
        let mut failure = None;
        wgpu::Limits::default().check_limits_with_fail_fn(
            &adapter.limits(),
            true,
            |name, needed, allowed| {
                failure = Some(format!("{name} is {allowed}, but {needed} is needed"));
            },
        );
        failure
    }

    /// The index of the best adapter, or of the one selected by its index, by part of its name, or by
    /// its PCI address after `pci:`.
    ///
    /// # Errors
    /// [`Error::NoAdapter`], with the available adapters.
    pub fn choose(&self, wanted: Option<&str>) -> Result<usize, Error> {
        let no_adapter = |reason: String| Err(Error::NoAdapter { reason });
        let infos = self.infos();
        let Some(wanted) = wanted else {
            let suitable = |a: &wgpu::Adapter| Self::unsuitable(a).is_none();
            return match self.adapters.iter().position(suitable) {
                Some(index) => Ok(index),
                None => no_adapter(if infos.is_empty() {
                    "there is no GPU driver; install one (Mesa's `mesa-vulkan-drivers` has a \
                     software Vulkan) or compute on the CPU"
                        .to_owned()
                } else {
                    format!("none of {} can run the kernels", names(&infos))
                }),
            };
        };
        let by_name = || {
            let wanted = wanted.to_lowercase();
            let matches = |info: &wgpu::AdapterInfo| info.name.to_lowercase().contains(&wanted);
            infos.iter().position(matches)
        };
        // A number of one or two digits is never a part of a name, in which there may be a version.
        let by_number = || wanted.parse().ok().filter(|&i: &usize| i < infos.len());
        let is_number = wanted.len() < 3 && wanted.parse::<u8>().is_ok();
        let index = match wanted.strip_prefix("pci:").map(pci_address) {
            Some(None) => {
                let reason = format!("'{wanted}' has no PCI address, such as pci:0000:01:00.0");
                return no_adapter(reason);
            }
            Some(address) => {
                let is_there = |i: &wgpu::AdapterInfo| pci_address(&i.device_pci_bus_id) == address;
                infos.iter().position(is_there)
            }
            None if is_number || wanted.is_empty() => by_number(),
            None => by_number().or_else(by_name),
        };
        let Some(index) = index else {
            return no_adapter(format!("'{wanted}' is none of {}", names(&infos)));
        };
        match Self::unsuitable(&self.adapters[index]) {
            Some(reason) => no_adapter(format!("'{}': {reason}", infos[index].name)),
            None => Ok(index),
        }
    }

    /// Creates a device on one of the adapters.
    ///
    /// # Errors
    /// [`Error::NoDevice`] if the driver refuses.
    ///
    /// # Panics
    /// If the index was not returned by [`Self::choose`].
    pub async fn open(&self, index: usize) -> Result<Context, Error> {
        Context::new(&self.adapters[index], wgpu::Features::empty()).await
    }

    /// Does what [`Self::open`] does, and enables cooperative matrices if the adapter has the kind
    /// that the kernels use and computes correctly with them; otherwise it logs a warning.
    ///
    /// # Errors
    /// [`Error::NoDevice`] if the driver refuses.
    ///
    /// # Panics
    /// If the index was not returned by [`Self::choose`].
    pub async fn open_with_cooperative_matrix(&self, index: usize) -> Result<Context, Error> {
        let adapter = &self.adapters[index];
        let Some(features) = cooperative_matrix_features(adapter) else {
            log::warn!(
                "the adapter has no cooperative matrices of 16×16 halves: continuing without them"
            );
            return self.open(index).await;
        };
        let context = Context::new(adapter, features).await?;
        match cooperative_matrix_works(&context) {
            Ok(true) => Ok(context),
            Ok(false) => {
                log::warn!(
                    "the driver's cooperative matrices compute wrong sums: continuing without them"
                );
                self.open(index).await
            }
            Err(error) => {
                log::warn!("cooperative matrices fail ({error}): continuing without them");
                self.open(index).await
            }
        }
    }
}

/// Domain, bus, device and function of a PCI address, as drivers and tools write it: with a domain of
/// four digits, of eight, or of none.
fn pci_address(text: &str) -> Option<[u32; 4]> {
    let (place, function) = text.trim().rsplit_once('.')?;
    let mut parts = place.rsplit(':');
    let mut next = || parts.next().map(|part| u32::from_str_radix(part, 16));
    let (device, bus) = (next()?.ok()?, next()?.ok()?);
    let domain = next().unwrap_or(Ok(0)).ok()?;
    let function = u32::from_str_radix(function, 16).ok()?;
    next().is_none().then_some([domain, bus, device, function])
}

fn names(infos: &[wgpu::AdapterInfo]) -> String {
    let list: Vec<String> = infos
        .iter()
        .enumerate()
        .map(|(i, info)| match info.device_pci_bus_id.as_str() {
            "" => format!("{i}: {}", info.name),
            address => format!("{i}: {} (pci:{address})", info.name),
        })
        .collect();
    if list.is_empty() {
        "no adapter at all".to_owned()
    } else {
        list.join(", ")
    }
}

/// The token that wgpu demands for experimental features.
#[expect(
    unsafe_code,
    reason = "wgpu has no other way to enable an experimental feature"
)]
fn experimental() -> wgpu::ExperimentalFeatures {
    // SAFETY: a driver may compute wrong numbers or lose the device, so the results of the only
    // kernel concerned are compared with another's before it is used.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}

/// A device with everything that [`Session`](super::Session) and [`tune`](crate::tune::tune) need:
/// a new one, or the [host's](Context::of).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Context {
    /// The device.
    pub device: wgpu::Device,
    /// Its queue.
    pub queue: wgpu::Queue,
    /// The adapter's description.
    pub info: wgpu::AdapterInfo,
    /// The pipelines of all sessions on this device.
    pub pipelines: Pipelines,
    /// Of a device that is not the host's.
    #[cfg_attr(target_family = "wasm", expect(dead_code, reason = "browsers compile"))]
    adapter: Option<wgpu::Adapter>,
    /// Its features beyond the optional ones.
    #[cfg_attr(target_family = "wasm", expect(dead_code, reason = "browsers compile"))]
    more: wgpu::Features,
    /// The first error that no error scope caught; for the device of a host, such errors go to the
    /// host instead.
    failure: Arc<Mutex<Option<Error>>>,
}

impl Context {
    /// The best adapter of the backends that `WGPU_BACKEND` names, or the one that
    /// `WGPU_ADAPTER_NAME` names.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] and [`Error::NoDevice`].
    pub async fn from_env() -> Result<Self, Error> {
        let adapters = Adapters::enumerate(wgpu::Backends::from_env()).await;
        let wanted = std::env::var("WGPU_ADAPTER_NAME").ok();
        adapters.open(adapters.choose(wanted.as_deref())?).await
    }

    /// Uses the device of a host. No error handler is installed: errors outside calls that return
    /// one go wherever the host has them sent.
    pub fn of(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        Self {
            pipelines: Pipelines::new(&device, None),
            info: device.adapter_info(),
            device,
            queue,
            adapter: None,
            more: wgpu::Features::empty(),
            failure: Arc::default(),
        }
    }

    /// Another device of the same adapter, with the same features; `None` if the device is the host's.
    #[cfg(not(target_family = "wasm"))]
    pub(super) async fn another(&self) -> Option<Result<Self, Error>> {
        let adapter = self.adapter.as_ref()?;
        Some(Self::new(adapter, self.more).await)
    }

    /// Creates a device. `more` are features beyond the optional ones, and may be experimental.
    async fn new(adapter: &wgpu::Adapter, more: wgpu::Features) -> Result<Self, Error> {
        let mut descriptor = super::device_descriptor(adapter);
        descriptor.required_features |= more;
        if !more.is_empty() {
            descriptor.experimental_features = experimental();
        }
        let (device, queue) =
            adapter
                .request_device(&descriptor)
                .await
                .map_err(|error| Error::NoDevice {
                    adapter: adapter.get_info().name,
                    reason: error.to_string(),
                })?;

        // wgpu's default handler panics; an error here must reach the caller of the next run.
        let context = Self {
            adapter: Some(adapter.clone()),
            more,
            ..Self::of(device, queue)
        };
        let report = |failure: &Mutex<Option<Error>>, error: Error| {
            log::error!("{error}");
            if let Ok(mut first) = failure.lock() {
                first.get_or_insert(error);
            }
        };
        let sink = Arc::clone(&context.failure);
        context.device.on_uncaptured_error(Arc::new(move |error| {
            report(&sink, super::gpu_error("GPU command", &error));
        }));
        let sink = Arc::clone(&context.failure);
        context
            .device
            .set_device_lost_callback(move |reason, message| {
                if reason != wgpu::DeviceLostReason::Destroyed {
                    report(&sink, Error::DeviceLost { reason: message });
                }
            });
        Ok(context)
    }

    /// The first error that the device reported outside calls that return one.
    pub(super) fn take_failure(&self) -> Option<Error> {
        self.failure.lock().ok().and_then(|mut first| first.take())
    }

    /// Waits until the device has finished everything that was submitted.
    #[cfg(feature = "cpu")]
    pub(crate) fn wait_idle(&self) -> Result<(), Error> {
        self.wait(None)
    }

    /// Waits for a submission and those before it, or for all.
    pub(super) fn wait(&self, submission: Option<wgpu::SubmissionIndex>) -> Result<(), Error> {
        let waited = self.device.poll(wgpu::PollType::Wait {
            submission_index: submission,
            timeout: None,
        });
        if let Some(failure) = self.take_failure() {
            return Err(failure);
        }
        waited.map(|_| ()).map_err(|error| Error::Gpu {
            what: "waiting for the GPU".to_owned(),
            reason: error.to_string(),
        })
    }
}

#[doc(hidden)]
impl Context {
    /// Lets the driver look up the pipelines of future sessions in a cache, and add those that are
    /// missing.
    pub fn use_pipeline_cache(&mut self, file: &PipelineCacheFile) {
        self.pipelines = Pipelines::new(&self.device, Some(file.cache().clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pci_addresses_of_vulkan_and_of_nvidia_are_the_same() {
        let want = Some([0, 0x3b, 0, 1]);
        for text in ["0000:3b:00.1", "00000000:3B:00.1", "3b:00.1"] {
            assert_eq!(pci_address(text), want, "{text}");
        }
        for text in ["", "3b", "3b:00", "0:3b:00", "x:3b:00.0", "0:0:3b:00.1"] {
            assert_eq!(pci_address(text), None, "{text}");
        }
    }
}
