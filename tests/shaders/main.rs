//! Every shader on disk: declared, valid, bound as declared, within the default limits, and
//! translatable for every back end with the constants of real layers. Needs no GPU.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path as FilePath;

use naga::back::PipelineConstants;
use naga::valid::{Capabilities as Features, ValidationFlags, Validator};
use resnet_wgpu::internals::kernels::precision::{BUFFER_SECTION, TEXTURE_SECTION};
use resnet_wgpu::internals::kernels::{self, Access, Kernel, Launch, Precision, Storage};

mod launches;
mod pipelines;

use launches::launches;

/// WebGPU's default limits.
const MAX_INVOCATIONS: u32 = 256;
const MAX_WORKGROUP_BYTES: u32 = 16_384;
const MAX_STORAGE_BUFFERS: usize = 8;
const MAX_STORAGE_TEXTURES: usize = 4;

fn parse(name: &str, source: &str) -> naga::Module {
    naga::front::wgsl::parse_str(source)
        .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string_with_path(source, name)))
}

fn validate(name: &str, module: &naga::Module) -> naga::valid::ModuleInfo {
    // What kernels on textures may use and no other kernel does: see the test below.
    let allowed = Features::SUBGROUP | Features::IMMEDIATES;
    let capabilities = if uses_textures(name) {
        allowed
    } else if is_cooperative(name) {
        Features::SHADER_FLOAT16 | Features::COOPERATIVE_MATRIX | Features::SUBGROUP
    } else if kernel(name).is_half() {
        Features::SHADER_FLOAT16
    } else {
        Features::empty()
    };
    // WebGPU itself has this, for `pack2x16float`.
    let capabilities = capabilities | Features::SHADER_FLOAT16_IN_FLOAT32;
    Validator::new(ValidationFlags::all(), capabilities)
        .validate(module)
        .unwrap_or_else(|error| panic!("{name}: {error:?}"))
}

fn is_cooperative(name: &str) -> bool {
    kernel(name)
        .source
        .contains("\nenable wgpu_cooperative_matrix;\n")
}

fn kernel(name: &str) -> &'static Kernel {
    kernels::ALL.iter().find(|k| k.name == name).unwrap()
}

/// Whether a kernel reads or writes activations in textures, as opposed to the host's textures.
fn uses_textures(name: &str) -> bool {
    let mut bindings = kernel(name).bindings.iter();
    bindings.any(|b| b.storage == Storage::Texture && b.access != Access::Sample)
}

fn launches_by_kernel() -> BTreeMap<&'static str, Vec<Launch>> {
    let mut by_kernel: BTreeMap<&str, Vec<Launch>> = BTreeMap::new();
    for launch in launches() {
        by_kernel
            .entry(launch.kernel.name)
            .or_default()
            .push(launch);
    }
    by_kernel
}

/// The module of a launch as the driver receives it: specialised, overrides resolved, validated.
fn resolved(launch: &Launch) -> (naga::Module, naga::valid::ModuleInfo) {
    let name = launch.kernel.name;
    let source = launch.source().unwrap();
    let module = parse(name, &source);
    let info = validate(name, &module);
    let constants: PipelineConstants = launch
        .overrides
        .iter()
        .map(|&(k, v)| (k.to_owned(), v))
        .collect();
    let (module, info) =
        naga::back::pipeline_constants::process_overrides(&module, &info, None, &constants)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    (module.into_owned(), info.into_owned())
}

/// A kernel's file carries its name; those that keep activations in textures are in their own
/// folder.
fn path_of(kernel: &Kernel) -> String {
    let name = kernel.name;
    if uses_textures(name) {
        format!("textures/{name}")
    } else {
        name.to_owned()
    }
}

