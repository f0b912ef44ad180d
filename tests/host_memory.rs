//! What building an executor takes of the host's memory. Needs an adapter, and Linux to be asked.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;

use resnet_formats::WeightsAs;
use resnet_wgpu::gpu::Executor;
use resnet_wgpu::network::{Arch, ModelOptions};
use resnet_wgpu::passes::{Fusion, optimize};
use resnet_wgpu::plan::{Capabilities, Plan, PlanOptions, Precision};
use resnet_wgpu::wgpu;

/// How many times the size of the file may be taken. It was 3.0 when wgpu held all packed weights until the
/// host's next submission.
const LIMIT: f64 = 2.6;

/// The most memory that this process has held since it last called `forget_peak`.
fn peak() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kibibytes = line.unwrap().split_whitespace().nth(1).unwrap();
    1024.0 * kibibytes.parse::<f64>().unwrap()
}

/// Makes the memory that is held now the peak.
fn forget_peak() {
    fs::write("/proc/self/clear_refs", "5").unwrap();
}

#[test]
fn packed_weights_do_not_pile_up_on_the_host() {
    let gpu = common::gpu();
    let software = gpu.info.device_type == wgpu::DeviceType::Cpu;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("resnet50.safetensors");
    let options = ModelOptions::default();
    let network = Arch::ResNet50.random(1, &options).unwrap();
    for (stored, precision) in [
        (WeightsAs::F32, Precision::F32),
        (WeightsAs::F16, Precision::F16),
    ] {
        resnet_formats::save(&network, &file, stored).unwrap();
        let bytes = fs::metadata(&file).unwrap().len() as f64;
        forget_peak();
        let before = peak();
        let network = resnet_formats::open(&file, &options).unwrap();
        let model = network.model(&options).unwrap();
        let graph = optimize(&model.graph, Fusion::Full).unwrap();
        let options = PlanOptions::new(Capabilities::of(&gpu.device)).precision(precision);
        let plan = Plan::new(&graph, &options).unwrap();
        let executor = Executor::new(&gpu.device, &gpu.queue, &plan).unwrap();
        gpu.queue.submit([]);
        let done = wgpu::PollType::wait_indefinitely();
        gpu.device.poll(done).unwrap();
        let mut taken = peak() - before;
        if software {
            // Its device memory is the host's.
            taken -= (plan.weight_bytes() + plan.activation_bytes()) as f64;
        }
        // The network is one; the rest is what is packed at the moment, wgpu's staging memory, and what wgpu and
        // the allocator keep of what they have freed.
        drop(executor);
        let times = taken / bytes;
        eprintln!("{stored:?}: {times:.2} times the file");
        assert!(times < LIMIT, "{stored:?}: {times:.2} times the file");
    }
}
