//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use resnet_wgpu::kernels::Precision;
use resnet_wgpu::models::{Arch, BnMode, Variant};
use resnet_wgpu::passes::Fusion;
use resnet_wgpu::plan::{Path, Winograd};
use resnet_wgpu::wgpu;

use crate::failure::EXIT_CODES;
use crate::output::Format;
use crate::values::{
    arch_parser, batch, bn_mode_parser, count, formats, fusion_parser, npy, path_parser, png,
    precision_parser, safetensors, seconds, size, svg, threshold, tolerance, variant_parser,
    winograd_parser,
};

/// ResNet on any GPU: handwritten WGSL kernels over wgpu.
#[derive(Debug, Parser)]
#[command(
    name = "resnet",
    version,
    arg_required_else_help = true,
    after_help = EXAMPLES,
    after_long_help = format!("{EXAMPLES}\n{EXIT_CODES}"),
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Show errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    /// Show more of what is going on; repeat for still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

const EXAMPLES: &str = "\
Results go to stdout, notes and progress to stderr.
WGPU_BACKEND, WGPU_ADAPTER_NAME, RESNET_CACHE_DIR and RUST_LOG are honoured; flags win over them.

Examples:
  resnet devices
  resnet classify assets/torus.png
  resnet classify --weights resnet50.safetensors cat.jpg
  resnet bench --arch resnet50 --batch 1,8
