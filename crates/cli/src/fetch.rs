//! `resnet fetch`, and weights given as `hf:OWNER/NAME`.

use std::path::{Path, PathBuf};

use resnet_formats::hub::{self, Hub};
use serde::Serialize;

use crate::args::FetchArgs;
use crate::failure::Failure;
use crate::output::{Format, Out, SCHEMA_VERSION, printable, shown};
use crate::progress::Bars;

/// The prefix of repository names in `--weights`.
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

/// The file that `--weights` refers to: a path, or the cached copy of a repository, downloaded if
/// necessary.
pub(crate) fn resolve(weights: &Path) -> Result<PathBuf, Failure> {
    let Some(name) = weights.to_str().and_then(|text| text.strip_prefix(PREFIX)) else {
        return Ok(weights.to_owned());
    };
    let mut bars = Bars::new(false);
    let path = hub::cached_or_fetched(&Hub::from_env(), name, &mut |progress| {
        bars.download(progress);
    })?;
    Ok(path)
}
