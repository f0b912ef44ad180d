//! Parsers for the values of flags, and their error messages.

use std::error::Error;
use std::path::{MAIN_SEPARATOR, Path, PathBuf};
use std::str::FromStr;

use clap::builder::{PathBufValueParser, PossibleValuesParser, TypedValueParser};
use resnet_wgpu::gpu::Colors;

use crate::output::Format;

/// Maximum image side and batch size: keeps a typing error from filling the memory.
const MAX_SIDE: usize = 8192;
const MAX_BATCH: usize = 1024;
/// Maximum number of runs, or of classes to show.
const MAX_COUNT: usize = 100_000;

pub(crate) fn size(text: &str) -> Result<[usize; 2], String> {
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

pub(crate) fn count(text: &str) -> Result<usize, String> {
    up_to(MAX_COUNT, text)
}

pub(crate) fn count_or_none(text: &str) -> Result<usize, String> {
    match text.trim() {
        "0" => Ok(0),
        text => {
            up_to(MAX_COUNT, text).map_err(|_| format!("expected a number from 0 to {MAX_COUNT}"))
        }
    }
}

pub(crate) fn batch(text: &str) -> Result<usize, String> {
    up_to(MAX_BATCH, text)
}

fn up_to(max: usize, text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(count) if (1..=max).contains(&count) => Ok(count),
        _ => Err(format!("expected a number from 1 to {max}")),
    }
}

pub(crate) fn tolerance(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(tolerance) if (0.0..f32::INFINITY).contains(&tolerance) => Ok(tolerance),
        _ => Err("expected a number that is not negative, such as 1e-3".to_owned()),
    }
}

pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=1e6).contains(&seconds) => Ok(seconds),
        _ => Err("expected a number of seconds".to_owned()),
    }
}

pub(crate) fn threshold(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ratio) if (1.0..=1e3).contains(&ratio) => Ok(ratio),
        _ => Err("expected a ratio from 1 to 1000, such as 1.05".to_owned()),
    }
}

/// Parses a `--set` value.
pub(crate) fn setting(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let pair = pair.ok_or("expected NAME=VALUE, such as stem_pool=none")?;
    Ok((pair.0.trim().to_owned(), pair.1.trim().to_owned()))
}

pub(crate) fn svg() -> impl TypedValueParser<Value = PathBuf> {
    ending_in("svg", "the chart is an SVG: give a name that ends in .svg")
}

pub(crate) fn json() -> impl TypedValueParser<Value = PathBuf> {
    ending_in("json", "the trace is JSON: give a name that ends in .json")
}

/// Parses the name of a PNG, or of a folder.
pub(crate) fn png_or_folder() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| {
        let says_folder = path
            .as_os_str()
            .to_string_lossy()
            .ends_with(['/', MAIN_SEPARATOR]);
        if says_folder || path.extension().is_none() || path.is_dir() || is_png(&path) {
            Ok(path)
        } else {
            Err("the picture is a PNG: give a name that ends in .png, or a folder that ends in /")
        }
    })
}

/// Whether a file is named as a PNG is.
pub(crate) fn is_png(path: &Path) -> bool {
    ends_in(path, "png")
}

fn ends_in(path: &Path, extension: &str) -> bool {
    path.extension()
        .is_some_and(|own| own.eq_ignore_ascii_case(extension))
}

/// Parses the name of a colour scale.
pub(crate) fn scale() -> impl TypedValueParser<Value = Colors> {
    PossibleValuesParser::new(["ember", "viridis", "spotlight", "rainbow"]).map(|name| match &*name
    {
        "viridis" => Colors::Viridis,
        "spotlight" => Colors::Spotlight,
        "rainbow" => Colors::Rainbow,
        _ => Colors::Ember,
    })
}

pub(crate) fn npy() -> impl TypedValueParser<Value = PathBuf> {
    ending_in(
        "npy",
        "the vectors are a NumPy file: give a name that ends in .npy",
    )
}

/// Parses a path that must have the extension of its format.
fn ending_in(
    extension: &'static str,
    otherwise: &'static str,
) -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new()
        .try_map(move |path| ends_in(&path, extension).then_some(path).ok_or(otherwise))
}

pub(crate) fn safetensors() -> impl TypedValueParser<Value = PathBuf> {
    ending_in(
        "safetensors",
        "the new file is safetensors: give a name that ends in .safetensors",
    )
}

pub(crate) fn formats(names: &'static [&'static str]) -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(names).map(|name| match name.as_str() {
        "json" => Format::Json,
        "jsonl" => Format::Jsonl,
        "csv" => Format::Csv,
        _ => Format::Text,
    })
}

/// Parses one of the names of a type's values.
pub(crate) fn named<T>(
    names: impl IntoIterator<Item = &'static str>,
) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: Into<Box<dyn Error + Send + Sync>>> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| name.parse::<T>())
}

#[cfg(test)]
#[path = "../tests/unit/values.rs"]
mod tests;
