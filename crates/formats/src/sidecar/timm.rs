//! Reads timm's `config.json`.

use serde::Deserialize;
use serde_json::Value;

use super::{malformed, refuse, scaled, without_nulls};
use resnet_wgpu::Error;
use resnet_wgpu::internals::network::resnet::{CONFIG, Config};
use resnet_wgpu::internals::picture::{IMAGENET_MEAN, IMAGENET_STD};
use resnet_wgpu::network::Decision;
use resnet_wgpu::picture::Labels;
use resnet_wgpu::picture::{Preprocess, Resize};

#[derive(Deserialize)]
struct Root {
    architecture: String,
    num_classes: Option<usize>,
    #[serde(default)]
    global_pool: Option<String>,
    #[serde(default)]
    label_names: Value,
    #[serde(default)]
    label_descriptions: Value,
    #[serde(default)]
    model_args: serde_json::Map<String, Value>,
}

/// `pretrained_cfg`, with timm's defaults for absent fields (`timm/data/config.py`).
#[derive(Deserialize)]
#[serde(default)]
struct Data {
    input_size: [usize; 3],
    crop_pct: f64,
    crop_mode: String,
    interpolation: String,
    mean: Vec<f32>,
    std: Vec<f32>,
    num_classes: Option<usize>,
    label_names: Value,
    label_descriptions: Value,
}

impl Default for Data {
    fn default() -> Self {
        Self {
            input_size: [3, 224, 224],
            crop_pct: 0.875,
            crop_mode: "center".to_owned(),
            interpolation: "bicubic".to_owned(),
            mean: IMAGENET_MEAN.to_vec(),
            std: IMAGENET_STD.to_vec(),
            num_classes: None,
            label_names: Value::Null,
            label_descriptions: Value::Null,
        }
    }
}

/// Arguments of timm models that change what is computed but leave no trace in the tensors.
const ARGUMENTS: &[&str] = &[
    "aa_layer",
    "act_layer",
    "norm_layer",
    "block_args",
    "replace_stem_pool",
    "conv_layer",
];

pub(super) fn read(config: &Value, prepares: bool) -> Result<Config, Error> {
    let stated = of_pictures(config, prepares)?;
    let root = Root::deserialize(config).map_err(|error| malformed("config.json", &error))?;
    let name = root.architecture.as_str();
    let global_pool = root.global_pool.as_deref().map(pool).transpose();
    let global_pool = global_pool.map_err(|reason| refuse(name, reason))?;
    let mut config = Config {
        global_pool: global_pool.map(str::to_owned),
        ..stated
    };
    state_arguments(&mut config, name, &root.model_args)?;
    config.architecture = Some(root.architecture);
    Ok(config)
}

/// Adds what the arguments with which a network was made say about it.
pub(super) fn state_arguments(
    config: &mut Config,
    name: &str,
    arguments: &serde_json::Map<String, Value>,
) -> Result<(), Error> {
    if let Some(argument) = ARGUMENTS.iter().find(|&&a| arguments.contains_key(a)) {
        return Err(refuse(
            name,
            format!("it was made with `{argument}`, which is not supported"),
        ));
    }
    match arguments.get("stem_type").and_then(Value::as_str) {
        Some(stem) if stem.contains("same") => {
            let reason = format!("its stem is '{stem}', which is not supported");
            return Err(refuse(name, reason));
        }
        stem => config.zero_padded_pool = stem.is_some_and(|stem| stem.contains("fixed")),
    }
    if let Some(named) = arguments.get("global_pool").and_then(Value::as_str) {
        let pool = pool(named).map_err(|reason| refuse(name, reason))?;
        config.global_pool = Some(pool.to_owned());
    }
    let stride = arguments.get("output_stride").and_then(Value::as_u64);
    if let Some(stride) = stride.and_then(|stride| usize::try_from(stride).ok()) {
        config.output_stride = Some(stride);
    }
    Ok(())
}

/// The pool before the classifier by timm's name, of which `fast` is a mean, too.
fn pool(name: &str) -> Result<&'static str, String> {
    match name {
        "avg" | "fast" | "fastavg" => Ok("avg"),
        "max" | "fastmax" => Ok("max"),
        other => Err(format!(
            "its global pool is '{other}'; only 'avg' and 'max' are supported"
        )),
    }
}

/// What it says besides the layers: how pictures are prepared, where that is asked, and what the classes
/// are called.
pub(super) fn of_pictures(config: &Value, prepares: bool) -> Result<Config, Error> {
    let bad = |error| malformed("config.json", &error);
    let root = Root::deserialize(config).map_err(bad)?;
    // Files from 2022 have the fields at the top level.
    let data = config.get("pretrained_cfg").unwrap_or(config);
    let data = Data::deserialize(without_nulls(data)).map_err(bad)?;
    let labels = labels_of(&root.label_names, &root.label_descriptions)
        .or_else(|| labels_of(&data.label_names, &data.label_descriptions));
    Ok(Config {
        classes: root.num_classes.or(data.num_classes),
        preprocess: if prepares {
            Some((rules_of(&data)?, CONFIG))
        } else {
            None
        },
        labels,
        ..Config::default()
    })
}

