//! `resnet devices`: every adapter, what it offers, and which one is used.

use resnet_wgpu::gpu::optional_features;
use resnet_wgpu::internals::gpu::Adapters;
use resnet_wgpu::wgpu;
use serde::Serialize;

use crate::args::DevicesArgs;
use crate::device::{AdapterInfo, Request};
use crate::failure::Failure;
use crate::output::{Format, Out, SCHEMA_VERSION, bytes};

#[derive(Serialize)]
struct Report {
    schema_version: u32,
    adapters: Vec<Row>,
    /// Index of the adapter that is used; null means the CPU.
    chosen: Option<usize>,
    cpu_threads: usize,
}

#[derive(Serialize)]
struct Row {
    index: usize,
    #[serde(flatten)]
    info: AdapterInfo,
    chosen: bool,
    /// Why it cannot be used.
    unsuitable: Option<String>,
    /// Optional features that the program uses where they exist.
    features: Vec<Feature>,
    limits: Limits,
}

#[derive(Serialize)]
struct Feature {
    name: String,
    available: bool,
}

#[derive(Serialize)]
struct Limits {
    max_buffer_size: u64,
    max_storage_buffer_binding_size: u64,
    max_compute_workgroup_storage_size: u32,
    max_compute_invocations_per_workgroup: u32,
    max_compute_workgroups_per_dimension: u32,
}

impl Row {
    fn new(index: usize, adapter: &wgpu::Adapter, chosen: bool) -> Self {
        let limits = adapter.limits();
        let features = optional_features().iter_names();
        Self {
            index,
            info: AdapterInfo::new(&adapter.get_info()),
            chosen,
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

    fn print(&self, out: &mut Out) -> Result<(), Failure> {
        let AdapterInfo {
            name,
            backend,
            driver,
            driver_info,
            kind,
        } = &self.info;
        let mark = if self.chosen { '*' } else { ' ' };
        out.line(format_args!("{mark} {}: {name}", self.index))?;
        out.line(format_args!("     backend   {backend}, {kind}"))?;
        let driver = format!("{driver} {driver_info}");
        if !driver.trim().is_empty() {
            out.line(format_args!("     driver    {}", driver.trim()))?;
        }
        let features: Vec<String> = self
            .features
            .iter()
            .map(|f| format!("{} {}", f.name, if f.available { "yes" } else { "no" }))
            .collect();
        out.line(format_args!("     features  {}", features.join(", ")))?;
        let limits = &self.limits;
        out.line(format_args!(
            "     limits    buffers {}, bindings {}, workgroups {} threads and {}",
            bytes(limits.max_buffer_size),
            bytes(limits.max_storage_buffer_binding_size),
            limits.max_compute_invocations_per_workgroup,
            bytes(limits.max_compute_workgroup_storage_size.into()),
        ))?;
        match &self.unsuitable {
            Some(reason) => out.line(format_args!("     unsuitable: {reason}")),
            None => Ok(()),
        }
    }
}

pub(crate) fn run(args: &DevicesArgs) -> Result<(), Failure> {
    let request = Request::new(&args.device)?;
    let (rows, choice) = if request.cpu {
        (Vec::new(), None)
    } else {
        let adapters = request.adapters();
        let choice = request.choose(&adapters);
        let chosen = choice.as_ref().ok().copied();
        let rows = adapters.all().iter().enumerate();
        let rows = rows.map(|(i, adapter)| Row::new(i, adapter, chosen == Some(i)));
        (rows.collect(), Some(choice))
    };
    let report = Report {
        schema_version: SCHEMA_VERSION,
        chosen: choice.as_ref().and_then(|c| c.as_ref().ok().copied()),
        adapters: rows,
        cpu_threads: rayon::current_num_threads(),
    };
    let mut out = Out::new();
    if args.format == Format::Json {
        out.json(&report)?;
    } else {
        for row in &report.adapters {
            row.print(&mut out)?;
        }
        let threads = report.cpu_threads;
        match &choice {
            // All adapters were listed, but none is the requested one.
            _ if report.chosen.is_some() => {}
            Some(Err(_)) if request.is_explicit() => {}
            Some(_) if report.adapters.is_empty() => out.line(format_args!(
                "no GPU adapter: the CPU path will be used (threads: {threads})"
            ))?,
            _ => out.line(format_args!(
                "the CPU path will be used (threads: {threads})"
            ))?,
        }
    }
    out.flush()?;
    match choice {
        Some(Err(failure)) if request.is_explicit() => Err(failure),
        _ => Ok(()),
    }
}
