//! `resnet convert`: turns any weight file into one self-describing safetensors file.

use resnet_run::ModelInfo;
use serde::Serialize;

use crate::args::ConvertArgs;
use crate::escape::shown;
use crate::failure::Failure;
use crate::network;
use crate::output::{Format, Out, SCHEMA_VERSION, bytes};
use crate::overwrite;

#[derive(Serialize)]
struct Report {
    schema_version: u32,
    model: ModelInfo,
    output: String,
    bytes: u64,
    /// Assumptions that the new file states as facts.
    assumed: Vec<String>,
}

pub(crate) fn run(args: &ConvertArgs) -> Result<(), Failure> {
    overwrite::refuse(&args.output, [args.input.as_path()])?;
    let network_args = args.network();
    let mut network = network::load(&network_args, 1)?;
    network.network.facts.labels = network.labels(args.labels.labels.as_deref())?;
    let model = &network.model;
    let assumed: Vec<String> = model.decisions.assumed().map(ToString::to_string).collect();
    for decision in &assumed {
        log::warn!("the new file will state as a fact: {decision}");
    }
    resnet_formats::save(&network.network, &args.output, args.weights_as)?;
    let size = std::fs::metadata(&args.output)?.len();
    let report = Report {
        schema_version: SCHEMA_VERSION,
        model: network.info(),
        output: shown(&args.output),
        bytes: size,
        assumed,
    };
    let mut out = Out::new();
    if args.format == Format::Json {
        out.json(&report)?;
    } else {
        out.line(format_args!(
            "{}: {}, {}, {}",
            report.output,
            report.model.name,
            report.model.classes_in_words(),
            bytes(size)
        ))?;
    }
    out.flush()
}
