//! Which adapter the flags and the environment ask for, and which of several works.

use std::env;
use std::iter;
use std::sync::Arc;

use pollster::block_on;
use resnet_wgpu::Error;
use resnet_wgpu::internals::gpu::Adapters;
use resnet_wgpu::wgpu;

use crate::{Backend, DeviceOptions, Gpu, Refused, trial};

/// The adapters that were tried.
pub type Tried = trial::Tried<Arc<Gpu>>;

/// The device that the flags and the environment ask for.
#[derive(Debug)]
pub struct Request {
    /// Use no adapter at all.
    pub cpu: bool,
    backends: Option<wgpu::Backends>,
    name: Option<String>,
}

impl Request {
    /// Reads the options, and the environment where they say nothing.
    ///
    /// # Errors
    /// [`Refused::AdapterOnCpu`] and [`Refused::UnknownBackends`].
    pub fn new(options: &DeviceOptions) -> Result<Self, Refused> {
        let cpu = options.backend == Some(Backend::Cpu);
        if cpu && options.device.is_some() {
            return Err(Refused::AdapterOnCpu);
        }
        let variable = |name| env::var(name).ok().filter(|value| !value.trim().is_empty());
        let backends = match (options.backend, variable("WGPU_BACKEND")) {
            (Some(backend), _) => Some(backend.wgpu()),
            (None, Some(list)) => {
                let backends = wgpu::Backends::from_comma_list;
                // wgpu passes over names that it does not know.
                let is_known = |name: &str| name.trim().is_empty() || !backends(name).is_empty();
                if backends(&list).is_empty() || !list.split(',').all(is_known) {
                    return Err(Refused::UnknownBackends(list));
                }
                Some(backends(&list))
            }
            (None, None) => None,
        };
        Ok(Self {
            cpu,
            backends,
            name: options
                .device
                .clone()
                .or_else(|| variable("WGPU_ADAPTER_NAME")),
        })
    }

    /// Whether an adapter was asked for, so that the CPU will not do.
    pub const fn is_explicit(&self) -> bool {
        self.backends.is_some() || self.name.is_some()
    }

    /// What was asked for, in words.
    fn asked(&self) -> String {
        let backends = self.backends.map(|backends| {
            let names = backends.iter_names().map(|(name, _)| name.to_lowercase());
            names.collect::<Vec<_>>().join(" or ")
        });
        let name = self.name.as_ref().map(|name| format!("'{name}'"));
        let parts: Vec<String> = name.into_iter().chain(backends).collect();
        parts.join(" with ")
    }

    /// The adapters to choose from.
    pub fn adapters(&self) -> Adapters {
        block_on(Adapters::enumerate(self.backends))
    }

    /// Opens the adapter that was asked for, or else the best one that works. Where there is a choice, those that
    /// compute a small network wrongly are passed over; `thorough` is for a single one, too.
    ///
    /// # Errors
    /// As [`Self::choose`].
    pub fn try_adapters(
        &self,
        adapters: &Adapters,
        options: &DeviceOptions,
        thorough: bool,
    ) -> Result<Tried, Refused> {
        let first = self.choose(adapters)?;
        let suitable = |&i: &usize| Adapters::unsuitable(&adapters.all()[i]).is_none();
        let others = (first + 1..adapters.all().len()).filter(suitable);
        let others: Vec<usize> = others.filter(|_| self.name.is_none()).collect();
        let check = self.name.is_none() && (thorough || !others.is_empty());
        let open = |index: usize| {
            let context = if options.cooperative_matrix {
                block_on(adapters.open_with_cooperative_matrix(index))
            } else {
                block_on(adapters.open(index))
            };
            let gpu = Gpu::new(context?, options.clone());
            if check {
                trial::run(&gpu).inspect_err(|error| {
                    log::warn!("{} is not used: {error}", gpu.context.info.name);
                })?;
            }
            Ok(Arc::new(gpu))
        };
        Ok(trial::first(iter::once(first).chain(others), open))
    }

    /// The index of the adapter that was asked for, or of the best one.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] and [`Refused::NothingAskedFor`].
    pub fn choose(&self, adapters: &Adapters) -> Result<usize, Refused> {
        match adapters.choose(self.name.as_deref()) {
            Err(Error::NoAdapter { .. }) if adapters.all().is_empty() && self.is_explicit() => {
                Err(Refused::NothingAskedFor(self.asked()))
            }
            chosen => Ok(chosen?),
        }
    }
}
