//! The flags of each command.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use resnet_formats::WeightsAs;
use resnet_wgpu::gpu::Colors;
use resnet_wgpu::passes::Fusion;

use super::groups::{
    AdapterArgs, BatchArgs, BatchesArgs, ChoiceArgs, ImagesArgs, LabelArgs, NetworkArgs,
    OutputArgs, ReadArgs, RunArgs,
};
use crate::output::Format;
use crate::values::{
    count, count_or_none, formats, json, named, npy, png_or_folder, safetensors, scale, seconds,
    svg, threshold, tolerance,
};

#[derive(Args, Debug)]
pub(crate) struct DevicesArgs {
    #[command(flatten)]
    pub(crate) adapter: AdapterArgs,

    /// Format of the results
    #[arg(long, default_value = "text", value_parser = formats(&["text", "json"]))]
    pub(crate) format: Format,
}

#[derive(Args, Debug)]
pub(crate) struct ClassifyArgs {
    #[command(flatten)]
    pub(crate) images: ImagesArgs,

    /// Classes to show for each image
    #[arg(long, value_name = "K", default_value = "5", value_parser = count)]
    pub(crate) top: usize,

    #[command(flatten)]
    pub(crate) output: OutputArgs,

    /// Format of the results
    #[arg(long, default_value = "text", value_parser = formats(&["text", "json", "jsonl", "csv"]))]
    pub(crate) format: Format,

    #[command(flatten)]
    pub(crate) labels: LabelArgs,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Args, Debug)]
pub(crate) struct EmbedArgs {
    #[command(flatten)]
    pub(crate) images: ImagesArgs,

    /// File for the vectors; stdout then lists the images of its rows
    #[arg(short, long, value_name = "FILE.npy", value_parser = npy())]
    pub(crate) output: Option<PathBuf>,

    /// Scale each vector to length 1
    #[arg(long)]
    pub(crate) normalize: bool,

    /// Format of the results on stdout, where there is no --output
    #[arg(long, conflicts_with = "output", value_parser = formats(&["jsonl"]))]
    pub(crate) format: Option<Format>,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Args, Debug)]
pub(crate) struct SearchArgs {
    /// Vectors to search, as `resnet embed -o` writes them
    #[arg(value_name = "INDEX.npy", value_parser = npy())]
    pub(crate) index: PathBuf,

    #[command(flatten)]
    pub(crate) images: ImagesArgs,

    /// Images to show for each image
    #[arg(long, value_name = "K", default_value = "5", value_parser = count)]
    pub(crate) top: usize,

    /// Format of the results
    #[arg(long, default_value = "text", value_parser = formats(&["text", "jsonl"]))]
    pub(crate) format: Format,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Args, Debug)]
pub(crate) struct CamArgs {
    /// Images (JPEG, PNG, WebP, GIF, BMP, TIFF, TGA, PNM), `-` for stdin, folders of images, and patterns
    /// such as 'photos/**/*.jpg'
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<PathBuf>,

    /// Take the images in the folders within folders, too
    #[arg(short, long)]
    pub(crate) recursive: bool,

    #[command(flatten)]
    pub(crate) read: ReadArgs,

    /// File for the image with the map over it, or a folder for those of several images: each gets the
    /// name of its image
    #[arg(short, long, value_name = "FILE.png|FOLDER", value_parser = png_or_folder())]
    pub(crate) output: PathBuf,

    /// Colours, from what says least to what says most. ember: clear, red, yellow; viridis: violet, green,
    /// yellow, for the colour-blind and for print; spotlight: dark, clear; rainbow: blue, green, red
    #[arg(long, value_name = "SCALE", default_value = "ember", value_parser = scale())]
    pub(crate) colors: Colors,

    /// Leave out what stands below the image: the class, its probability, and the colour scale
    #[arg(long)]
    pub(crate) no_caption: bool,

    /// Class to look for [default: the most likely one]
    #[arg(long, value_name = "N|LABEL")]
    pub(crate) class: Option<String>,

    /// Layer to make the map of, by its name in `resnet inspect --plan` [default: the last block,
    /// or an earlier one where that is too coarse]
    #[arg(long, value_name = "NAME")]
    pub(crate) at: Option<String>,

    /// Format of the results: one JSON document for one image, or one a line (jsonl)
    #[arg(long, default_value = "text", value_parser = formats(&["text", "json", "jsonl"]))]
    pub(crate) format: Format,

    #[command(flatten)]
    pub(crate) labels: LabelArgs,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Args, Debug)]
pub(crate) struct InspectArgs {
    /// Weights or network, as --weights names it
    #[arg(value_name = "FILE|hf:OWNER/NAME", conflicts_with = "weights")]
    file: Option<PathBuf>,

    /// Show the dispatches and buffers too
    #[arg(long)]
    pub(crate) plan: bool,

    #[command(flatten)]
    pub(crate) batch: BatchArgs,

    #[command(flatten)]
    pub(crate) output: OutputArgs,

    /// Format of the results
    #[arg(long, default_value = "text", value_parser = formats(&["text", "json"]))]
    pub(crate) format: Format,

    #[command(flatten)]
    network: NetworkArgs,