";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the adapters and what they offer
    #[command(
        after_help = "Examples:\n  resnet devices\n  resnet devices --backend gl\n  \
        resnet devices --format json\n\n\
        The adapter marked with * is the one that other commands use."
    )]
    Devices(DevicesArgs),

    /// Say what is in images
    #[command(after_help = "Examples:\n  resnet classify assets/torus.png\n  \
        resnet classify --weights resnet50.safetensors cat.jpg\n  \
        resnet classify --weights signs.safetensors --labels signs.txt --batch 8 photos/\n  \
        resnet classify --weights resnet50.safetensors --format jsonl *.jpg | jq .top[0].label\n\n\
        An image that cannot be read is one line on stderr; the others are classified, and the \
        exit code is 1.")]
    Classify(ClassifyArgs),

    /// Write the vector that the classifier reads, for each image
    #[command(
        after_help = "Examples:\n  resnet embed photos/ -o photos.npy > photos.txt\n  \
        resnet embed --weights resnet50.safetensors --normalize cat.jpg dog.jpg\n\n\
        The vector is the network after its last pooling: 2048 numbers for ResNet-50. The .npy file \
        has one row for each image, 32-bit floats; stdout then lists the images of the rows. \
        Without --output, stdout has one JSON document a line.\n\
        An image that cannot be read is one line on stderr; the others are embedded, and the exit \
        code is 1."
    )]
    Embed(EmbedArgs),

    /// Show what the network looks at, as a heat map over the image
    #[command(after_help = "Examples:\n  resnet cam cat.jpg -o map.png\n  \
        resnet cam --weights resnet50.safetensors --class 'tabby' cat.jpg -o map.png\n  \
        resnet cam --at layer3.5.relu3 cat.jpg -o map.png\n\n\
        Red is what speaks most for the class, blue what speaks least or against it. The part of \
        the image that the network does not see stays as it is.\n\
        The map is the class activation map of the last feature map, if that has at least 7x7 \
        pixels; else that of the first block of the last stage of at least 4x4, where the \
        classifier's weights give way to the gradient of the class, of which the positive part \
        counts (Layer-CAM).")]
    Cam(CamArgs),

    /// Show the network that a weight file holds, and how it would be run
    #[command(
        after_help = "Examples:\n  resnet inspect --weights resnet50.safetensors\n  \
        resnet inspect --arch resnet18 --size 160x240 --plan\n  \
        resnet inspect --arch resnet50 --plan --fusion none\n\n\
        Needs no GPU. MACs are multiply-accumulate operations of convolutions and linear layers."
    )]
    Inspect(InspectArgs),

    /// Download weights from the Hugging Face Hub into its cache, and print their path
    #[command(after_help = "Examples:\n  resnet fetch timm/resnet50.a1_in1k\n  \
        resnet fetch microsoft/resnet-50@main\n  \
        resnet classify --weights hf:timm/resnet50.a1_in1k cat.jpg\n\n\
        HF_ENDPOINT, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE and HF_TOKEN are honoured. A download \
        that was cut off goes on where it ended; what arrives is checked against its hash.")]
    Fetch(FetchArgs),

    /// Write any weight file as one safetensors file that describes itself
    #[command(
        after_help = "Examples:\n  resnet convert resnet50.pth -o resnet50.safetensors --preprocess \
        torchvision-v2\n  resnet convert signs.h5 -o signs.safetensors --labels signs.txt \
        --precision f16\n\n\
        The new file lists its layers and has its preprocessing and labels in its metadata: it \
        loads with --strict, and PyTorch reads its tensors too. What had to be assumed is a \
        warning, or an error with --strict. Needs no GPU."
    )]
    Convert(ConvertArgs),

    /// Compare each layer on the GPU with the reference implementation on the CPU
    #[command(
        after_help = "Examples:\n  resnet compare --arch resnet18 --size 64\n  \
        resnet compare --weights resnet50.safetensors --image cat.jpg\n  \
        resnet compare --weights resnet50.safetensors --golden pytorch.safetensors\n  \
        resnet compare --arch resnet50 --cpu\n\n\
        The reference is plain loops with 64-bit sums. Rows are the values that survive the \
        fusion: the network is fused first and read layer by layer after. The logits are those of \
        a second run as `classify` makes it, with shared buffers.\n\
        max rel is the largest difference over the largest magnitude of the layer. Exit code 5 \
        when a layer is outside --layer-tolerance, when the logits are outside --tolerance or \
        --layer-tolerance, or when their five best classes differ.\n\
        A golden file has a tensor `input` and any number of tensors with the names of values, \
        such as `layer1.0.relu` or `fc`, all f32 and NCHW."
    )]
    Compare(CompareArgs),

    /// Measure the time of the network, and of each layer
    #[command(after_help = "Examples:\n  resnet bench --arch resnet50\n  \
        resnet bench --weights resnet50.safetensors --batch 1,8 --cpu\n  \
        resnet bench --arch resnet50 --layers --plot roofline.svg\n  \
        resnet bench --arch resnet50 --startup --format json > today.json\n  \
        resnet bench diff yesterday.json today.json\n\n\
        Times are of runs without upload: submission, kernels, and the copy of the results back \
        to the host. GPU time is that of the kernels alone, by timestamps, where the adapter has \
        them. Times of layers are by timestamps too; on software adapters, whose timestamps come too \
        early, and without any, each kernel is submitted by itself and the host's clock counts. Results are checked against the CPU path before anything is timed; wrong results \
        are not timed (exit code 5). Startup: adapter_ms until there is a device, weights_ms for \
        reading and building, pipelines_ms for upload and pipelines, first_result_ms from the \
        start of the program to the first result on the host, all with the caches as they are; \
        --startup compares starts without and with them.\n\
        Share of peak is that of the arithmetic or of the memory, whichever the layer uses more \
        of: the peaks are the best rates of a loop of multiply-adds and of copies of several \
        sizes, measured on this adapter, or of a layer where that is better. Bytes of a layer are \
        its inputs, parameters and output, each counted once.")]
    Bench(BenchArgs),

    /// Measure kernel variants on this adapter and keep the fastest
    #[command(after_help = "Examples:\n  resnet tune --arch resnet50\n  \
        resnet tune --weights resnet50.safetensors --batch 1,8 --seconds 60\n  \
        resnet tune --arch resnet18 --dry-run --format json\n\n\
        Each distinct convolution is measured with every kernel and tile that the adapter can run, \
        those first in which the network spends most of its time. What wins must agree with the \
        default kernel's results, and must then make the whole network faster, or is discarded. \
        Choices are stored for this adapter, driver and version, and used by the other commands \
        for layers of the same shape; --untuned leaves them out.")]
    Tune(TuneArgs),

    /// Record when each kernel ran, as a trace for Perfetto and Chrome
    #[command(after_help = "Examples:\n  resnet profile -o trace.json\n  \
        resnet profile --weights resnet50.safetensors --batch 8 --iterations 3 -o trace.json\n\n\
        The file has the GPU's own timestamps around each kernel (on software adapters the host's, \
        around submissions of one kernel each), one row for each run, with the layer, \
        kernel, shape and arithmetic of each. Open it at ui.perfetto.dev or chrome://tracing. Each kernel is a compute pass of its own here, which costs a little \
        between them.")]
    Profile(ProfileArgs),

    /// Test every kernel that a network uses on small cases, against the CPU
    #[command(after_help = "Examples:\n  resnet selftest\n  \
        resnet selftest --arch notebook --fusion layers --device 1\n  \
        resnet selftest --weights resnet50.safetensors --format json\n\n\
        Each kind of layer runs with the network's parameters on two images of a few pixels, by the \
        kernel and tile that the network's plan has for it, and is compared with the reference \
        implementation. Exit code 5 when a result is wrong.")]
    Selftest(SelftestArgs),
}

