//! The command line: its commands here, their flags in [`commands`], and shared flags in
//! [`groups`].

mod commands;
mod groups;

use clap::{Parser, Subcommand};

pub(crate) use commands::*;
pub(crate) use groups::*;

use crate::failure::EXIT_CODES;

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

    /// Show more of what happens; repeat for still more
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
        Pixels are those of Pillow. Images are turned upright as their EXIF or XMP data say; \
        --no-exif leaves them as they are stored.\n\
        An image that cannot be read is one line on stderr; the others are classified, and the \
        exit code is 1.")]
    Classify(ClassifyArgs),

    /// Write the vector that the classifier reads, for each image
    #[command(
        after_help = "Examples:\n  resnet embed photos/ -o photos.npy > photos.txt\n  \
        resnet embed --weights resnet50.safetensors --normalize cat.jpg dog.jpg\n\n\
        The vector is the result of the network's last pooling: 2048 numbers for ResNet-50. The \
        .npy file \
        has one row for each image, 32-bit floats, and their names in a second array, for `resnet \
        search`; stdout then lists the images of the rows. \
        Without --output, stdout has one JSON document a line.\n\
        An image that cannot be read is one line on stderr; the others are embedded, and the exit \
        code is 1."
    )]
    Embed(EmbedArgs),

    /// Show the images of an index that are most similar to others
    #[command(after_help = "Examples:\n  resnet embed photos/ -o photos.npy\n  \
        resnet search photos.npy cat.jpg\n  \
        resnet search photos.npy --top 1 --format jsonl new/*.jpg | jq .nearest[0].image\n\n\
        The index must be of the same network and preprocessing. Similar means a small angle between \
        the vectors: the number is its cosine, 1 for the same direction.")]
    Search(SearchArgs),

    /// Show what the network looks at, as colours over the image
    #[command(after_help = "Examples:\n  resnet cam cat.jpg -o map.png\n  \
        resnet cam photos/*.jpg -o maps/\n  \
        resnet cam --weights resnet50.safetensors --class 'tabby' cat.jpg -o map.png\n  \
        resnet cam --at layer3.5.relu3 --colors viridis cat.jpg -o map.png\n\n\
        The colours show which places made the network decide for the class: those called \"most\" below \
        the image did so most, those called \"least\" did nothing for it, or spoke against it. What the \
        network does not see of the image, such as margins that are cropped, is left as it is.\n\
        An image that cannot be read is one line on stderr; the others get their maps, and the exit \
        code is 1.\n\n\
        In detail: this is the class activation map of the last feature map, if that has at least 7x7 \
        pixels. Otherwise it is that of the first block of the last stage with at least 4x4, by the \
        gradient of the class, of which the positive part counts (Layer-CAM).")]
    Cam(CamArgs),

    /// Show the network that a weight file holds, and how it would be run
    #[command(after_help = "Examples:\n  resnet inspect resnet50.safetensors\n  \
        resnet inspect --arch resnet18 --size 160x240 --plan\n  \
        resnet inspect --arch resnet50 --plan --fusion none\n\n\
        Needs no GPU. MACs are multiply-accumulate operations of convolutions and linear layers.")]
    Inspect(InspectArgs),

    /// Download weights from the Hugging Face Hub into its cache, and print their path
    #[command(after_help = "Examples:\n  resnet fetch timm/resnet50.a1_in1k\n  \
        resnet fetch microsoft/resnet-50@main\n  \
        resnet classify --weights hf:timm/resnet50.a1_in1k cat.jpg\n\n\
        HF_ENDPOINT, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE and HF_TOKEN are honoured. A download that was cut off continues where it ended; what arrives is checked against its hash.")]
    Fetch(FetchArgs),

    /// Write any weight file as one safetensors file that describes itself
    #[command(
        after_help = "Examples:\n  resnet convert resnet50.pth -o resnet50.safetensors --preprocess \
        torchvision-v2\n  resnet convert signs.h5 -o signs.safetensors --labels signs.txt \
        --weights-as f16\n\n\
        The new file lists its layers and has its preprocessing and labels in its metadata: it \
        loads with --strict, and PyTorch reads its tensors too. Whatever had to be assumed is a warning, or an error with --strict. Needs no GPU."
    )]
    Convert(ConvertArgs),

    /// Compare each layer on the GPU with the reference implementation on the CPU
    #[command(
        after_help = "Examples:\n  resnet compare --arch resnet18 --size 64\n  \
        resnet compare --weights resnet50.safetensors --image cat.jpg\n  \
        resnet compare --weights resnet50.safetensors --golden pytorch.safetensors\n  \
        resnet compare --arch resnet50 --cpu\n\n\
        The reference is plain loops with 64-bit sums. Rows are the values that survive the \
        fusion: the network is fused first, and then read layer by layer. The logits are those of \
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
        them. Times of layers are by timestamps too; without them, and on software adapters, \
        whose timestamps come too early, each kernel is submitted by itself and timed by the \
        host's clock. Results are checked against the CPU path before anything is timed; wrong \
        results \
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
        Each distinct convolution is measured with every kernel and tile that the adapter can \
        run, starting with those in which the network spends most of its time. A winner must \
        agree with the results of the default kernel and must make the whole network faster; \
        otherwise it is discarded. \
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

    /// Print what completes commands and flags in a shell
    #[command(after_help = "Examples:\n  \
        resnet completions bash > ~/.local/share/bash-completion/completions/resnet\n  \
        resnet completions zsh > ~/.zfunc/_resnet\n  \
        resnet completions fish > ~/.config/fish/completions/resnet.fish")]
    Completions(CompletionsArgs),

    /// Write manual pages
    #[command(
        after_help = "Examples:\n  resnet man ~/.local/share/man/man1\n  man resnet-classify"
    )]
    Man(ManArgs),
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