    #[command(flatten)]
    pub(crate) labels: LabelArgs,
}

impl InspectArgs {
    /// What to show.
    pub(crate) fn network(&self) -> NetworkArgs {
        let mut network = self.network.clone();
        network.weights = network.weights.or_else(|| self.file.clone());
        network
    }
}

#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    /// Shell
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Args, Debug)]
pub(crate) struct ManArgs {
    /// Folder to write into: a page for the program, and one for each command
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct FetchArgs {
    /// Repository
    #[arg(value_name = "OWNER/NAME[@REVISION]")]
    pub(crate) repository: String,

    /// Format of the results
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

    /// Type of the kernels and matrices; int8 has a scale for each output channel
    #[arg(long, alias = "precision", default_value = "f32", value_parser = named::<WeightsAs>(WeightsAs::NAMES))]
    pub(crate) weights_as: WeightsAs,

    /// Format of the results
    #[arg(long, default_value = "text", value_parser = formats(&["text", "json"]))]
    pub(crate) format: Format,

    #[command(flatten)]
    pub(crate) choices: ChoiceArgs,

    #[command(flatten)]
    pub(crate) labels: LabelArgs,
}

impl ConvertArgs {
    /// The arguments for loading the input network.
    pub(crate) fn network(&self) -> NetworkArgs {
        NetworkArgs {
            weights: Some(self.input.clone()),
            arch: None,
            choices: self.choices.clone(),
            fusion: Fusion::None,
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct CompareArgs {
    /// Image to run on [default: random numbers, always the same]
    #[arg(long, value_name = "FILE")]
    pub(crate) image: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) read: ReadArgs,

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

    #[command(flatten)]
    pub(crate) batch: BatchArgs,

    /// Format of the results
    #[arg(long, default_value = "text", value_parser = formats(&["text", "json", "csv"]))]
    pub(crate) format: Format,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) command: Option<BenchCommand>,

    #[command(flatten)]
    pub(crate) batches: BatchesArgs,

    /// Timed runs of each path
    #[arg(long, value_name = "N", default_value = "20", value_parser = count)]
    pub(crate) iterations: usize,

    /// Runs of each path before the timed ones
    #[arg(long, value_name = "N", default_value = "3", value_parser = count_or_none)]
    pub(crate) warmup: usize,

    /// Stop timing a path after S seconds
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    pub(crate) seconds: f64,

    /// Time the fast CPU path too
    #[arg(long)]
    pub(crate) cpu: bool,

    /// Time the reference implementation too, which is slow
    #[arg(long)]
    pub(crate) reference: bool,

    /// Time whole starts too, each in a process of its own: with nothing compiled, and with the caches
    /// of the driver and of this program
    #[arg(long)]
    pub(crate) startup: bool,

    /// Print the time of the first result and exit: what --startup starts
    #[arg(long, hide = true)]
    pub(crate) start_only: bool,

    /// Time each layer by itself
    #[arg(long)]
    pub(crate) layers: bool,

    /// Draw the layers of the first batch size against the roofline of the adapter
    #[arg(long, value_name = "FILE.svg", requires = "layers", value_parser = svg())]
    pub(crate) plot: Option<PathBuf>,

    /// Format of the results
    #[arg(long, default_value = "text", value_parser = formats(&["text", "json", "csv"]))]
    pub(crate) format: Format,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Args, Debug)]
pub(crate) struct TuneArgs {
    #[command(flatten)]
    pub(crate) batches: BatchesArgs,

    /// Stop after S seconds for each batch size; layers not reached by then keep their defaults
    #[arg(long, value_name = "S", default_value = "120", value_parser = seconds)]
    pub(crate) seconds: f64,

    /// Store nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Format of the results
    #[arg(long, default_value = "text", value_parser = formats(&["text", "json", "csv"]))]
    pub(crate) format: Format,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ProfileArgs {
    /// File to write
    #[arg(short, long, value_name = "FILE.json", value_parser = json())]
    pub(crate) output: PathBuf,

    #[command(flatten)]
    pub(crate) batch: BatchArgs,

    /// Recorded runs
    #[arg(long, value_name = "N", default_value = "5", value_parser = count)]
    pub(crate) iterations: usize,

    /// Runs before the recorded ones
    #[arg(long, value_name = "N", default_value = "2", value_parser = count_or_none)]
    pub(crate) warmup: usize,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Args, Debug)]
pub(crate) struct SelftestArgs {
    /// Format of the results
    #[arg(long, default_value = "text", value_parser = formats(&["text", "json", "csv"]))]
    pub(crate) format: Format,

    #[command(flatten)]
    pub(crate) run: RunArgs,
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
        bootstrap: 4,000 times, samples are drawn with replacement from each of the two, as many \
        as it has, and the ratio of their medians is taken; the interval holds the middle 95% of \
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

    /// Largest ratio of times that is not a regression
    #[arg(long, value_name = "RATIO", default_value = "1.05", value_parser = threshold)]
    pub(crate) threshold: f64,

    /// Format of the results
    #[arg(long, default_value = "text", value_parser = formats(&["text", "json", "csv"]))]
    pub(crate) format: Format,
}