#[test]
fn every_shader_on_disk_is_a_declared_kernel_and_the_reverse() {
    let on_disk = |root: &str, extension: &str| -> BTreeSet<String> {
        let root = FilePath::new(env!("CARGO_MANIFEST_DIR")).join(root);
        let folders = [("", root.clone()), ("textures/", root.join("textures"))];
        let files = folders.iter().flat_map(|(prefix, folder)| {
            let paths = std::fs::read_dir(folder)
                .unwrap()
                .map(|e| e.unwrap().path());
            let paths = paths.filter(|p| p.extension().is_some_and(|e| e == extension));
            paths.map(move |p| format!("{prefix}{}", p.file_stem().unwrap().to_string_lossy()))
        });
        files.collect()
    };
    let declared: BTreeSet<String> = kernels::ALL.iter().copied().map(path_of).collect();
    assert_eq!(
        on_disk("shaders", "wgsl"),
        declared,
        "shaders/ and kernels::ALL"
    );
    let modules = on_disk("src/kernels", "rs");
    let missing: Vec<_> = declared.difference(&modules).collect();
    assert!(
        missing.is_empty(),
        "kernels without a module of their name: {missing:?}"
    );
}

#[test]
fn every_kernel_is_planned_by_the_cases_of_this_file() {
    let planned: BTreeSet<&str> = launches_by_kernel().into_keys().collect();
    let declared: BTreeSet<&str> = kernels::ALL.iter().map(|k| k.name).collect();
    assert_eq!(planned, declared, "add a layer to `launches`");
}

#[test]
fn every_shader_is_valid_and_only_those_on_textures_use_optional_capabilities() {
    for kernel in kernels::ALL {
        validate(kernel.name, &parse(kernel.name, kernel.source));
    }
}

fn reflected_bindings(kernel: &Kernel) -> Vec<(String, u32, Storage, Access)> {
    let module = parse(kernel.name, kernel.source);
    let mut bindings: Vec<(String, u32, Storage, Access)> = module
        .global_variables
        .iter()
        .filter_map(|(_, variable)| {
            let binding = variable.binding.as_ref()?;
            assert_eq!(binding.group, 0, "{}: one bind group", kernel.name);
            let (storage, access) = match (variable.space, &module.types[variable.ty].inner) {
                (naga::AddressSpace::Storage { access }, _) => (Storage::Buffer, access),
                (
                    _,
                    &naga::TypeInner::Image {
                        class: naga::ImageClass::Storage { format, access },
                        dim: naga::ImageDimension::D2,
                        arrayed: false,
                    },
                ) => {
                    assert_eq!(format, naga::StorageFormat::Rgba32Float, "{}", kernel.name);
                    (Storage::Texture, access)
                }
                (
                    _,
                    naga::TypeInner::Image {
                        class:
                            naga::ImageClass::Sampled {
                                kind: naga::ScalarKind::Float,
                                multi: false,
                            },
                        dim: naga::ImageDimension::D2,
                        arrayed: false,
                    },
                ) => {
                    let name = variable.name.clone().unwrap();
                    return Some((name, binding.binding, Storage::Texture, Access::Sample));
                }
                _ => panic!("{}: only storage buffers and textures", kernel.name),
            };
            let access = match (
                access.contains(naga::StorageAccess::LOAD),
                access.contains(naga::StorageAccess::STORE),
            ) {
                (true, true) => Access::ReadWrite,
                (false, true) => Access::Write,
                (_, false) => Access::Read,
            };
            let name = variable.name.clone().unwrap();
            Some((name, binding.binding, storage, access))
        })
        .collect();
    bindings.sort_by_key(|binding| binding.1);
    bindings
}

#[test]
fn the_bindings_of_every_shader_are_those_declared_in_rust() {
    for kernel in kernels::ALL {
        let declared: Vec<(String, u32, Storage, Access)> = (0u32..)
            .zip(kernel.bindings)
            .map(|(i, b)| (b.name.to_owned(), i, b.storage, b.access))
            .collect();
        assert_eq!(reflected_bindings(kernel), declared, "{}", kernel.name);
        let count = |storage| {
            kernel
                .bindings
                .iter()
                .filter(|b| b.storage == storage)
                .count()
        };
        assert!(
            count(Storage::Buffer) <= MAX_STORAGE_BUFFERS,
            "{}",
            kernel.name
        );
        assert!(
            count(Storage::Texture) <= MAX_STORAGE_TEXTURES,
            "{}",
            kernel.name
        );
        let last = kernel.bindings.last().unwrap();
        assert_eq!(last.name, "output", "{}: the result is last", kernel.name);
        let is_written = matches!(last.access, Access::Write | Access::ReadWrite);
        assert!(is_written, "{}", kernel.name);
    }
}

