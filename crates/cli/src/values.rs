//! How the values of flags are read, and what is said when they cannot be.

use std::path::PathBuf;

use clap::builder::{PathBufValueParser, PossibleValuesParser, TypedValueParser};
use resnet_wgpu::internals::kernels::Precision;
use resnet_wgpu::network::{Activation, Arch, BnMode, Variant};
use resnet_wgpu::passes::Fusion;
use resnet_wgpu::plan::{KernelPath, Winograd};

use crate::output::Format;

/// The largest side of an image and the largest batch: keeps a typing error from filling the memory.
const MAX_SIDE: usize = 8192;
const MAX_BATCH: usize = 1024;
/// The largest number of runs, or of classes to show.
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

pub(crate) fn svg() -> impl TypedValueParser<Value = PathBuf> {
    ending_in("svg", "the chart is an SVG: give a name that ends in .svg")
}

pub(crate) fn png() -> impl TypedValueParser<Value = PathBuf> {
    ending_in("png", "the picture is a PNG: give a name that ends in .png")
}

pub(crate) fn npy() -> impl TypedValueParser<Value = PathBuf> {
    ending_in(
        "npy",
        "the vectors are a NumPy file: give a name that ends in .npy",
    )
}

/// A path that ends as its content demands.
fn ending_in(
    extension: &'static str,
    otherwise: &'static str,
) -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(move |path| {
        let fits = path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case(extension));
        fits.then_some(path).ok_or(otherwise)
    })
}

pub(crate) fn safetensors() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| {
        let is_safetensors = path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"));
        is_safetensors
            .then_some(path)
            .ok_or("the new file is safetensors: give a name that ends in .safetensors")
    })
}

pub(crate) fn formats(names: &'static [&'static str]) -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(names).map(|name| match name.as_str() {
        "json" => Format::Json,
        "jsonl" => Format::Jsonl,
        "csv" => Format::Csv,
        _ => Format::Text,
    })
}

pub(crate) fn arch_parser() -> impl TypedValueParser<Value = Arch> {
    PossibleValuesParser::new(Arch::ALL.map(Arch::name)).try_map(|name| name.parse::<Arch>())
}

pub(crate) fn fusion_parser() -> impl TypedValueParser<Value = Fusion> {
    PossibleValuesParser::new(["none", "layers", "full"]).try_map(|name| name.parse::<Fusion>())
}

pub(crate) fn path_parser() -> impl TypedValueParser<Value = KernelPath> {
    PossibleValuesParser::new(["auto", "buffers", "textures"])
        .try_map(|name| name.parse::<KernelPath>())
}

pub(crate) fn bn_mode_parser() -> impl TypedValueParser<Value = BnMode> {
    PossibleValuesParser::new(["running", "batch"]).try_map(|name| name.parse::<BnMode>())
}

pub(crate) fn activation_parser() -> impl TypedValueParser<Value = Activation> {
    let names = Activation::ALL.map(Activation::name);
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Activation>())
}

pub(crate) fn winograd_parser() -> impl TypedValueParser<Value = Winograd> {
    PossibleValuesParser::new(["auto", "off", "f2", "f4"]).try_map(|name| name.parse::<Winograd>())
}

pub(crate) fn precision_parser() -> impl TypedValueParser<Value = Precision> {
    PossibleValuesParser::new(["f32", "f16"]).try_map(|name| name.parse::<Precision>())
}

pub(crate) fn variant_parser() -> impl TypedValueParser<Value = Variant> {
    let names = Variant::ALL.iter().map(|variant| variant.name());
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Variant>())
}

#[cfg(test)]
mod tests {
    use super::*;

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
