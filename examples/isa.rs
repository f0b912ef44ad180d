//! What AMD's compiler makes of the convolution kernels, without any AMD hardware: registers,
//! spills, occupancy, and the share of multiply-adds in the hottest block, as a Markdown table.
//!
//! ```sh
//! cargo run --release --example isa [-- FAMILY…]
//! ```
//!
//! Mesa's RADV driver compiles for the chip that `RADV_FORCE_FAMILY` names even if there is none
//! (Debian: `mesa-vulkan-drivers`). Every distinct convolution in plans of ResNet-50 for all kinds
//! of hardware, at batch 1 and 8, in both precisions, with and without Winograd's algorithm, is
//! compiled as the executor would: specialised, without bounds checks.

#![expect(
    unsafe_code,
    reason = "raw Vulkan: wgpu does not expose pipeline statistics"
)]
#![expect(clippy::print_stdout, reason = "the table is the result")]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::ffi::CStr;
use std::process::Command;

use ash::{khr, vk};
use resnet_wgpu::internals::kernels::{Launch, Precision};
use resnet_wgpu::internals::plan::{DeviceClass, DeviceKind, Vendor};
use resnet_wgpu::network::Arch;
use resnet_wgpu::network::ModelOptions;
use resnet_wgpu::passes::{Fusion, optimize};
use resnet_wgpu::plan::{Capabilities, KernelPath, Plan, PlanOptions, Winograd};

/// Set in the child processes, one per chip: the driver reads its environment once.
const CHILD: &str = "RESNET_WGPU_ISA_CHILD";

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::var_os(CHILD).is_some() {
        return compile_all();
    }
    let mut families: Vec<String> = std::env::args().skip(1).collect();
    if families.is_empty() {
        families = vec!["navi21".to_owned(), "gfx1100".to_owned()];
    }
    let icd = std::fs::read_dir("/usr/share/vulkan/icd.d")?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.to_string_lossy().contains("radeon_icd"))
        .ok_or("RADV is not installed; Debian: apt-get install mesa-vulkan-drivers")?;
    println!(
        "| chip | kernel | stores | tile px×co×k, per thread | VGPRs | spills | scratch | LDS | waves | hottest block: multiply-adds / instructions |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for family in families {
        let status = Command::new(std::env::current_exe()?)
            .env(CHILD, &family)
            .env("RADV_FORCE_FAMILY", &family)
            .env("RADV_DEBUG", "nocache")
            .env("VK_ICD_FILENAMES", &icd)
            .status()?;
        if !status.success() {
            return Err(format!("compiling for {family} failed").into());
        }
    }
    Ok(())
}

/// A launch for each kernel, tile and precision, and for each value of whether another dispatch
/// completes its sums.
type Variants = BTreeMap<(&'static str, String, Precision, bool), Launch>;

/// Every kind of hardware that the planner distinguishes.
fn devices() -> Vec<DeviceKind> {
    use DeviceClass::{Discrete, Integrated, Unknown};
    let makers = [
        Vendor::Amd,
        Vendor::Apple,
        Vendor::Intel,
        Vendor::Mobile,
        Vendor::Nvidia,
    ];
    let of = |class| makers.map(|vendor| DeviceKind { class, vendor });
    let unknown = DeviceKind {
        class: Unknown,
        vendor: Vendor::Unknown,
    };
    [&of(Discrete)[..], &of(Integrated), &[unknown]].concat()
}

/// Every distinct convolution kernel and tile, each with the first layer that uses it.
fn variants() -> Result<Variants, Box<dyn Error>> {
    let mut variants = Variants::new();
    for batch in [1, 8] {
        let mut options = ModelOptions::default();
        options.batch = batch;
        let model = Arch::ResNet50
            .random(0, &options)
            .and_then(|network| network.model(&options))?;
        let graph = optimize(&model.graph, Fusion::Full)?;
        for device in devices() {
            let mut capabilities = Capabilities::default();
            capabilities.device = device;
            capabilities.half_arithmetic = true;
            for precision in Precision::ALL {
                for winograd in [Winograd::Auto, Winograd::Two, Winograd::Four] {
                    let options = PlanOptions::new(capabilities)
                        .path(KernelPath::Buffers)
                        .precision(precision)
                        .winograd(winograd);
                    for step in Plan::new(&graph, &options)?.steps() {
                        if step.choice.is_some() {
                            let launch = &step.launch;
                            let leaves_sums = launch.overrides.contains(&("FINISH", 0.0));
                            let tile = tile_of(launch);
                            let key = (launch.kernel.name, tile, launch.precision, leaves_sums);
                            variants.entry(key).or_insert_with(|| launch.clone());
                        }
                    }
                }
            }
        }
    }
    Ok(variants)
}

/// The tile of a launch.
fn tile_of(launch: &Launch) -> String {
    let value = |name| {
        let mut tile = launch.tile.iter();
        tile.find(|(n, _)| *n == name).map(|(_, value)| value)
    };
    if let Some(side) = value("OUT_TILE") {
        return format!("{side}×{side} outputs");
    }
    let sizes = [
        "TILE_PX",
        "TILE_CO",
        "TILE_K",
        "PER_THREAD_PX",
        "PER_THREAD_CO",
    ]
    .map(value);
    let [Some(px), Some(co), Some(k), Some(per_px), Some(per_co)] = sizes else {
        return String::new();
    };
    format!("{px}×{co}×{k}, {per_px}×{per_co}")
}

/// The SPIR-V of a launch, with its constants resolved and without bounds checks.
fn spirv(launch: &Launch) -> Result<Vec<u32>, Box<dyn Error>> {
    use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy::Unchecked};
    use naga::valid::{Capabilities, ValidationFlags, Validator};

    let module = naga::front::wgsl::parse_str(&launch.source()?)?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module)?;
    let constants = launch
        .overrides
        .iter()
        .map(|&(k, v)| (k.to_owned(), v))
        .collect();
    let (module, info) =
        naga::back::pipeline_constants::process_overrides(&module, &info, None, &constants)?;
    let options = naga::back::spv::Options {
        lang_version: (1, 3),
        bounds_check_policies: BoundsCheckPolicies {
            index: Unchecked,
            buffer: Unchecked,
            image_load: Unchecked,
            binding_array: Unchecked,
        },
        zero_initialize_workgroup_memory: naga::back::spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        ..Default::default()
    };
    Ok(naga::back::spv::write_vec(&module, &info, &options, None)?)
}