/// Where to run.
#[derive(Args, Debug)]
#[command(next_help_heading = "Device")]
pub(crate) struct DeviceArgs {
    /// Adapter by its number in `resnet devices` or a part of its name
    #[arg(long, value_name = "N|NAME")]
    pub(crate) device: Option<String>,

    /// API to use, or `cpu` for no GPU at all
    #[arg(long, value_enum)]
    pub(crate) backend: Option<Backend>,

    /// What activations lie in: textures are faster on software Vulkan
    #[arg(long, default_value = "auto", value_parser = path_parser())]
    pub(crate) path: Path,

    /// Use the default kernels even where `resnet tune` has stored faster ones
    #[arg(long)]
    pub(crate) untuned: bool,

    /// Folder for what `resnet tune` stores and for compiled pipelines [default: `RESNET_CACHE_DIR`,
    /// else `resnet-wgpu` in the system's folder for caches]
    #[arg(long, value_name = "DIR")]
    pub(crate) cache_dir: Option<PathBuf>,

    /// Compile all pipelines anew, and store none
    #[arg(long, overrides_with = "no_pipeline_cache")]
    pub(crate) no_pipeline_cache: bool,

    /// 3×3 convolutions by Winograd's algorithm: where it should be faster, nowhere, or wherever it can
    /// be done in tiles of 2×2 or 4×4 outputs
    #[arg(long, default_value = "auto", value_parser = winograd_parser())]
    pub(crate) winograd: Winograd,

    /// What feature maps and weights are stored in; arithmetic is in f32 either way
    #[arg(long, default_value = "f32", value_parser = precision_parser())]
    pub(crate) precision: Precision,

    /// Multiply halves with cooperative matrices (tensor cores), where --precision is f16 and the
    /// adapter can: experimental, and tested before it is used
    #[arg(long)]
    pub(crate) cooperative_matrix: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    Vulkan,
    Metal,
    Dx12,
    Gl,
    Cpu,
}

