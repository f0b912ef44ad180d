//! Every pipeline that a planner may choose, as text for the compilers of the vendors, which
//! `scripts/compilers` runs.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path as FilePath;

use naga::back::{hlsl, msl, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use resnet_wgpu::explain::{ClassMap, add_class_map};
use resnet_wgpu::graph::Graph;
use resnet_wgpu::internals::kernels::{Access, Launch, Precision};
use resnet_wgpu::internals::plan::{ConvShape, DeviceClass, DeviceKind, Vendor};
use resnet_wgpu::network::{Arch, ModelOptions};
use resnet_wgpu::passes::{Fusion, optimize};
use resnet_wgpu::picture::Preprocess;
use resnet_wgpu::plan::{Capabilities, InputFormat, KernelPath, Plan, PlanOptions, Winograd};
use serde_json::{Value, json};

use crate::launches::{capabilities, launches, launches_of_all_candidates};
use crate::{is_cooperative, resolved};

/// Writes them to the folder `PIPELINES`: with `EVERY=1` all of them, otherwise one of those that
/// differ only in sizes.
#[test]
#[ignore = "writes the files that scripts/compilers compiles"]
fn write_pipelines() {
    let folder = std::env::var_os("PIPELINES").expect("PIPELINES names a folder");
    let folder = FilePath::new(&folder);
    let every = std::env::var_os("EVERY").is_some();
    let mut seen = HashSet::new();
    let mut kinds = HashSet::new();
    let mut index = Vec::new();
    for (from, launch) in chosen() {
        if !seen.insert(launch.pipeline_key()) || !(kinds.insert(kind(&launch)) || every) {
            continue;
        }
        let id = format!("{:05}_{}", index.len(), launch.kernel.name);
        index.push(write(folder, &id, &from, &launch));
    }
    std::fs::write(
        folder.join("index.json"),
        serde_json::to_vec(&index).unwrap(),
    )
    .unwrap();
    println!("{} pipelines, {} written", seen.len(), index.len());
}

/// What pipelines have in common that differ only in sizes.
fn kind(launch: &Launch) -> String {
    let mut kind = format!("{:?}", launch.module_key());
    for (name, value) in &launch.overrides {
        write!(kind, " {name}={}", *value > 0.0).unwrap();
    }
    kind
}

/// Every launch of every plan, with the plan's origin.
fn chosen() -> Vec<(String, Launch)> {
    let mut all: Vec<(String, Launch)> = launches()
        .into_iter()
        .map(|launch| ("a network with every kernel".to_owned(), launch))
        .collect();
    let mut seen: HashSet<_> = all.iter().map(|(_, l)| l.pipeline_key()).collect();
    let mut known = HashSet::new();
    for (name, graph) in networks() {
        let shapes = graph
            .nodes()
            .iter()
            .filter_map(|n| ConvShape::of(&graph, n));
        let before = known.len();
        known.extend(shapes);
        if known.len() == before {
            // Only deeper.
            continue;
        }
        for (device, options, typical) in devices() {
            let launches = if typical {
                launches_of_all_candidates(&graph, &options)
            } else {
                let plan = Plan::new(&graph, &options).unwrap();
                plan.steps().iter().map(|s| s.launch.clone()).collect()
            };
            for launch in launches {
                if seen.insert(launch.pipeline_key()) {
                    all.push((format!("{name}, {device}"), launch));
                }
            }
        }
    }
    all
}

/// Networks of several depths, batches and sizes, some with a class map.
fn networks() -> Vec<(String, Graph)> {
    let mut graphs = Vec::new();
    for arch in [
        Arch::ResNet18,
        Arch::ResNet50,
        Arch::ResNet152,
        Arch::Notebook,
    ] {
        for (batch, size) in [(1, None), (8, None), (1, Some([97, 131]))] {
            let mut options = ModelOptions::default();
            options.batch = batch;
            options.size = size;
            let network = arch.random(0, &options).unwrap();
            let model = network.model(&options).unwrap();
            let [h, w] = model.size();
            let name = format!("{arch}, batch {batch}, {h}x{w}");
            let graph = optimize(&model.graph, Fusion::Full).unwrap();
            let graph = if arch == Arch::ResNet18 {
                add_class_map(&graph, &ClassMap::default()).unwrap()
            } else {
                graph
            };
            graphs.push((name, graph));
        }
    }
    graphs
}

/// Everything about a device and a wish that the planner distinguishes, and whether all candidates
/// are to be tried: they are the same for all makers.
fn devices() -> Vec<(String, PlanOptions, bool)> {
    use DeviceClass::{Discrete, Integrated};
    let makers = [
        Vendor::Amd,
        Vendor::Apple,
        Vendor::Intel,
        Vendor::Mobile,
        Vendor::Nvidia,
    ];
    let kinds = [Discrete, Integrated]
        .into_iter()
        .flat_map(|class| makers.map(|vendor| DeviceKind { class, vendor }))
        .chain([DeviceKind::SOFTWARE, DeviceKind::default()]);
    let on_buffers = kinds.flat_map(|device| {
        [false, true].map(|half_arithmetic| {
            let device = capabilities(|c| {
                c.device = device;
                c.half_arithmetic = half_arithmetic;
            });
            (KernelPath::Buffers, device)
        })
    });
    let lanes = [(4, None), (8, None), (8, Some(26)), (16, None)];
    let on_textures = lanes.map(|(lanes, llvmpipe)| {
        let device = capabilities(|c| {
            c.device = DeviceKind::SOFTWARE;
            c.immediate_bytes = 64;
            c.read_write_textures = true;
            c.subgroup_lanes = Some([lanes, lanes]);
            c.llvmpipe = llvmpipe;
        });
        (KernelPath::Textures, device)
    });
    let with_matrices = capabilities(|c| {
        c.cooperative_matrix = true;
        c.subgroup_lanes = Some([32, 64]);
        c.half_arithmetic = true;
    });
    let mut devices = Vec::new();
    let mut add = |path, device: Capabilities, matrices: bool| {
        for precision in Precision::ALL {
            for winograd in [Winograd::Auto, Winograd::Off, Winograd::Two, Winograd::Four] {
                let options = PlanOptions::new(device)
                    .input(InputFormat::Rgba8(Preprocess::TORCHVISION))
                    .path(path)
                    .precision(precision)
                    .winograd(winograd)
                    .cooperative_matrix(matrices && precision == Precision::F16);
                let kind = device.device;
                let name = format!("{kind}, {path}, {precision}, winograd {winograd}");
                // Others have the same candidates, or fewer.
                let typical = device.device.vendor == Vendor::Unknown
                    && (path == KernelPath::Textures || device.half_arithmetic)
                    && matches!(winograd, Winograd::Auto | Winograd::Four);
                devices.push((name, options, typical));
            }
        }
    };
    for (path, device) in on_buffers.chain(on_textures) {
        add(path, device, false);
    }
    add(KernelPath::Buffers, with_matrices, true);
    devices
}

/// Writes a pipeline as wgpu hands it to the compilers of each back end; returns its entry in the
/// index.
fn write(folder: &FilePath, id: &str, from: &str, launch: &Launch) -> Value {
    let kernel = launch.kernel;
    let name = kernel.name;
    let source = launch.source().unwrap();
    let put = |extension: &str, bytes: &[u8]| {
        std::fs::write(folder.join(format!("{id}.{extension}")), bytes).unwrap();
    };
    put("wgsl", source.as_bytes());
    let (module, info) = resolved(launch);
    let checked = kernel.bindings.iter().any(|b| b.access == Access::Sample);
    put("spv", &spirv(&module, &info, checked));
    if !is_cooperative(name) {
        put("metal", metal(&module, &info, checked).as_bytes());
        for (model, extension) in [
            (hlsl::ShaderModel::V5_1, "cs_5_1.hlsl"),
            (hlsl::ShaderModel::V6_0, "cs_6_0.hlsl"),
            (hlsl::ShaderModel::V6_2, "cs_6_2.hlsl"),
        ] {
            if model >= hlsl::ShaderModel::V6_2 || !kernel.is_half() {
                put(
                    extension,
                    hlsl_text(&module, &info, launch, model).as_bytes(),
                );
            }
        }
    }
    let bindings: Vec<Value> = kernel
        .bindings
        .iter()
        .map(|b| json!({ "storage": format!("{:?}", b.storage), "access": format!("{:?}", b.access) }))
        .collect();
    let overrides: serde_json::Map<String, Value> = launch
        .overrides
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.into()))
        .collect();
    json!({
        "id": id,
        "kernel": name,
        "from": from,
        "precision": launch.precision.to_string(),
        "tile": launch.tile,
        "overrides": overrides,
        "bindings": bindings,
        "immediates": launch.immediates.len() * 4,
        "half": kernel.is_half(),
        "subgroups": source.contains("subgroup") || source.contains("quadBroadcast"),
        "cooperative": is_cooperative(name),
    })
}

