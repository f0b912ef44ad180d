//! One file per shader: its bindings, its constants, and how a layer becomes a launch.
//!
//! A [`Kernel`] declares a WGSL file once; `tests/shaders` proves the declaration equal to the text
//! by reflection, without a GPU, and `scripts/compilers` has other compilers than naga read it. A
//! geometry struct per kernel turns shapes into a [`Launch`]: override constants, tile geometry and
//! the number of workgroups. Nothing here uses wgpu.
//!
//! To add a kernel: an oracle in `reference/`, the shader, the file here with a line in [`ALL`] and
//! the [`Packing`] of its parameters, cases in `tests/kernels.rs`, and a row in the table of the
//! back end in [`crate::plan`] that runs it. Shader and module are named after the kernel; those
//! that keep activations in [`textures`] are in folders of that name.

use std::borrow::Cow;
use std::fmt;

use twox_hash::xxhash3_128;

pub use self::packing::Packing;
pub(crate) use self::packing::Piece;
pub use self::precision::Precision;
pub use self::specialise::specialise;
use self::unroll::unroll;
use crate::error::Error;

pub mod attention_pool;
pub mod avg_pool;
pub mod avg_pool_gradient;
pub mod batch_norm;
pub mod batch_norm_of_batch;
pub mod blur_pool;
pub mod channel_conv;
pub mod channel_dot;
pub mod class_gradient;
pub mod conv2d;
pub mod conv2d_cooperative;
pub mod conv2d_grouped;
pub mod conv2d_reduce;
pub mod conv2d_tiled;
pub mod conv2d_tiled_f16;
pub mod dilate;
pub mod flatten;
pub mod gate;
pub mod global_avg_pool;
pub mod group_norm;
pub mod heat_map;
pub mod image_to_tensor;
pub mod linear;
pub mod max_pool;
pub mod narrow;
mod packing;
pub mod precision;
pub mod relu;
pub mod relu_gradient;
pub mod resample;
pub mod resample_columns;
pub mod resample_rows;
pub mod residual_add;
pub mod resize;
pub mod sigmoid;
pub mod similarity;
pub mod softmax;
mod specialise;
pub mod textures;
pub mod top_k;
pub mod unit_vector;
mod unroll;
pub mod widen;
pub mod winograd;
pub mod winograd_input;
pub mod winograd_output;

/// Every kernel of the crate.
pub const ALL: &[&Kernel] = &[
    &attention_pool::KERNEL,
    &avg_pool::KERNEL,
    &avg_pool_gradient::KERNEL,
    &textures::avg_pool_texture::KERNEL,
    &batch_norm::KERNEL,
    &batch_norm_of_batch::KERNEL,
    &blur_pool::KERNEL,
    &channel_conv::KERNEL,
    &channel_dot::KERNEL,
    &class_gradient::KERNEL,
    &conv2d_cooperative::KERNEL,
    &conv2d_grouped::KERNEL,
    &textures::conv2d_quad::KERNEL,
    &conv2d_reduce::KERNEL,
    &textures::conv2d_texture::KERNEL,
    &conv2d_tiled::KERNEL,
    &conv2d_tiled_f16::KERNEL,
    &dilate::KERNEL,
    &flatten::KERNEL,
    &gate::KERNEL,
    &textures::gate_texture::KERNEL,
    &global_avg_pool::KERNEL,
    &textures::global_avg_pool_texture::KERNEL,
    &group_norm::KERNEL,
    &heat_map::KERNEL,
    &image_to_tensor::KERNEL,
    &textures::image_to_tensor_texture::KERNEL,
    &linear::KERNEL,
    &textures::linear_texture::KERNEL,
    &max_pool::KERNEL,
    &textures::max_pool_texture::KERNEL,
    &narrow::KERNEL,
    &relu::KERNEL,
    &relu_gradient::KERNEL,
    &textures::relu_gradient_texture::KERNEL,
    &resample_columns::KERNEL,
    &resample_rows::KERNEL,
    &residual_add::KERNEL,
    &textures::residual_add_texture::KERNEL,
    &resize::KERNEL,
    &sigmoid::KERNEL,
    &similarity::KERNEL,
    &textures::similarity_texture::KERNEL,
    &softmax::KERNEL,
    &textures::tensor_to_texture::KERNEL,
    &textures::texture_to_tensor::KERNEL,
    &top_k::KERNEL,
    &unit_vector::KERNEL,
    &widen::KERNEL,
    &winograd_input::KERNEL,
    &textures::winograd_input_texture::KERNEL,
    &winograd_output::KERNEL,
    &textures::winograd_output_texture::KERNEL,
];