impl Backend {
    /// The same for wgpu; the CPU is none of its backends.
    pub(crate) const fn wgpu(self) -> wgpu::Backends {
        match self {
            Self::Vulkan => wgpu::Backends::VULKAN,
            Self::Metal => wgpu::Backends::METAL,
            Self::Dx12 => wgpu::Backends::DX12,
            Self::Gl => wgpu::Backends::GL,
            Self::Cpu => wgpu::Backends::empty(),
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

    /// Network, with made-up weights where there is no file; a file must agree
    #[arg(long, value_parser = arch_parser())]
    pub(crate) arch: Option<Arch>,

    /// Rows and columns of the image [default: as the network was trained]
    #[arg(long, value_name = "HxW|N", value_parser = size)]
    pub(crate) size: Option<[usize; 2]>,

    /// Preprocessing: torchvision, torchvision-v2, timm, hf, notebook, div255, keras-caffe, keras-tf
    /// or a JSON file [default: as the family of the weights has it]
    #[arg(long, value_name = "NAME|FILE.json")]
    pub(crate) preprocess: Option<String>,

    /// Which of several networks with the same weights it is; `inspect` names those that are possible
    #[arg(long, value_parser = variant_parser())]
    pub(crate) variant: Option<Variant>,

    /// Statistics of batch normalisations, instead of those that the weight file says: running ones,
    /// or those of the batch, with which every image changes the results of all others
    #[arg(long, value_name = "MODE", value_parser = bn_mode_parser())]
    pub(crate) bn_mode: Option<BnMode>,

    /// Refuse to assume anything that neither the weight file nor a flag says
    #[arg(long)]
    pub(crate) strict: bool,

    /// How far layers are merged before they run
    #[arg(long, default_value = "full", value_parser = fusion_parser())]
    pub(crate) fusion: Fusion,
}

/// Names of the classes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Network")]
pub(crate) struct LabelArgs {
    /// Names of the classes: a text with one a line, JSON, or `imagenet1k` [default: those in the
    /// weight file, or ImageNet's for 1000 classes]
    #[arg(long, value_name = "FILE|imagenet1k")]
    pub(crate) labels: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct DevicesArgs {
    #[command(flatten)]
    pub(crate) device: DeviceArgs,

    /// Form of the results
    #[arg(long, default_value = "text", value_parser = formats(&["text", "json"]))]
    pub(crate) format: Format,
}

#[derive(Args, Debug)]
pub(crate) struct ClassifyArgs {
    /// Images (JPEG, PNG, WebP), folders of images, and patterns such as 'photos/**/*.jpg'
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<PathBuf>,

    /// Classes to show for each image
    #[arg(long, value_name = "K", default_value = "5", value_parser = count)]
    pub(crate) top: usize,

    /// Images that run together
    #[arg(long, value_name = "N", default_value = "1", value_parser = batch)]
    pub(crate) batch: usize,

    /// Form of the results
    #[arg(long, default_value = "text", value_parser = formats(&["text", "json", "jsonl", "csv"]))]
    pub(crate) format: Format,

    #[command(flatten)]
    pub(crate) network: NetworkArgs,

    #[command(flatten)]
    pub(crate) labels: LabelArgs,

    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

#[derive(Args, Debug)]
pub(crate) struct EmbedArgs {
    /// Images (JPEG, PNG, WebP), folders of images, and patterns such as 'photos/**/*.jpg'
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<PathBuf>,

    /// File for the vectors; stdout then lists the images of its rows
    #[arg(short, long, value_name = "FILE.npy", value_parser = npy())]
    pub(crate) output: Option<PathBuf>,

    /// Scale each vector to length 1
    #[arg(long)]
    pub(crate) normalize: bool,

    /// Images that run together
    #[arg(long, value_name = "N", default_value = "1", value_parser = batch)]
    pub(crate) batch: usize,

    /// Form of the results on stdout, when there is no --output
    #[arg(long, conflicts_with = "output", value_parser = formats(&["jsonl"]))]
    pub(crate) format: Option<Format>,

    #[command(flatten)]
    pub(crate) network: NetworkArgs,

    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

#[derive(Args, Debug)]
pub(crate) struct CamArgs {
    /// Image (JPEG, PNG, WebP)
    #[arg(value_name = "IMAGE")]
    pub(crate) image: PathBuf,

    /// File for the image with the map over it
    #[arg(short, long, value_name = "FILE.png", value_parser = png())]
    pub(crate) output: PathBuf,

    /// Class to look for [default: the most likely one]
    #[arg(long, value_name = "N|LABEL")]
    pub(crate) class: Option<String>,

    /// Value to make the map of, by its name in `resnet inspect --plan` [default: the last block, or
    /// an earlier one where that is too coarse]
    #[arg(long, value_name = "NAME")]
    pub(crate) at: Option<String>,

    /// Form of the results
    #[arg(long, default_value = "text", value_parser = formats(&["text", "json"]))]
    pub(crate) format: Format,

    #[command(flatten)]
    pub(crate) network: NetworkArgs,

    #[command(flatten)]
    pub(crate) labels: LabelArgs,

    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

#[derive(Args, Debug)]
pub(crate) struct InspectArgs {
    /// Show the dispatches and buffers too
    #[arg(long)]
    pub(crate) plan: bool,

    /// Images that run together
    #[arg(long, value_name = "N", default_value = "1", value_parser = batch)]
    pub(crate) batch: usize,

    /// Form of the results
    #[arg(long, default_value = "text", value_parser = formats(&["text", "json"]))]
    pub(crate) format: Format,

    #[command(flatten)]
    pub(crate) network: NetworkArgs,

    #[command(flatten)]
    pub(crate) labels: LabelArgs,
}

#[derive(Args, Debug)]
pub(crate) struct FetchArgs {
    /// Repository
    #[arg(value_name = "OWNER/NAME[@REVISION]")]
    pub(crate) repository: String,

    /// Form of the results
    #[arg(long, default_value = "text", value_parser = formats(&["text", "json"]))]
    pub(crate) format: Format,
}

#[derive(Args, Debug)]
pub(crate) struct ConvertArgs {
    /// Weights or network to convert
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,

    /// File to write
    #[arg(short, long, value_name = "OUT.safetensors", value_parser = safetensors())]
    pub(crate) output: PathBuf,

    /// Type of the kernels and matrices; all other numbers stay in 32 bits
    #[arg(long, default_value = "f32", value_parser = ["f32", "f16"])]
    pub(crate) precision: String,

    /// Rows and columns of the image [default: as the network was trained]
    #[arg(long, value_name = "HxW|N", value_parser = size)]
    size: Option<[usize; 2]>,

    /// Preprocessing, by name or from a JSON file [default: as the input has it]
    #[arg(long, value_name = "NAME|FILE.json")]
    preprocess: Option<String>,

    /// Which of several networks with the same weights it is
    #[arg(long, value_parser = variant_parser())]
    variant: Option<Variant>,

    /// Statistics of batch normalisations, instead of those that the input says
    #[arg(long, value_name = "MODE", value_parser = bn_mode_parser())]
    bn_mode: Option<BnMode>,

    /// Refuse to assume anything that neither the input nor a flag says
    #[arg(long)]
    strict: bool,

    /// Form of the results
    #[arg(long, default_value = "text", value_parser = formats(&["text", "json"]))]
    pub(crate) format: Format,

    #[command(flatten)]
    pub(crate) labels: LabelArgs,
}

impl ConvertArgs {
    /// The network of the input.
    pub(crate) fn network(&self) -> NetworkArgs {
        NetworkArgs {
            weights: Some(self.input.clone()),
            arch: None,
            size: self.size,
            preprocess: self.preprocess.clone(),
            variant: self.variant,
            bn_mode: self.bn_mode,
            strict: self.strict,
            fusion: Fusion::None,
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct CompareArgs {
    /// Image to run on [default: random numbers, always the same]
    #[arg(long, value_name = "FILE")]
    pub(crate) image: Option<PathBuf>,

    /// Expected values, instead of the reference implementation's
    #[arg(long, value_name = "FILE", conflicts_with_all = ["image", "batch"])]
    pub(crate) golden: Option<PathBuf>,

    /// Compare the fast CPU path instead of the GPU
    #[arg(long)]
    pub(crate) cpu: bool,

    /// Largest difference of a logit [default: 1e-3, with --precision f16 none]
    #[arg(long, value_name = "ABS", value_parser = tolerance)]
    pub(crate) tolerance: Option<f32>,

    /// Largest difference in a layer, relative to its largest magnitude [default: 1e-4, with
    /// --precision f16 2e-2]
    #[arg(long, value_name = "REL", value_parser = tolerance)]
    pub(crate) layer_tolerance: Option<f32>,

    /// Images that run together
    #[arg(long, value_name = "N", default_value = "1", value_parser = batch)]
    pub(crate) batch: usize,

    /// Form of the results
    #[arg(long, default_value = "text", value_parser = formats(&["text", "json", "csv"]))]
    pub(crate) format: Format,

    #[command(flatten)]
    pub(crate) network: NetworkArgs,

    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) command: Option<BenchCommand>,

    /// Images that run together; a list measures each
    #[arg(long, value_name = "N,…", default_value = "1", value_delimiter = ',', value_parser = batch)]
    pub(crate) batch: Vec<usize>,

    /// Timed runs of each path
    #[arg(long, value_name = "N", default_value = "20", value_parser = count)]
    pub(crate) iterations: usize,

    /// Runs of each path before the timed ones
    #[arg(long, value_name = "N", default_value = "3")]
    pub(crate) warmup: usize,

    /// Stop timing a path after so many seconds
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    pub(crate) seconds: f64,

    /// Time the fast CPU path too
    #[arg(long)]
    pub(crate) cpu: bool,

    /// Time the reference implementation too, which is slow
    #[arg(long)]
    pub(crate) reference: bool,

    /// Time whole starts too, each in a process of its own: with nothing compiled, and with what is in
    /// the caches of the driver and of this program
    #[arg(long)]
    pub(crate) startup: bool,

    /// Print when the first result was there and end: what --startup starts
    #[arg(long, hide = true)]
    pub(crate) start_only: bool,

    /// Time each layer by itself
    #[arg(long)]
    pub(crate) layers: bool,

    /// Draw the layers of the first batch size against the roofline of the adapter
    #[arg(long, value_name = "FILE.svg", requires = "layers", value_parser = svg())]
    pub(crate) plot: Option<PathBuf>,

    /// Form of the results
    #[arg(long, default_value = "text", value_parser = formats(&["text", "json", "csv"]))]
    pub(crate) format: Format,

    #[command(flatten)]
    pub(crate) network: NetworkArgs,

    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

#[derive(Args, Debug)]
pub(crate) struct TuneArgs {
    /// Images that run together; each of a list is measured
    #[arg(long, value_name = "N,…", default_value = "1", value_delimiter = ',', value_parser = batch)]
    pub(crate) batch: Vec<usize>,

    /// Stop after so many seconds for each batch size; layers that were not reached keep their defaults
    #[arg(long, value_name = "S", default_value = "120", value_parser = seconds)]
    pub(crate) seconds: f64,

    /// Store nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Form of the results
    #[arg(long, default_value = "text", value_parser = formats(&["text", "json", "csv"]))]
    pub(crate) format: Format,

    #[command(flatten)]
    pub(crate) network: NetworkArgs,

    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ProfileArgs {
    /// File to write
    #[arg(short, long, value_name = "FILE.json")]
    pub(crate) output: PathBuf,

    /// Images that run together
    #[arg(long, value_name = "N", default_value = "1", value_parser = batch)]
    pub(crate) batch: usize,

    /// Recorded runs
    #[arg(long, value_name = "N", default_value = "5", value_parser = count)]
    pub(crate) iterations: usize,

    /// Runs before the recorded ones
    #[arg(long, value_name = "N", default_value = "2")]
    pub(crate) warmup: usize,

    #[command(flatten)]
    pub(crate) network: NetworkArgs,

    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

#[derive(Args, Debug)]
pub(crate) struct SelftestArgs {
    /// Form of the results
    #[arg(long, default_value = "text", value_parser = formats(&["text", "json", "csv"]))]
    pub(crate) format: Format,

    #[command(flatten)]
    pub(crate) network: NetworkArgs,

    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Compare two records of `bench --format json`
    #[command(
        after_help = "Examples:\n  resnet bench --format json > before.json\n  \
        resnet bench --format json > after.json\n  \
        resnet bench diff before.json after.json --threshold 1.1\n\n\
        Runs match when path, batch and size are the same. The ratio is the median of AFTER over \
        the median of BEFORE, so that 1.1 is a tenth slower. Its 95% interval is a percentile \
        bootstrap: 4,000 times, as many samples as there are are drawn with replacement from each \
        of the two, and the ratio of their medians is taken; the interval holds the middle 95% of \
        these ratios. The random numbers are always the same. Fewer than five samples on a side \
        give no interval.\n\
        The interval says how much samples scatter within the two records, not how much a machine \
        changes from one hour to the next: alternate the two programs where that matters.\n\
        Exit code 6 when an interval lies wholly above the threshold, 2 when no runs match."
    )]
    Diff(DiffArgs),
}

#[derive(Args, Debug)]
pub(crate) struct DiffArgs {
    /// Record to compare with
    #[arg(value_name = "BEFORE.json")]
    pub(crate) before: PathBuf,

    /// Record that must not be slower
    #[arg(value_name = "AFTER.json")]
    pub(crate) after: PathBuf,

    /// Ratio of times that is still no regression
    #[arg(long, value_name = "RATIO", default_value = "1.05", value_parser = threshold)]
    pub(crate) threshold: f64,

    /// Form of the results
    #[arg(long, default_value = "text", value_parser = formats(&["text", "json", "csv"]))]
    pub(crate) format: Format,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_declarations_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
