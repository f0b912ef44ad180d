//! `resnet fetch`: weights from the Hugging Face Hub.

use resnet_formats::hub::{self, Hub};
use serde::Serialize;

use crate::args::FetchArgs;
use crate::escape::{printable, shown};
use crate::failure::Failure;
use crate::output::{Format, Out, SCHEMA_VERSION};
use crate::progress::Bars;

/// The prefix of repository names in `--weights`, which may be left out here.
const PREFIX: &str = "hf:";

#[derive(Serialize)]
struct Report<'a> {
    schema_version: u32,
    repository: &'a str,
    weights: String,
}

pub(crate) fn run(args: &FetchArgs, quiet: bool) -> Result<(), Failure> {
    let mut bars = Bars::new(quiet);
    let name = args.repository.trim_start_matches(PREFIX);
    let path = hub::fetch(&Hub::from_env(), name, &mut |progress| {
        bars.download(progress);
    });
    drop(bars);
    let path = path?;
    let mut out = Out::new();
    if args.format == Format::Json {
        out.json(&Report {
            schema_version: SCHEMA_VERSION,
            repository: name,
            weights: shown(&path),
        })?;
    } else {
        out.line(printable(&shown(&path)))?;
    }
    out.flush()
}