const fn policies(checked: bool) -> BoundsCheckPolicies {
    let policy = if checked {
        BoundsCheckPolicy::Restrict
    } else {
        BoundsCheckPolicy::Unchecked
    };
    BoundsCheckPolicies {
        index: policy,
        buffer: policy,
        image_load: policy,
        binding_array: BoundsCheckPolicy::Unchecked,
    }
}

fn spirv(module: &naga::Module, info: &naga::valid::ModuleInfo, checked: bool) -> Vec<u8> {
    let options = spv::Options {
        lang_version: (1, 6),
        bounds_check_policies: policies(checked),
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: checked,
        ..Default::default()
    };
    let words = spv::write_vec(module, info, &options, None).unwrap();
    without_strides(&words)
        .flat_map(|word| word.to_le_bytes())
        .collect()
}

/// Leaves out the strides of arrays of known size. naga writes them for arrays in workgroup memory too, where
/// Vulkan does not allow them and drivers ignore them; spirv-val would say nothing else.
fn without_strides(words: &[u32]) -> impl Iterator<Item = u32> {
    const HEADER: usize = 5;
    const TYPE_ARRAY: u32 = 28;
    const DECORATE: u32 = 71;
    const ARRAY_STRIDE: u32 = 6;
    let mut instructions = Vec::new();
    let mut rest = &words[HEADER..];
    while let Some(first) = rest.first() {
        let (instruction, others) = rest.split_at((first >> 16) as usize);
        instructions.push(instruction);
        rest = others;
    }
    let is = |instruction: &[u32], code| instruction[0] & 0xffff == code;
    let arrays: HashSet<u32> = instructions
        .iter()
        .filter(|i| is(i, TYPE_ARRAY))
        .map(|i| i[1])
        .collect();
    instructions.retain(|i| !(is(i, DECORATE) && i[2] == ARRAY_STRIDE && arrays.contains(&i[1])));
    let header = words[..HEADER].iter().copied();
    header.chain(instructions.concat())
}