#[test]
fn what_a_kernel_on_buffers_stores_is_in_one_section_and_has_the_size_of_the_precision() {
    for launch in launches() {
        let kernel = launch.kernel;
        let sections = kernel.source.matches(BUFFER_SECTION).count();
        let on_buffers = |b: &&kernels::Binding| b.storage == Storage::Buffer && b.stored;
        let stores = kernel.bindings.iter().any(|b| on_buffers(&b));
        let has_its_own = kernel.is_half();
        assert_eq!(sections == 1, stores && !has_its_own, "{}", kernel.name);
        let module = parse(kernel.name, &launch.source().unwrap());
        for (index, binding) in (0u32..).zip(kernel.bindings) {
            if !on_buffers(&binding) {
                continue;
            }
            let bound = |v: &naga::GlobalVariable| v.binding.is_some_and(|b| b.binding == index);
            let (_, variable) = module
                .global_variables
                .iter()
                .find(|(_, v)| bound(v))
                .unwrap();
            let naga::TypeInner::Array { stride, .. } = module.types[variable.ty].inner else {
                panic!("{}: {} is an array", kernel.name, binding.name);
            };
            let scalar = u32::try_from(launch.precision.bytes()).unwrap();
            // Matrices are loaded from arrays of scalars.
            let len = if is_cooperative(kernel.name) && binding.name == "weight" {
                1
            } else {
                4
            };
            assert_eq!(stride, scalar * len, "{}: {}", kernel.name, binding.name);
        }
    }
}

#[test]
fn half_precision_changes_the_format_of_textures_and_rounds_what_is_stored() {
    for launch in launches().iter().filter(|l| uses_textures(l.kernel.name)) {
        let single = launch.clone().storing(Precision::F32).source().unwrap();
        let half = launch.clone().storing(Precision::F16).source().unwrap();
        let formats = single.matches("rgba32float").count();
        let bindings = launch.kernel.bindings.iter();
        let textures =
            bindings.filter(|b| b.storage == Storage::Texture && b.access != Access::Sample);
        assert_eq!(
            formats,
            textures.count(),
            "{}: in bindings only",
            launch.kernel.name
        );
        let name = launch.kernel.name;
        let stores = single.matches("textureStore(output, ").count();
        assert_eq!(single.matches(TEXTURE_SECTION).count(), stores, "{name}");
        assert_eq!(single.matches(", narrowed(").count(), stores, "{name}");
        // Apart from this section, only the format differs.
        let single = single.replace("rgba32float", "rgba16float");
        let mut around = single.split(TEXTURE_SECTION);
        let before = around.next().unwrap();
        let after = around.next().unwrap_or_default();
        assert!(half.starts_with(before) && half.ends_with(after), "{name}");
        assert_eq!(single == half, stores == 0, "{name}");
    }
}

/// The source of a shader function, including the comment before it.
fn function<'a>(kernel: &'a Kernel, name: &str) -> Option<&'a str> {
    let at = kernel.source.find(&format!("\nfn {name}("))?;
    let comment = kernel.source[..at].rfind("\n\n")?;
    let end = at + kernel.source[at..].find("\n}\n")?;
    Some(&kernel.source[comment..end])
}

