//! Flags shared by several commands.

use std::path::PathBuf;

use clap::Args;
use resnet_run::{Backend, DeviceOptions, NetworkOptions};
use resnet_wgpu::internals::kernels::Precision;
use resnet_wgpu::network::{Activation, Arch, BnMode, Variant};
use resnet_wgpu::passes::Fusion;
use resnet_wgpu::picture::Reader;
use resnet_wgpu::plan::{KernelPath, Winograd};

use crate::values::{batch, named, setting, size};

/// Which adapter.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Device")]
pub(crate) struct AdapterArgs {
    /// Adapter by its number in `resnet devices`, a part of its name, or its PCI address
    #[arg(long, value_name = "N|NAME|pci:ADDRESS")]
    pub(crate) device: Option<String>,

    /// API to use, or `cpu` for no GPU at all
    #[arg(long, value_parser = named::<Backend>(Backend::NAMES))]
    pub(crate) backend: Option<Backend>,

    /// Folder for what `resnet tune` stores, compiled pipelines and checked kernels [default:
    /// `RESNET_CACHE_DIR`, else `resnet-wgpu` in the system's folder for caches]
    #[arg(long, value_name = "DIR")]
    pub(crate) cache_dir: Option<PathBuf>,
}

/// Where to run, and how.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Device")]
pub(crate) struct DeviceArgs {
    #[command(flatten)]
    pub(crate) adapter: AdapterArgs,

    /// Where activations are stored: textures are faster on software Vulkan
    #[arg(long, default_value = "auto", value_parser = named::<KernelPath>(["auto", "buffers", "textures"]))]
    pub(crate) path: KernelPath,

    /// Use the default kernels even where `resnet tune` has stored faster ones
    #[arg(long)]
    pub(crate) untuned: bool,

    /// Compile all pipelines again, and store none
    #[arg(long, overrides_with = "no_pipeline_cache")]
    pub(crate) no_pipeline_cache: bool,

    /// Do not check the kernels against the CPU when an adapter or its driver is new
    #[arg(long)]
    pub(crate) no_self_check: bool,

    /// 3×3 convolutions by Winograd's algorithm: where it should be faster, nowhere, or wherever it
    /// can be done in tiles of 2×2 or 4×4 outputs
    #[arg(long, default_value = "auto", value_parser = named::<Winograd>(["auto", "off", "f2", "f4"]))]
    pub(crate) winograd: Winograd,

    /// What feature maps and weights are stored in. Sums are in f32, but for short ones of products in
    /// f16 where the adapter multiplies halves faster
    #[arg(long, default_value = "f32", value_parser = named::<Precision>(["f32", "f16"]))]
    pub(crate) precision: Precision,

    /// Continue although the first batch has values beyond 65,504 in a layer, which no half can hold
    /// [default: an error that names the layer]
    #[arg(long)]
    pub(crate) allow_overflow: bool,

    /// Multiply halves with cooperative matrices (tensor cores), where --precision is f16 and the
    /// adapter has them: experimental, and tested before use
    #[arg(long)]
    pub(crate) cooperative_matrix: bool,
}

impl From<&AdapterArgs> for DeviceOptions {
    fn from(args: &AdapterArgs) -> Self {
        Self {
            device: args.device.clone(),
            backend: args.backend,
            cache_dir: args.cache_dir.clone(),
            ..Self::default()
        }
    }
}

impl From<&DeviceArgs> for DeviceOptions {
    fn from(args: &DeviceArgs) -> Self {
        Self {
            path: args.path,
            untuned: args.untuned,
            no_pipeline_cache: args.no_pipeline_cache,
            winograd: args.winograd,
            precision: args.precision,
            cooperative_matrix: args.cooperative_matrix,
            allow_overflow: args.allow_overflow,
            no_self_check: args.no_self_check,
            ..Self::from(&args.adapter)
        }
    }
}

/// What to run.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkArgs {
    /// Weights (safetensors, .pth), a network (ONNX, Keras) or a repository of the Hugging Face Hub
    /// [default: the bundled network of twelve solids]
    #[arg(long, value_name = "FILE|hf:OWNER/NAME")]
    pub(crate) weights: Option<PathBuf>,

    /// Network, with random weights if there is no file; a file must agree
    #[arg(long, value_parser = named::<Arch>(Arch::ALL.map(Arch::name)))]
    pub(crate) arch: Option<Arch>,

    #[command(flatten)]
    pub(crate) choices: ChoiceArgs,

    /// How far layers are merged before they run
    #[arg(long, default_value = "full", value_parser = named::<Fusion>(["none", "layers", "full"]))]
    pub(crate) fusion: Fusion,
}

/// What a weight file may leave open.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Network")]
pub(crate) struct ChoiceArgs {
    /// Rows and columns of the image [default: as the network was trained]
    #[arg(long, value_name = "HxW|N", value_parser = size)]
    pub(crate) size: Option<[usize; 2]>,

    /// Preprocessing: torchvision, torchvision-v2, timm, hf, notebook, div255, keras-caffe, keras-tf,
    /// cifar or a JSON file: with the fields that `inspect --format json` shows as `preprocess`, Hugging Face's
    /// preprocessor_config.json, or torchvision's steps, such as [{"Resize": 256}, {"CenterCrop": 224},
    /// "ToTensor", {"Normalize": {"mean": […], "std": […]}}] [default: as the weights have it]
    #[expect(clippy::doc_markdown, reason = "it is read in a terminal")]
    #[arg(long, value_name = "NAME|FILE.json")]
    pub(crate) preprocess: Option<String>,

