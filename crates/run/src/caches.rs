//! What the program keeps on disk to save time: tuned choices and compiled pipelines.

use std::env;
use std::path::PathBuf;

use etcetera::BaseStrategy;
use etcetera::base_strategy::choose_native_strategy;
use resnet_wgpu::Error;
use resnet_wgpu::check::{Check, WrongKernel};
use resnet_wgpu::gpu::Context;
use resnet_wgpu::graph::Graph;
use resnet_wgpu::internals::check::CheckCache;
use resnet_wgpu::internals::gpu::PipelineCacheFile;
use resnet_wgpu::plan::{Choices, PlanOptions};
use resnet_wgpu::tune::{TuneCache, Tuned};
use resnet_wgpu::wgpu;

use crate::WGPU_VERSION;

/// The cache folder.
#[derive(Debug)]
pub struct Caches {
    folder: PathBuf,
}

impl Caches {
    /// The folder that is named here or by the environment, otherwise the system's; `None` if it has
    /// none.
    pub fn new(named: Option<PathBuf>) -> Option<Self> {
        let named = named.or_else(|| {
            let variable = env::var_os("RESNET_CACHE_DIR").filter(|folder| !folder.is_empty());
            variable.map(PathBuf::from)
        });
        let folder = named.or_else(|| {
            let system = choose_native_strategy().ok()?;
            Some(system.cache_dir().join("resnet-wgpu"))
        })?;
        Some(Self { folder })
    }

    /// The stored choices for the layers of a graph. A cache that cannot be used is worth a
    /// warning, but is not a failure.
    pub fn choices(&self, context: &Context, graph: &Graph, options: &PlanOptions) -> Choices {
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
                log::warn!("{error}; using the default kernels, `resnet tune` writes it again");
                Choices::default()
            }
        }
    }

    /// The pipelines compiled by earlier starts; `None` where such a cache is not possible.
    pub fn pipelines(&self, context: &Context) -> Option<PipelineCacheFile> {
        PipelineCacheFile::open(&context.device, &self.folder).unwrap_or_else(|error| {
            log::warn!("{error}; pipelines are compiled again");
            None
        })
    }

    /// Stores the outcome of tuning.
    ///
    /// # Errors
    /// [`Error::Cache`].
    pub fn store(
        &self,
        context: &Context,
        options: &PlanOptions,
        tuned: &Tuned,
    ) -> Result<PathBuf, Error> {
        let cache = self.tuned(context, options);
        cache.store(tuned)?;
        Ok(cache.file().to_path_buf())
    }

    /// Lets a check believe what earlier ones have found.
    ///
    /// # Errors
    /// Those of plans, and [`Error::WrongKernel`] where no right kernel is left.
    pub fn believe(
        &self,
        context: &Context,
        options: &PlanOptions,
        check: &mut Check,
    ) -> Result<(), Error> {
        match self.checked(context, options).load(check) {
            Err(error @ Error::Cache { .. }) => {
                log::warn!("{error}; all kernels are checked again");
                Ok(())
            }
            other => other,
        }
    }

    /// Stores what a check has found.
    pub fn store_check(&self, context: &Context, options: &PlanOptions, check: &Check) {
        if let Err(error) = self.checked(context, options).store(check) {
            log::warn!("{error}; the next start checks all kernels again");
        }
    }

    /// The kernels that are known to be wrong on an adapter; all there are if none is named.
    pub fn wrong_on(&self, info: Option<&wgpu::AdapterInfo>) -> Vec<WrongKernel> {
        CheckCache::wrong_on(&self.folder, info)
    }

    fn checked(&self, context: &Context, options: &PlanOptions) -> CheckCache {
        CheckCache::new(&self.folder, context, options, WGPU_VERSION)
    }

    fn tuned(&self, context: &Context, options: &PlanOptions) -> TuneCache {
        TuneCache::new(&self.folder, context, options, WGPU_VERSION)
    }
}