#[test]
fn kernels_that_do_the_same_say_it_in_the_same_words() {
    // Code that WGSL modules cannot share is written once and copied.
    let with_residual = |k: &&&Kernel| {
        let mut bindings = k.bindings.iter();
        bindings.any(|b| b.name == "residual" && b.storage == Storage::Buffer)
            && k.bindings.iter().any(|b| b.name == "bias")
    };
    let ends: BTreeSet<_> = kernels::ALL
        .iter()
        .filter(with_residual)
        .map(|kernel| function(kernel, "finished"))
        .collect();
    assert_eq!(ends.len(), 1, "bias, residual, ReLU: {ends:?}");
    assert!(ends.iter().all(Option::is_some), "there is an end");
    let on_buffers = function(kernel("winograd_output"), "transformed");
    let on_textures = function(kernel("winograd_output_texture"), "transformed");
    assert!(on_buffers.is_some(), "there is a transform");
    assert_eq!(on_buffers, on_textures, "from components to pixels");
    let window_of = |name| function(kernel(name), "window_of");
    for half in ["conv2d_tiled_f16", "conv2d_cooperative"] {
        assert!(window_of(half).is_some(), "{half}");
        assert_eq!(window_of("conv2d_tiled"), window_of(half), "{half}");
    }
    let projected_pixel = |name| function(kernel(name), "projected_pixel");
    assert!(projected_pixel("conv2d_tiled").is_some(), "there is one");
    let [single, half] = ["conv2d_tiled", "conv2d_tiled_f16"].map(projected_pixel);
    assert_eq!(single, half, "the pixel that a projection reads");
}

#[test]
fn the_immediates_of_every_shader_are_those_that_its_launch_sets() {
    for (name, launches) in launches_by_kernel() {
        let module = parse(name, launches[0].kernel.source);
        let mut declared: Vec<(String, u32)> = Vec::new();
        for (_, variable) in module.global_variables.iter() {
            if variable.space != naga::AddressSpace::Immediate {
                continue;
            }
            let naga::TypeInner::Struct { members, .. } = &module.types[variable.ty].inner else {
                panic!("{name}: immediates are a struct");
            };
            for member in members {
                let size = module.types[member.ty].inner.size(module.to_ctx());
                assert_eq!(size, 4, "{name}: immediates are 32-bit scalars");
                declared.push((member.name.clone().unwrap(), member.offset));
            }
        }
        for launch in launches {
            let set: Vec<(String, u32)> = launch
                .immediates
                .iter()
                .zip((0u32..).step_by(4))
                .map(|((field, _), offset)| ((*field).to_owned(), offset))
                .collect();
            assert_eq!(set, declared, "{name}");
            let bytes = set.len() as u64 * 4;
            let allowed = kernels::textures::conv2d_texture::IMMEDIATE_BYTES;
            assert!(bytes <= allowed, "{name}: {bytes} bytes of immediates");
        }
    }
}

#[test]
fn every_shader_on_textures_folds_them_as_the_host_does() {
    for kernel in kernels::ALL.iter().filter(|k| uses_textures(k.name)) {
        let shift = resnet_wgpu::internals::FOLD_WIDTH.ilog2();
        let declaration = format!("\nconst FOLD_SHIFT: u32 = {shift}u;\n");
        assert!(kernel.source.contains(&declaration), "{}", kernel.name);
    }
}

#[test]
fn the_overrides_of_every_shader_are_those_that_its_launch_sets() {
    for (name, launches) in launches_by_kernel() {
        let module = parse(name, launches[0].kernel.source);
        let mut declared: Vec<String> = Vec::new();
        for (_, constant) in module.overrides.iter() {
            let text = constant.name.clone().unwrap();
            assert!(
                constant.init.is_none(),
                "{name}: override {text} must not have a default"
            );
            declared.push(text);
        }
        declared.sort();
        for launch in launches {
            let mut set: Vec<String> = launch
                .overrides
                .iter()
                .map(|(k, _)| (*k).to_owned())
                .collect();
            set.sort();
            assert_eq!(set, declared, "{name}");
        }
    }
}

#[test]
fn every_launch_stays_within_the_default_limits_and_says_its_workgroup_size() {
    for launch in launches() {
        let name = launch.kernel.name;
        let (module, _) = resolved(&launch);
        let [x, y, z] = module.entry_points[0].workgroup_size;
        assert_eq!((x * y * z) as usize, launch.threads, "{name}: threads");
        assert!(x * y * z <= MAX_INVOCATIONS, "{name}: invocations");
        let layouts = module.to_ctx();
        let bytes: u32 = module
            .global_variables
            .iter()
            .filter(|(_, v)| v.space == naga::AddressSpace::WorkGroup)
            .map(|(_, v)| module.types[v.ty].inner.size(layouts))
            .sum();
        assert!(
            bytes <= MAX_WORKGROUP_BYTES,
            "{name}: {bytes} bytes of workgroup memory"
        );
    }
}