fn compile_all() -> Result<(), Box<dyn Error>> {
    let chip = std::env::var(CHILD)?;
    let compiler = Compiler::new()?;
    // Precisions for which the driver generates the same code share a row.
    let mut rows: BTreeMap<[String; 3], BTreeSet<Precision>> = BTreeMap::new();
    for ((kernel, tile, precision, _), launch) in variants()? {
        let report = compiler.compile(&launch)?;
        let cells = [kernel.to_owned(), tile, cells(kernel, &report)];
        rows.entry(cells).or_default().insert(precision);
    }
    for ([kernel, tile, cells], precisions) in rows {
        let precisions: Vec<String> = precisions.iter().map(Precision::to_string).collect();
        println!(
            "| {chip} | {kernel} | {} | {tile} | {cells} |",
            precisions.join(", ")
        );
    }
    Ok(())
}

/// Formats the driver's report on a kernel: the columns from the registers on.
fn cells(kernel: &str, report: &Report) -> String {
    let value = |name: &str| report.statistics.get(name).copied().unwrap_or(0);
    // The other kernels move data; their arithmetic is negligible.
    let hottest = if kernel.starts_with("conv2d_tiled") {
        let (multiply_adds, instructions) = hottest_block(&report.assembly);
        let share = multiply_adds * 100 / instructions.max(1);
        format!("{share} % ({multiply_adds} / {instructions})")
    } else {
        "–".to_owned()
    };
    let spills = value("Spilled VGPRs") + value("Spilled SGPRs");
    let numbers = [
        value("VGPRs"),
        spills,
        value("Scratch size"),
        value("LDS size"),
        value("Subgroups per SIMD"),
    ];
    format!("{} | {hottest}", numbers.map(|n| n.to_string()).join(" | "))
}

/// The block with the most multiply-adds: their number, and the number of all instructions.
fn hottest_block(assembly: &str) -> (usize, usize) {
    let mut best = (0, 0);
    let mut block = (0, 0);
    for line in assembly.lines() {
        if line.starts_with("BB") {
            best = best.max(block);
            block = (0, 0);
        }
        let mnemonic = line.split_whitespace().next().unwrap_or("");
        if mnemonic.contains('_') && mnemonic.starts_with(|c: char| c.is_ascii_lowercase()) {
            block.1 += 1;
            let multiply_add = ["v_fma", "v_fmac", "v_pk_fma", "v_dual_fma", "v_wmma"];
            block.0 += usize::from(multiply_add.iter().any(|m| mnemonic.starts_with(m)));
        }
    }
    best.max(block)
}

/// The driver's report on a pipeline.
struct Report {
    statistics: BTreeMap<String, u64>,
    assembly: String,
}

/// A device that compiles but never runs anything.
struct Compiler {
    _entry: ash::Entry,
    instance: ash::Instance,
    device: ash::Device,
}