/// The kind of resource that holds an activation or a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Storage {
    /// A storage buffer of four-component vectors.
    Buffer,
    /// A folded storage texture with four components (`tensor::FOLD_WIDTH`).
    Texture,
}

/// How a kernel uses a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Read only.
    Read,
    /// Write only: a texture.
    Write,
    /// Written and possibly read: a buffer, or a texture whose texels are replaced one by one.
    ReadWrite,
    /// Read through the texture unit: one of this crate's textures, or one of the host's in any
    /// float format.
    Sample,
}

/// One resource of a kernel; its position in the list is its `@binding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Binding {
    /// The name of the variable in WGSL.
    pub name: &'static str,
    /// The kind of resource.
    pub storage: Storage,
    /// How it is used.
    pub access: Access,
    /// Whether it has the precision of the launch; otherwise it is always in single precision.
    pub stored: bool,
}

const fn binding(name: &'static str, storage: Storage, access: Access, stored: bool) -> Binding {
    Binding {
        name,
        storage,
        access,
        stored,
    }
}

/// A buffer that is read.
const fn read(name: &'static str) -> Binding {
    binding(name, Storage::Buffer, Access::Read, true)
}

/// A buffer that is read, always in single precision.
const fn read_single(name: &'static str) -> Binding {
    binding(name, Storage::Buffer, Access::Read, false)
}

/// A buffer that is written.
const fn write(name: &'static str) -> Binding {
    binding(name, Storage::Buffer, Access::ReadWrite, true)
}

/// A buffer that is written, always in single precision.
const fn write_single(name: &'static str) -> Binding {
    binding(name, Storage::Buffer, Access::ReadWrite, false)
}

/// A texture that is read.
const fn load(name: &'static str) -> Binding {
    binding(name, Storage::Texture, Access::Read, true)
}

/// A texture that is written.
const fn store(name: &'static str) -> Binding {
    binding(name, Storage::Texture, Access::Write, true)
}

/// A texture that is written, and possibly read before.
const fn update(name: &'static str) -> Binding {
    binding(name, Storage::Texture, Access::ReadWrite, true)
}

/// A texture that is read through the texture unit.
const fn sample(name: &'static str) -> Binding {
    binding(name, Storage::Texture, Access::Sample, true)
}

/// A shader file, declared once.
#[derive(PartialEq, Eq, Hash)]
pub struct Kernel {
    /// File stem, pipeline label and bench id.
    pub name: &'static str,
    /// The WGSL text.
    pub source: &'static str,
    /// The number of threads per workgroup, with the tile in the text.
    pub threads: usize,
    /// The resources of group 0, in the order of their `@binding`.
    pub bindings: &'static [Binding],
}