#[test]
fn every_launch_translates_to_every_backend() {
    for launch in launches() {
        let name = launch.kernel.name;
        let (module, info) = resolved(&launch);

        let options = naga::back::spv::Options {
            lang_version: (1, 3),
            ..Default::default()
        };
        naga::back::spv::write_vec(&module, &info, &options, None)
            .unwrap_or_else(|e| panic!("{name}: SPIR-V: {e}"));

        if is_cooperative(name) {
            // Metal multiplies 8×8 matrices, other back ends none; wgpu offers this kernel on
            // Vulkan only.
            continue;
        }
        let options = naga::back::msl::Options {
            fake_missing_bindings: true,
            lang_version: (2, 4),
            ..Default::default()
        };
        let pipeline = naga::back::msl::PipelineOptions::default();
        naga::back::msl::write_string(&module, &info, &options, &pipeline)
            .unwrap_or_else(|e| panic!("{name}: MSL: {e}"));

        let options = naga::back::hlsl::Options {
            fake_missing_bindings: true,
            shader_model: naga::back::hlsl::ShaderModel::V6_2,
            immediates_target: Some(naga::back::hlsl::BindTarget {
                space: 1,
                ..Default::default()
            }),
            ..Default::default()
        };
        let pipeline = naga::back::hlsl::PipelineOptions::default();
        let mut text = String::new();
        naga::back::hlsl::Writer::new(&mut text, &options, &pipeline)
            .write(&module, &info, None)
            .unwrap_or_else(|e| panic!("{name}: HLSL: {e}"));
        // naga writes a helper for each of its types; types of different names may be one in HLSL.
        let mut defined = BTreeSet::new();
        for line in text
            .lines()
            .filter(|line| line.ends_with(") {") || line.ends_with(')'))
        {
            let is_function = line.starts_with(|c: char| c.is_alphabetic());
            assert!(
                !is_function || defined.insert(line),
                "{name}: HLSL: twice: {line}"
            );
        }

        if launch.kernel.is_half() {
            // OpenGL has no half-precision arithmetic.
            continue;
        }
        let options = naga::back::glsl::Options {
            version: naga::back::glsl::Version::new_gles(310),
            ..Default::default()
        };
        let pipeline = naga::back::glsl::PipelineOptions {
            shader_stage: naga::ShaderStage::Compute,
            entry_point: "main".to_owned(),
            multiview: None,
        };
        let mut text = String::new();
        let policies = naga::proc::BoundsCheckPolicies::default();
        naga::back::glsl::Writer::new(&mut text, &module, &info, &options, &pipeline, policies)
            .and_then(|mut writer| writer.write())
            .unwrap_or_else(|e| panic!("{name}: GLSL: {e}"));
    }
}

#[test]
fn every_shader_opens_with_its_contract() {
    let root = FilePath::new(env!("CARGO_MANIFEST_DIR"));
    let keys = [
        "Layout",
        "Workgroup",
        "Thread",
        "Grid",
        "Memory",
        "Barriers",
        "Edges",
        "Host",
        "Reference",
    ];
    for kernel in kernels::ALL {
        let name = kernel.name;
        let header: Vec<&str> = kernel
            .source
            .lines()
            .take_while(|line| line.starts_with("//"))
            .collect();
        assert_eq!(header[0], format!("// {name}"), "{name}: first line");
        for key in keys {
            let present = header.iter().any(|line| {
                line.split_whitespace().nth(1) == Some(key)
                    || line.contains(&format!("     {key}  "))
            });
            assert!(present, "{name}: the contract lacks {key}");
        }
        for word in header.iter().flat_map(|line| line.split_whitespace()) {
            if word.starts_with("src/") {
                assert!(root.join(word).exists(), "{name}: {word} does not exist");
            }
        }
    }
}
