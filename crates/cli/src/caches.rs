//! What the program keeps on disk to save time: tuned choices and compiled pipelines.

use std::env;
use std::path::PathBuf;

use etcetera::BaseStrategy;
use etcetera::base_strategy::choose_native_strategy;
use resnet_wgpu::Error;
use resnet_wgpu::gpu::Context;
use resnet_wgpu::graph::Graph;
use resnet_wgpu::internals::gpu::PipelineCacheFile;
use resnet_wgpu::plan::{Choices, PlanOptions};
use resnet_wgpu::tune::{TuneCache, Tuned};

use crate::args::DeviceArgs;
use crate::versions::Versions;

/// The cache folder.
#[derive(Debug)]
pub(crate) struct Caches {
    folder: PathBuf,
}

impl Caches {
    /// The folder named by the flag or the environment, otherwise the system's; `None` if it has
    /// none.
    pub(crate) fn new(args: &DeviceArgs) -> Option<Self> {
        let named = args.cache_dir.clone().or_else(|| {
            let variable = env::var_os("RESNET_CACHE_DIR").filter(|folder| !folder.is_empty());
            variable.map(PathBuf::from)
        });
        let folder = named.or_else(|| {
            let system = choose_native_strategy().ok()?;
            Some(system.cache_dir().join("resnet-wgpu"))
        })?;
        Some(Self { folder })
    }

    /// The tuned choices stored for the layers of a graph. A cache that cannot be used causes a
    /// warning, not a failure.
    pub(crate) fn choices(
        &self,
        context: &Context,
        graph: &Graph,
        options: &PlanOptions,
    ) -> Choices {
        let cache = self.tuned(context, options);
        match cache.load(graph, options) {
            Ok(choices) => {
                if !choices.is_empty() {
                    log::debug!(
                        "{} distinct layers run as tuned: {}",
                        choices.len(),
                        cache.file().display()
                    );
                }
                choices
            }
            Err(error) => {
                log::warn!("{error}; using the default kernels, `resnet tune` writes it anew");
                Choices::default()
            }
        }
    }

    /// The pipelines compiled by earlier starts; `None` if the device has no pipeline cache.
    pub(crate) fn pipelines(&self, context: &Context) -> Option<PipelineCacheFile> {
        PipelineCacheFile::open(&context.device, &self.folder).unwrap_or_else(|error| {
            log::warn!("{error}; pipelines are compiled anew");
            None
        })
    }

    /// Stores the choices that tuning made.
    pub(crate) fn store(
        &self,
        context: &Context,
        options: &PlanOptions,
        tuned: &Tuned,
    ) -> Result<PathBuf, Error> {
        let cache = self.tuned(context, options);
        cache.store(tuned)?;
        Ok(cache.file().to_path_buf())
    }

    fn tuned(&self, context: &Context, options: &PlanOptions) -> TuneCache {
        let wgpu = Versions::new().wgpu.unwrap_or_default();
        TuneCache::new(&self.folder, context, options, wgpu)
    }
}