fn metal(module: &naga::Module, info: &naga::valid::ModuleInfo, checked: bool) -> String {
    let options = msl::Options {
        fake_missing_bindings: true,
        lang_version: (2, 4),
        bounds_check_policies: policies(checked),
        zero_initialize_workgroup_memory: false,
        force_loop_bounding: checked,
        ..Default::default()
    };
    let pipeline = msl::PipelineOptions::default();
    msl::write_string(module, info, &options, &pipeline)
        .unwrap()
        .0
}

fn hlsl_text(
    module: &naga::Module,
    info: &naga::valid::ModuleInfo,
    launch: &Launch,
    model: hlsl::ShaderModel,
) -> String {
    let checked = launch
        .kernel
        .bindings
        .iter()
        .any(|b| b.access == Access::Sample);
    let in_space = |space, register| hlsl::BindTarget {
        space,
        register,
        ..Default::default()
    };
    let registers = (0u32..).zip(launch.kernel.bindings);
    let binding_map = registers
        .map(|(binding, _)| {
            (
                naga::ResourceBinding { group: 0, binding },
                in_space(0, binding),
            )
        })
        .collect();
    let options = hlsl::Options {
        shader_model: model,
        binding_map,
        fake_missing_bindings: false,
        immediates_target: Some(in_space(1, 0)),
        special_constants_binding: Some(in_space(2, 0)),
        zero_initialize_workgroup_memory: false,
        restrict_indexing: checked,
        force_loop_bounding: checked,
        ..Default::default()
    };
    let pipeline = hlsl::PipelineOptions::default();
    let mut text = String::new();
    hlsl::Writer::new(&mut text, &options, &pipeline)
        .write(module, info, None)
        .unwrap();
    text
}