/// What the arguments of timm's training script leave to the network's own defaults, which nearly all of
/// its ResNets have.
const USUAL_CROP_PCT: f64 = 0.95;

/// Arguments of training scripts about images.
#[derive(Deserialize)]
struct Arguments {
    mean: Option<Vec<f32>>,
    std: Option<Vec<f32>>,
    crop_pct: Option<f64>,
    crop_mode: Option<String>,
    interpolation: Option<String>,
    img_size: Option<usize>,
    input_size: Option<[usize; 3]>,
    val_resize_size: Option<usize>,
    val_crop_size: Option<usize>,
}

/// The preparation of images that the arguments of a training script state: those of timm's `train.py`, or
/// of torchvision's references. `None` for arguments of others.
pub(super) fn of_arguments(text: &str) -> Result<Option<(Preprocess, Decision)>, Error> {
    let bad = |error| malformed("the arguments in the checkpoint", &error);
    let json: Value = serde_json::from_str(text).map_err(bad)?;
    let said = Arguments::deserialize(&json).map_err(bad)?;
    let what = "preprocessing";
    if let (Some(edge), Some(side)) = (said.val_resize_size, said.val_crop_size) {
        let interpolation = said.interpolation.as_deref().unwrap_or("bilinear");
        let mut rules = Preprocess::TORCHVISION;
        rules.size = [side; 2];
        rules.resize = Resize::Cover([edge; 2]);
        rules.filter =
            super::filter(interpolation).map_err(|reason| Error::Preprocess { reason })?;
        rules.check()?;
        let evidence = "the arguments of torchvision's script in the checkpoint";
        return Ok(Some((rules, Decision::certain(what, "", evidence))));
    }
    if json.get("crop_pct").is_none() {
        return Ok(None);
    }
    let usual = Data::default();
    let size = said.img_size.map(|side| [3, side, side]);
    let open: Vec<&str> = [
        ("mean", said.mean.is_none()),
        ("std", said.std.is_none()),
        ("crop_pct", said.crop_pct.is_none()),
        ("interpolation", said.interpolation.is_none()),
        ("img_size", size.is_none() && said.input_size.is_none()),
    ]
    .into_iter()
    .filter_map(|(name, is_open)| is_open.then_some(name))
    .collect();
    let rules = rules_of(&Data {
        mean: said.mean.unwrap_or(usual.mean),
        std: said.std.unwrap_or(usual.std),
        crop_pct: said.crop_pct.unwrap_or(USUAL_CROP_PCT),
        crop_mode: said.crop_mode.unwrap_or(usual.crop_mode),
        interpolation: said.interpolation.unwrap_or(usual.interpolation),
        input_size: said.input_size.or(size).unwrap_or(usual.input_size),
        ..Data::default()
    })?;
    let evidence = "the arguments of timm's script in the checkpoint";
    Ok(Some((
        rules,
        if open.is_empty() {
            Decision::certain(what, "", evidence)
        } else {
            let evidence = format!("{evidence}, which leave {} open", open.join(", "));
            Decision::assumed(what, "", evidence)
        },
    )))
}

/// The evaluation transform of `timm/data/transforms_factory.py`.
fn rules_of(data: &Data) -> Result<Preprocess, Error> {
    let refuse = |reason: String| Error::Preprocess {
        reason: format!("{CONFIG}: {reason}"),
    };
    let [channels, h, w] = data.input_size;
    if ![1, 3].contains(&channels) {
        return Ok(Preprocess::of_arrays(channels, [h, w]));
    }
    // Models for grey images state one number, which stands for all channels.
    let of_channels = |numbers: &[f32]| match *numbers {
        [one] => Ok([one; 3]),
        [first, second, third] => Ok([first, second, third]),
        _ => Err(refuse(format!(
            "{} numbers for the channels",
            numbers.len()
        ))),
    };
    let scaled = [h, w].map(|side| scaled(side, data.crop_pct));
    let [Some(scaled_h), Some(scaled_w)] = scaled else {
        return Err(refuse(format!("crop_pct is {}", data.crop_pct)));
    };
    let scaled = [scaled_h, scaled_w];
    let resize = match data.crop_mode.as_str() {
        "center" => Resize::Cover(scaled),
        "squash" => Resize::SquashTo(scaled),
        "border" => Resize::Contain(scaled),
        other => return Err(refuse(format!("crop_mode '{other}' is unknown"))),
    };
    let filter = super::filter(&data.interpolation).map_err(refuse)?;
    let mut rules = Preprocess::TORCHVISION;
    rules.size = [h, w];
    rules.resize = resize;
    rules.filter = filter;
    rules.mean = of_channels(&data.mean)?;
    rules.std = of_channels(&data.std)?;
    rules.check()?;
    Ok(rules)
}

/// Class names, which timm lists in order or by number, with their descriptions if there are any.
fn labels_of(names: &Value, descriptions: &Value) -> Option<Labels> {
    let text = match names {
        Value::Array(_) | Value::Object(_) => names.to_string(),
        _ => return None,
    };
    let names = Labels::parse(&text).ok()?;
    let described = names.iter().map(|name| {
        let description = descriptions.get(name).and_then(Value::as_str);
        description.unwrap_or(name)
    });
    Some(Labels::new(described))
}