    /// Which of several networks with the same weights this is; `inspect` lists the possible ones
    #[arg(long, value_parser = named::<Variant>(Variant::ALL.iter().map(|variant| variant.name())))]
    pub(crate) variant: Option<Variant>,

    /// What no file shows, such as `stem_pool=none`, `stem_stride=1`, `last_stride=1`, `output_stride=16`,
    /// `anti_alias=blur`, `global_pool=max`, `classifier=NAME` or `bgr=true`; can be repeated, and an unknown name
    /// lists all of them
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    pub(crate) set: Vec<(String, String)>,

    /// Statistics of batch normalisations, instead of those that the weight file states: running
    /// ones, or those of the batch, with which every image changes the results of all others
    #[arg(long, value_name = "MODE", value_parser = named::<BnMode>(["running", "batch"]))]
    pub(crate) bn_mode: Option<BnMode>,

    /// Which network of a file with several: an entry of a checkpoint, such as `state_dict_ema`, the
    /// prefix of its names, such as `encoder_q`, or an output of an ONNX file
    #[arg(long, value_name = "NAME")]
    pub(crate) entry: Option<String>,

    /// What turns scores into probabilities: softmax for one class an image, sigmoid for any number of
    /// them [default: as the weights say, else softmax, or sigmoid for a single score]
    #[arg(long, value_parser = named::<Activation>(Activation::ALL.map(Activation::name)))]
    pub(crate) activation: Option<Activation>,

    /// Refuse to assume anything that neither the weight file nor a flag says
    #[arg(long)]
    pub(crate) strict: bool,
}

impl From<&NetworkArgs> for NetworkOptions {
    fn from(args: &NetworkArgs) -> Self {
        let choices = args.choices.clone();
        Self {
            arch: args.arch,
            size: choices.size,
            preprocess: choices.preprocess,
            variant: choices.variant,
            settings: choices.set.into_iter().collect(),
            bn_mode: choices.bn_mode,
            entry: choices.entry,
            activation: choices.activation,
            strict: choices.strict,
            fusion: args.fusion,
        }
    }
}

/// What to run, and where.
#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) network: NetworkArgs,

    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

/// Images per batch.
#[derive(Args, Debug)]
pub(crate) struct BatchArgs {
    /// Images that run together
    #[arg(id = "batch", long, value_name = "N", default_value = "1", value_parser = batch)]
    pub(crate) count: usize,
}

/// The same for commands that measure.
#[derive(Args, Debug)]
pub(crate) struct BatchesArgs {
    /// Images that run together; each of a list is measured
    #[arg(
        id = "batch",
        long,
        value_name = "N,…",
        default_value = "1",
        value_delimiter = ',',
        value_parser = batch
    )]
    pub(crate) counts: Vec<usize>,
}

/// How images are read.
#[derive(Args, Debug)]
pub(crate) struct ReadArgs {
    /// Leave images as they are stored [default: turned upright, as EXIF or XMP data say]
    #[arg(long)]
    no_exif: bool,

    /// Decode what there is of a JPEG or PNG that is cut off; the rest is grey or black [default: refused]
    #[arg(long)]
    allow_truncated: bool,

    /// Decode JPEGs at a fraction of their size, at least twice that of the network's image: faster for large
    /// photographs, and their pixels differ a little from Pillow's [default: exactly Pillow's]
    #[arg(long)]
    fast_decode: bool,
}

impl ReadArgs {
    pub(crate) fn reader(&self) -> Reader {
        let mut reader = Reader::default();
        reader.upright = !self.no_exif;
        reader.truncated = self.allow_truncated;
        reader.fast = self.fast_decode;
        reader
    }
}

/// Which output of a network counts.
#[derive(Args, Debug)]
pub(crate) struct OutputArgs {
    /// Output of an ONNX file that has the scores, as --entry chooses it where --output is a file
    #[arg(long, value_name = "NAME", conflicts_with = "entry")]
    output: Option<String>,
}

impl OutputArgs {
    /// The network with this output.
    pub(crate) fn of(&self, args: &NetworkArgs) -> NetworkArgs {
        let mut args = args.clone();
        args.choices.entry = self.output.clone().or(args.choices.entry);
        args
    }
}

/// Images, and how many of them run together.
#[derive(Args, Debug)]
pub(crate) struct ImagesArgs {
    /// Images (JPEG, PNG, WebP, GIF, BMP, TIFF, TGA, PNM), `-` for stdin, folders of images, and patterns
    /// such as 'photos/**/*.jpg'; arrays (.npy) for networks of other than one or three channels
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<PathBuf>,

    /// Take the images in the folders within folders, too
    #[arg(short, long)]
    pub(crate) recursive: bool,

    #[command(flatten)]
    pub(crate) read: ReadArgs,

    #[command(flatten)]
    pub(crate) batch: BatchArgs,
}

/// Names of the classes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Network")]
pub(crate) struct LabelArgs {
    /// Names of the classes: a text file with one a line, JSON, or `imagenet1k` [default: those in the
    /// weight file, or ImageNet's where it was trained on them]
    #[arg(long, value_name = "FILE|imagenet1k")]
    pub(crate) labels: Option<String>,
}
