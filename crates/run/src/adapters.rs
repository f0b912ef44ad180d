//! What there is to say about an adapter, in the form of the program's JSON.

use resnet_wgpu::check::WrongKernel;
use resnet_wgpu::gpu::optional_features;
use resnet_wgpu::internals::gpu::Adapters;
use resnet_wgpu::wgpu;
use serde::Serialize;

use crate::{AdapterInfo, Caches, Tried};

/// An adapter, what it offers, and whether it is used.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Its number.
    pub index: usize,
    /// Its name and driver.
    #[serde(flatten)]
    pub info: AdapterInfo,
    /// Its PCI address, such as `0000:01:00.0`, if the driver says it.
    pub pci: Option<String>,
    /// Whether it is the one that is used.
    pub chosen: bool,
    /// Why it cannot be used.
    pub unsuitable: Option<String>,
    /// Why it is passed over, if its kernels were tried in vain.
    pub failed: Option<String>,
    /// Kernels that were found to compute wrongly on it.
    pub wrong_kernels: Vec<WrongKernel>,
    /// Features that are used on adapters that have them.
    pub features: Vec<Feature>,
    /// Its limits.
    pub limits: Limits,
}

/// A feature that is used where it is available.
#[derive(Debug, Serialize)]
pub struct Feature {
    /// Its name.
    pub name: String,
    /// Whether the adapter has it.
    pub available: bool,
}

/// The limits that decide what fits, by their names in WebGPU.
#[derive(Debug, Serialize)]
pub struct Limits {
    pub max_buffer_size: u64,
    pub max_storage_buffer_binding_size: u64,
    pub max_compute_workgroup_storage_size: u32,
    pub max_compute_invocations_per_workgroup: u32,
    pub max_compute_workgroups_per_dimension: u32,
}

impl Row {
    /// Describes all adapters.
    pub fn all(adapters: &Adapters, tried: Option<&Tried>, caches: Option<&Caches>) -> Vec<Self> {
        let rows = adapters.all().iter().enumerate();
        rows.map(|(index, adapter)| Self::new(index, adapter, tried, caches))
            .collect()
    }

    fn new(
        index: usize,
        adapter: &wgpu::Adapter,
        tried: Option<&Tried>,
        caches: Option<&Caches>,
    ) -> Self {
        let failed = tried.and_then(|tried| tried.failed.iter().find(|(of, _)| *of == index));
        let chosen = tried.and_then(|tried| Some(tried.chosen.as_ref()?.0));
        let limits = adapter.limits();
        let features = optional_features().iter_names();
        let info = adapter.get_info();
        Self {
            index,
            wrong_kernels: caches
                .map(|caches| caches.wrong_on(Some(&info)))
                .unwrap_or_default(),
            info: AdapterInfo::new(&info),
            pci: Some(info.device_pci_bus_id).filter(|address| !address.is_empty()),
            chosen: chosen == Some(index),
            failed: failed.map(|(_, error)| error.to_string()),
            unsuitable: Adapters::unsuitable(adapter),
            features: features
                .map(|(name, flag)| Feature {
                    name: name.to_lowercase(),
                    available: adapter.features().contains(flag),
                })
                .collect(),
            limits: Limits {
                max_buffer_size: limits.max_buffer_size,
                max_storage_buffer_binding_size: limits.max_storage_buffer_binding_size,
                max_compute_workgroup_storage_size: limits.max_compute_workgroup_storage_size,
                max_compute_invocations_per_workgroup: limits.max_compute_invocations_per_workgroup,
                max_compute_workgroups_per_dimension: limits.max_compute_workgroups_per_dimension,
            },
        }
    }
}
