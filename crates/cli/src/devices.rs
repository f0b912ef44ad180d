//! `resnet devices`: every adapter, what it offers, and which one is used.

use resnet_run::{AdapterInfo, Caches, Request, Row};
use serde::Serialize;

use crate::args::DevicesArgs;
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

fn print(row: &Row, out: &mut Out) -> Result<(), Failure> {
    let AdapterInfo {
        name,
        backend,
        driver,
        driver_info,
        kind,
    } = &row.info;
    let mark = if row.chosen { '*' } else { ' ' };
    out.line(format_args!("{mark} {}: {name}", row.index))?;
    out.line(format_args!("     backend   {backend}, {kind}"))?;
    let driver = format!("{driver} {driver_info}");
    if !driver.trim().is_empty() {
        out.line(format_args!("     driver    {}", driver.trim()))?;
    }
    if let Some(address) = &row.pci {
        out.line(format_args!("     pci       {address}"))?;
    }
    let features: Vec<String> = row
        .features
        .iter()
        .map(|f| format!("{} {}", f.name, if f.available { "yes" } else { "no" }))
        .collect();
    out.line(format_args!("     features  {}", features.join(", ")))?;
    let limits = &row.limits;
    out.line(format_args!(
        "     limits    buffers {}, bindings {}, workgroups {} threads and {}",
        bytes(limits.max_buffer_size),
        bytes(limits.max_storage_buffer_binding_size),
        limits.max_compute_invocations_per_workgroup,
        bytes(limits.max_compute_workgroup_storage_size.into()),
    ))?;
    for kernel in &row.wrong_kernels {
        out.line(format_args!("     wrong     {kernel}: it is not used"))?;
    }
    if let Some(reason) = &row.failed {
        out.line(format_args!("     passed over: {reason}"))?;
    }
    match &row.unsuitable {
        Some(reason) => out.line(format_args!("     unsuitable: {reason}")),
        None => Ok(()),
    }
}

pub(crate) fn run(args: &DevicesArgs) -> Result<(), Failure> {
    let options = (&args.adapter).into();
    let request = Request::new(&options)?;
    let (rows, choice) = if request.cpu {
        (Vec::new(), None)
    } else {
        let adapters = request.adapters();
        let tried = request.try_adapters(&adapters, &options, true);
        let caches = Caches::new(args.adapter.cache_dir.clone());
        let rows = Row::all(&adapters, tried.as_ref().ok(), caches.as_ref());
        let chosen = tried.and_then(|tried| Ok(tried.into_chosen()?));
        (rows, Some(chosen))
    };
    let report = Report {
        schema_version: SCHEMA_VERSION,
        chosen: rows.iter().find(|row| row.chosen).map(|row| row.index),
        adapters: rows,
        cpu_threads: rayon::current_num_threads(),
    };
    let mut out = Out::new();
    if args.format == Format::Json {
        out.json(&report)?;
    } else {
        for row in &report.adapters {
            print(row, &mut out)?;
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
        Some(Err(refused)) if request.is_explicit() => Err(refused.into()),
        _ => Ok(()),
    }
}
