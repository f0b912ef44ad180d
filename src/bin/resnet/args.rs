//! The command line.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use resnet_wgpu::models::{Arch, StrideSite};
use resnet_wgpu::passes::Fusion;
use resnet_wgpu::wgpu;

use crate::failure::EXIT_CODES;
use crate::output::Format;

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
WGPU_BACKEND, WGPU_ADAPTER_NAME and RUST_LOG are honoured; flags win over them.

Examples:
  resnet devices
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
    #[command(
        after_help = "Examples:\n  resnet classify --weights resnet50.safetensors cat.jpg\n  \
        resnet classify --weights signs.safetensors --labels signs.txt --batch 8 photos/\n  \
        resnet classify --weights resnet50.safetensors --format jsonl *.jpg | jq .top[0].label\n\n\
        An image that cannot be read is one line on stderr; the others are classified, and the \
        exit code is 1."
    )]
    Classify(ClassifyArgs),

    /// Show the network that a weight file holds, and how it would be run
    #[command(
        after_help = "Examples:\n  resnet inspect --weights resnet50.safetensors\n  \
        resnet inspect --arch resnet18 --size 160x240 --plan\n  \
        resnet inspect --arch resnet50 --plan --fusion none\n\n\
        Needs no GPU. MACs are multiply-accumulate operations of convolutions and linear layers."
    )]
    Inspect(InspectArgs),

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
        resnet bench --arch resnet50 --layers\n  \
        resnet bench --arch resnet50 --format json > today.json\n\n\
        Times are of runs without upload: submission, kernels, and the copy of the results back \
        to the host. GPU time is that of the kernels alone, by timestamps, where the adapter has \
        them. Results are checked against the CPU path before anything is timed; wrong results \
        are not timed (exit code 5). Startup: adapter_ms until there is a device, weights_ms for \
        reading and building, pipelines_ms for upload and pipelines, first_result_ms from the \
        start of the program to the first result on the host.")]
    Bench(BenchArgs),
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
    /// Weights (safetensors) or a network (ONNX); made-up weights when there are none
    #[arg(long, value_name = "FILE")]
    pub(crate) weights: Option<PathBuf>,

    /// Network for made-up weights [default: resnet50]; a file must agree
    #[arg(long, value_parser = arch_parser())]
    pub(crate) arch: Option<Arch>,

    /// Rows and columns of the image [default: as the network was trained]
    #[arg(long, value_name = "HxW|N", value_parser = size)]
    pub(crate) size: Option<[usize; 2]>,

    /// Preprocessing: torchvision, torchvision-v2, timm, hf, notebook, div255, keras-caffe, keras-tf
    /// or a JSON file [default: as the family of the weights has it]
    #[arg(long, value_name = "NAME|FILE.json")]
    pub(crate) preprocess: Option<String>,

    /// Where bottlenecks stride, which no weight file shows
    #[arg(long, value_parser = stride_parser())]
    pub(crate) stride_site: Option<StrideSite>,

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
    /// Images (JPEG, PNG, WebP), and folders of images
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<PathBuf>,

    /// Classes to show for each image
    #[arg(long, value_name = "K", default_value = "5", value_parser = count)]
    pub(crate) top: usize,

    /// Images that run together
    #[arg(long, value_name = "N", default_value = "1", value_parser = count)]
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
pub(crate) struct InspectArgs {
    /// Show the dispatches and buffers too
    #[arg(long)]
    pub(crate) plan: bool,

    /// Images that run together
    #[arg(long, value_name = "N", default_value = "1", value_parser = count)]
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

    /// Largest difference of a logit
    #[arg(long, value_name = "ABS", default_value = "1e-3", value_parser = tolerance)]
    pub(crate) tolerance: f32,

    /// Largest difference in a layer, relative to its largest magnitude
    #[arg(long, value_name = "REL", default_value = "1e-4", value_parser = tolerance)]
    pub(crate) layer_tolerance: f32,

    /// Images that run together
    #[arg(long, value_name = "N", default_value = "1", value_parser = count)]
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
pub(crate) struct BenchArgs {
    /// Images that run together; a list measures each
    #[arg(long, value_name = "N,…", default_value = "1", value_delimiter = ',', value_parser = count)]
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

    /// Time each layer, by timestamps
    #[arg(long)]
    pub(crate) layers: bool,

    /// Form of the results
    #[arg(long, default_value = "text", value_parser = formats(&["text", "json", "csv"]))]
    pub(crate) format: Format,

    #[command(flatten)]
    pub(crate) network: NetworkArgs,

    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

/// The largest side of an image and the largest count: keeps a typing error from filling the memory.
const MAX_SIDE: usize = 16_384;
const MAX_COUNT: usize = 100_000;

fn size(text: &str) -> Result<[usize; 2], String> {
    let side = |text: &str| match text.trim().parse() {
        Ok(side) if (1..=MAX_SIDE).contains(&side) => Ok(side),
        _ => Err(format!(
            "expected HxW or N, with sides from 1 to {MAX_SIDE}, such as 224x320"
        )),
    };
    match text.split_once(['x', 'X', '×']) {
        Some((h, w)) => Ok([side(h)?, side(w)?]),
        None => side(text).map(|side| [side, side]),
    }
}

fn count(text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(count) if (1..=MAX_COUNT).contains(&count) => Ok(count),
        _ => Err(format!("expected a number from 1 to {MAX_COUNT}")),
    }
}

fn tolerance(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(tolerance) if (0.0..f32::INFINITY).contains(&tolerance) => Ok(tolerance),
        _ => Err("expected a number that is not negative, such as 1e-3".to_owned()),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=1e6).contains(&seconds) => Ok(seconds),
        _ => Err("expected a number of seconds".to_owned()),
    }
}

fn formats(names: &'static [&'static str]) -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(names).map(|name| match name.as_str() {
        "json" => Format::Json,
        "jsonl" => Format::Jsonl,
        "csv" => Format::Csv,
        _ => Format::Text,
    })
}

fn arch_parser() -> impl TypedValueParser<Value = Arch> {
    PossibleValuesParser::new(Arch::ALL.map(Arch::name)).try_map(|name| name.parse::<Arch>())
}

fn fusion_parser() -> impl TypedValueParser<Value = Fusion> {
    PossibleValuesParser::new(["none", "layers", "full"]).try_map(|name| name.parse::<Fusion>())
}

fn stride_parser() -> impl TypedValueParser<Value = StrideSite> {
    PossibleValuesParser::new(["first", "middle"]).map(|name| match name.as_str() {
        "first" => StrideSite::First,
        _ => StrideSite::Middle,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_declarations_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_are_square_or_rows_by_columns() {
        assert_eq!(size("64"), Ok([64, 64]), "square");
        assert_eq!(size("160x240"), Ok([160, 240]), "rows first");
        for text in [
            "",
            "x",
            "0",
            "64x",
            "64x0",
            "-1",
            "64x64x3",
            "99999999999999999999",
        ] {
            assert!(size(text).is_err(), "{text:?}");
        }
    }
}