impl Compiler {
    fn new() -> Result<Self, Box<dyn Error>> {
        // SAFETY: the loader outlives everything made from it, and nothing is destroyed before the
        // process ends.
        unsafe {
            let entry = ash::Entry::load()?;
            let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_2);
            let info = vk::InstanceCreateInfo::default().application_info(&application);
            let instance = entry.create_instance(&info, None)?;
            let physical = *instance
                .enumerate_physical_devices()?
                .first()
                .ok_or("no device")?;
            let queues = [vk::DeviceQueueCreateInfo::default().queue_priorities(&[1.0])];
            let extensions = [khr::pipeline_executable_properties::NAME.as_ptr()];
            let mut executable_info =
                vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default()
                    .pipeline_executable_info(true);
            let mut vulkan12 = vk::PhysicalDeviceVulkan12Features::default()
                .vulkan_memory_model(true)
                .shader_float16(true);
            let mut vulkan11 =
                vk::PhysicalDeviceVulkan11Features::default().storage_buffer16_bit_access(true);
            let info = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queues)
                .enabled_extension_names(&extensions)
                .push_next(&mut executable_info)
                .push_next(&mut vulkan12)
                .push_next(&mut vulkan11);
            let device = instance.create_device(physical, &info, None)?;
            Ok(Self {
                _entry: entry,
                instance,
                device,
            })
        }
    }

    fn compile(&self, launch: &Launch) -> Result<Report, Box<dyn Error>> {
        let code = spirv(launch)?;
        let bindings: Vec<vk::DescriptorSetLayoutBinding<'_>> = (0u32..)
            .zip(launch.kernel.bindings)
            .map(|(binding, _)| {
                vk::DescriptorSetLayoutBinding::default()
                    .binding(binding)
                    .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
                    .descriptor_count(1)
                    .stage_flags(vk::ShaderStageFlags::COMPUTE)
            })
            .collect();
        // SAFETY: every handle is from this device; the SPIR-V is naga's, validated; the executable
        // index 0 exists for every compute pipeline.
        unsafe {
            let module_info = vk::ShaderModuleCreateInfo::default().code(&code);
            let module = self.device.create_shader_module(&module_info, None)?;
            let set_info = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
            let sets = [self.device.create_descriptor_set_layout(&set_info, None)?];
            let layout_info = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
            let layout = self.device.create_pipeline_layout(&layout_info, None)?;
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(module)
                .name(c"main");
            let info = vk::ComputePipelineCreateInfo::default()
                .stage(stage)
                .layout(layout)
                .flags(
                    vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
                        | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR,
                );
            let pipeline = self
                .device
                .create_compute_pipelines(vk::PipelineCache::null(), &[info], None)
                .map_err(|(_, error)| error)?[0];

            let query =
                khr::pipeline_executable_properties::Device::new(&self.instance, &self.device);
            let executable = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline);
            let statistics = query
                .get_pipeline_executable_statistics(&executable)?
                .iter()
                .map(|s| {
                    (
                        CStr::from_ptr(s.name.as_ptr())
                            .to_string_lossy()
                            .into_owned(),
                        s.value.u64,
                    )
                })
                .collect();
            Ok(Report {
                statistics,
                assembly: self.assembly(&query, &executable)?,
            })
        }
    }

    /// The generated machine code as text.
    ///
    /// # Safety
    /// The pipeline must belong to this device and must have been made to capture its
    /// representations.
    unsafe fn assembly(
        &self,
        query: &khr::pipeline_executable_properties::Device,
        executable: &vk::PipelineExecutableInfoKHR<'_>,
    ) -> Result<String, Box<dyn Error>> {
        let get = query
            .fp()
            .get_pipeline_executable_internal_representations_khr;
        let handle = self.device.handle();
        let mut count = 0;
        // SAFETY: Vulkan's own three-step protocol: the count, then the sizes, then the bytes.
        unsafe {
            get(handle, executable, &raw mut count, std::ptr::null_mut()).result()?;
            let mut representations =
                vec![vk::PipelineExecutableInternalRepresentationKHR::default(); count as usize];
            get(
                handle,
                executable,
                &raw mut count,
                representations.as_mut_ptr(),
            )
            .result()?;
            let mut texts: Vec<Vec<u8>> = representations
                .iter()
                .map(|r| vec![0; r.data_size])
                .collect();
            for (representation, text) in representations.iter_mut().zip(&mut texts) {
                representation.p_data = text.as_mut_ptr().cast();
            }
            get(
                handle,
                executable,
                &raw mut count,
                representations.as_mut_ptr(),
            )
            .result()?;
            let name = |r: &vk::PipelineExecutableInternalRepresentationKHR<'_>| {
                CStr::from_ptr(r.name.as_ptr())
                    .to_string_lossy()
                    .into_owned()
            };
            let assembly = representations
                .iter()
                .position(|r| name(r).contains("Assembly"));
            let text = assembly.map(|i| String::from_utf8_lossy(&texts[i]).into_owned());
            text.ok_or_else(|| "the driver gives no assembly".into())
        }
    }
}