impl Kernel {
    /// Whether it multiplies in half precision, which not every device supports, and stores only
    /// that.
    pub fn is_half(&self) -> bool {
        self.source.contains("\nenable f16;\n")
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A kernel with everything that is decided when the plan is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// The shader.
    pub kernel: &'static Kernel,
    /// The precision of its [stored](Binding::stored) bindings.
    pub precision: Precision,
    /// The values of its `override` constants: shapes and flags.
    pub overrides: Vec<(&'static str, f64)>,
    /// Values that replace `const` declarations: tile geometry. Other constants keep the values in
    /// the file.
    pub tile: Vec<(&'static str, u32)>,
    /// The values of the fields of its `var<immediate>`, in order: shapes that do not require a new
    /// pipeline.
    pub immediates: Vec<(&'static str, i32)>,
    /// Threads per workgroup.
    pub threads: usize,
    /// Number of workgroups along x, y and z.
    pub workgroups: [u64; 3],
}

impl Launch {
    /// A launch in single precision without constants.
    const fn new(kernel: &'static Kernel, workgroups: [u64; 3]) -> Self {
        Self {
            kernel,
            precision: Precision::F32,
            overrides: Vec::new(),
            tile: Vec::new(),
            immediates: Vec::new(),
            threads: kernel.threads,
            workgroups,
        }
    }

    /// A launch of a grid-stride loop over `len` items; `STRIDE_THREADS` is added to the overrides.
    fn over(
        kernel: &'static Kernel,
        len: usize,
        overrides: impl IntoIterator<Item = (&'static str, f64)>,
    ) -> Self {
        let workgroups = grid_stride(len, kernel.threads);
        let stride = ("STRIDE_THREADS", number(workgroups * kernel.threads));
        Self {
            overrides: overrides.into_iter().chain([stride]).collect(),
            ..Self::new(kernel, grid(workgroups, 1))
        }
    }

    /// A launch of a grid-stride loop over `len` items for a kernel that takes its sizes as
    /// immediates, the last of which is `stride_threads`.
    fn over_sized<const N: usize>(
        kernel: &'static Kernel,
        len: usize,
        sizes: [(&'static str, usize); N],
    ) -> Self {
        let workgroups = grid_stride(len, kernel.threads);
        let stride = ("stride_threads", workgroups * kernel.threads);
        let sizes = sizes.into_iter().chain([stride]);
        Self {
            immediates: sizes.map(|(name, size)| (name, immediate(size))).collect(),
            ..Self::new(kernel, grid(workgroups, 1))
        }
    }

    /// The same launch for another kernel with the same constants.
    fn by(self, kernel: &'static Kernel) -> Self {
        Self { kernel, ..self }
    }

    /// The same launch with data stored in this precision; a kernel that stores nothing is left
    /// unchanged.
    pub fn storing(self, precision: Precision) -> Self {
        let stores = self.kernel.bindings.iter().any(|binding| binding.stored);
        Self {
            precision: if stores { precision } else { Precision::F32 },
            ..self
        }
    }

    /// Identifies the pipeline: launches with the same pipeline differ only in grid and immediates.
    pub fn pipeline_key(&self) -> PipelineKey {
        let bits = |&(name, value): &(&'static str, f64)| (name, value.to_bits());
        PipelineKey {
            module: self.module_key(),
            overrides: self.overrides.iter().map(bits).collect(),
        }
    }

    /// Identifies the shader module.
    pub fn module_key(&self) -> ModuleKey {
        ModuleKey {
            kernel: self.kernel.name,
            precision: self.precision,
            tile: self.tile.clone(),
        }
    }

    /// The WGSL text with this launch's tile geometry and precision, with its marked loops
    /// written out.
    ///
    /// # Errors
    /// [`Error::Specialise`] if a tile constant is unknown or declared twice, if a loop cannot be written
    /// out, or if the kernel does not say what it stores.
    pub fn source(&self) -> Result<Cow<'static, str>, Error> {
        let source = specialise(self.kernel, &self.tile)?;
        let source = unroll(self.kernel, source)?;
        precision::fit(self.kernel, source, self.precision)
    }
}

/// Distinguishes shader modules: kernel, precision and tile geometry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ModuleKey {
    kernel: &'static str,
    precision: Precision,
    tile: Vec<(&'static str, u32)>,
}

/// Distinguishes pipelines: module and override constants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PipelineKey {
    module: ModuleKey,
    /// Values as bits: they are counts and flags, never NaN.
    overrides: Vec<(&'static str, u64)>,
}

/// A hash that changes with any kernel: XXH3-128 of the names and texts of [`ALL`] in order, each
/// followed by a zero byte.
pub fn set_hash() -> u128 {
    let mut hasher = xxhash3_128::Hasher::new();
    for kernel in ALL {
        for text in [kernel.name, kernel.source] {
            hasher.write(text.as_bytes());
            hasher.write(&[0]);
        }
    }
    hasher.finish_128()
}

/// Maximum number of workgroups in an elementwise dispatch; a grid-stride loop covers the rest. It
/// is enough to fill any GPU, and far below 65,535, the default limit of WebGPU.
const MAX_GRID_STRIDE_WORKGROUPS: usize = 16_384;

/// The workgroups of a grid-stride loop over `len` items.
fn grid_stride(len: usize, threads: usize) -> usize {
    len.div_ceil(threads).clamp(1, MAX_GRID_STRIDE_WORKGROUPS)
}

/// A two-dimensional grid.
const fn grid(x: usize, y: usize) -> [u64; 3] {
    [x as u64, y as u64, 1]
}

/// A size as an immediate. Whatever is indexed fits into a texture of 2^28 texels; the planner
/// refuses larger activations.
fn immediate(size: usize) -> i32 {
    i32::try_from(size).unwrap_or(i32::MAX)
}

/// A size as the value of an override constant, which is exact below 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "sizes that fit a buffer are far below 2^53"
)]
const fn number(size: usize) -> f64 {
    size as f64
}

/// A flag as the value of an override constant.
const fn flag(set: bool) -> f64 {
    if set { 1.0 } else { 0.0 }
}
