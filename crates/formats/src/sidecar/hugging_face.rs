//! Reads Hugging Face's `config.json` and `preprocessor_config.json`.

use serde::Deserialize;
use serde_json::Value;

use super::{malformed, refuse, scaled, without_nulls};
use resnet_wgpu::Error;
use resnet_wgpu::internals::network::resnet::{Config, PREPROCESSOR};
use resnet_wgpu::network::Activation;
use resnet_wgpu::picture::Labels;
use resnet_wgpu::picture::{ChannelOrder, Filter, Preprocess, Resize};

#[derive(Deserialize)]
struct Root {
    hidden_act: Option<String>,
    depths: Option<Vec<usize>>,
    downsample_in_bottleneck: Option<bool>,
    downsample_in_first_stage: Option<bool>,
    #[serde(default)]
    id2label: Value,
    num_labels: Option<usize>,
    problem_type: Option<String>,
}

pub(super) fn read(config: &Value, preprocessor: Option<&Value>) -> Result<Config, Error> {
    let model = Root::deserialize(config).map_err(|error| malformed("config.json", &error))?;
    if let Some(act) = model.hidden_act.filter(|act| act != "relu") {
        return Err(refuse(
            "resnet",
            format!("its activation is '{act}'; only 'relu' is supported"),
        ));
    }
    let labels = all_labels_of(&model.id2label);
    let unnamed = labels.as_ref().is_some_and(|labels| !are_names(labels));
    let classes = labels.as_ref().map(Labels::len).or(model.num_labels);
    let preprocess = match preprocessor {
        Some(json) => Some((rules_of(json)?, PREPROCESSOR)),
        None => None,
    };
    Ok(Config {
        classes,
        depths: model.depths,
        // Absent fields have the defaults of `configuration_resnet.py`.
        downsample_in_bottleneck: Some(model.downsample_in_bottleneck.unwrap_or(false)),
        downsample_in_first_stage: Some(model.downsample_in_first_stage.unwrap_or(false)),
        preprocess,
        activation: activation(model.problem_type.as_deref())?,
        unnamed,
        labels: labels.filter(|_| !unnamed),
        ..Config::default()
    })
}

/// What a `config.json` and a `preprocessor_config.json` state about any network, its layers aside.
#[cfg(feature = "onnx")]
pub(super) fn of_pictures(config: &Value, preprocessor: Option<&Value>) -> Result<Config, Error> {
    let rules = preprocessor.map(rules_of).transpose()?;
    Ok(Config {
        preprocess: rules.map(|rules| (rules, PREPROCESSOR)),
        labels: all_labels_of(&config["id2label"]).filter(are_names),
        activation: activation(config["problem_type"].as_str())?,
        ..Config::default()
    })
}

fn all_labels_of(names: &Value) -> Option<Labels> {
    match names {
        Value::Object(listed) if !listed.is_empty() => Labels::parse(&names.to_string()).ok(),
        _ => None,
    }
}

/// Whether labels are more than the placeholders that `transformers` writes for missing names.
fn are_names(labels: &Labels) -> bool {
    let mut numbered = labels.iter().enumerate();
    !numbered.all(|(class, name)| name == format!("LABEL_{class}"))
}

/// The activation implied by a `problem_type`.
fn activation(problem: Option<&str>) -> Result<Option<Activation>, Error> {
    match problem {
        None => Ok(None),
        Some("single_label_classification") => Ok(Some(Activation::Softmax)),
        Some("multi_label_classification") => Ok(Some(Activation::Sigmoid)),
        Some(other) => Err(refuse(
            "resnet",
            format!("its problem_type is '{other}'; only classification is supported"),
        )),
    }
}

/// A size as Hugging Face writes it: one number, `{"shortest_edge": n}` or `{"height": h, "width":
/// w}`.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Size {
    Number(usize),
    Edge { shortest_edge: usize },
    Sides { height: usize, width: usize },
}

#[derive(Deserialize)]
struct Processor {
    #[serde(alias = "feature_extractor_type")]
    image_processor_type: Option<String>,
    size: Option<Size>,
    crop_size: Option<Size>,
    crop_pct: Option<f64>,
    resample: Option<u8>,
    do_resize: Option<bool>,
    do_center_crop: Option<bool>,
    do_rescale: Option<bool>,
    rescale_factor: Option<f64>,
    rescale_offset: Option<bool>,
    do_normalize: Option<bool>,
    include_top: Option<bool>,
    do_flip_channel_order: Option<bool>,
    image_mean: Option<[f64; 3]>,
    image_std: Option<[f64; 3]>,
    do_pad: Option<bool>,
    use_square_size: Option<bool>,
    keep_aspect_ratio: Option<bool>,
    ensure_multiple_of: Option<usize>,
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

/// Fields that have no effect on the pixels of an RGB image.
const IDLE: &[&str] = &[
    "processor_class",
    "_processor_class",
    "data_format",
    "input_data_format",
    "device",
    "return_tensors",
    "disable_grouping",
    "do_convert_rgb",
    // Only for segmentation.
    "do_reduce_labels",
    "default_to_square",
    "_valid_processor_keys",
    "image_processor",
    // Of padding, which is refused.
    "size_divisor",
    "pad_size",
    "transformers_version",
];

/// An image processor and its defaults, which are the class attributes in
/// `transformers/models/*/image_processing_*.py`.
struct Kind {
    name: &'static str,
    size: Size,
    /// Whether a single number is the side of a square rather than the shortest edge.
    square: bool,
    /// Side of the square center crop, if there is one.
    crop: Option<usize>,
    resample: u8,
    mean: [f64; 3],
    std: [f64; 3],
    normalize: bool,
}

const DEFAULT_MEAN: [f64; 3] = [0.485, 0.456, 0.406];
const DEFAULT_STD: [f64; 3] = [0.229, 0.224, 0.225];
const CLIP_MEAN: [f64; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const CLIP_STD: [f64; 3] = [0.268_629_54, 0.261_302_58, 0.275_777_11];
const HALF: [f64; 3] = [0.5; 3];

const VIT: Kind = Kind {
    name: "ViT",
    size: Size::Number(224),
    square: true,
    crop: None,
    resample: 2,
    mean: HALF,
    std: HALF,
    normalize: true,
};
const CLIP: Kind = Kind {
    name: "CLIP",
    size: Size::Number(224),
    square: false,
    crop: Some(224),
    resample: 3,
    mean: CLIP_MEAN,
    std: CLIP_STD,
    normalize: true,
};
const MOBILE_NET: Kind = Kind {
    name: "MobileNetV1",
    size: Size::Number(256),
    resample: 2,
    mean: HALF,
    std: HALF,
    ..CLIP
};

const KINDS: &[Kind] = &[
    Kind {
        name: "ConvNext",
        size: Size::Number(384),
        square: false,
        resample: 3,
        ..VIT
    },
    CLIP,
    Kind {
        name: "Bit",
        ..CLIP
    },
    VIT,
    Kind {
        name: "DeiT",
        size: Size::Number(256),
        crop: Some(224),
        resample: 3,
        ..VIT
    },
    Kind {
        name: "Levit",
        mean: DEFAULT_MEAN,
        std: DEFAULT_STD,
        ..CLIP
    },
    Kind {
        name: "EfficientNet",
        size: Size::Number(346),
        resample: 3,
        ..VIT
    },
    Kind {
        name: "Beit",
        resample: 3,
        ..VIT
    },
    Kind {
        name: "Siglip",
        resample: 3,
        ..VIT
    },
    Kind {
        name: "DPT",
        size: Size::Number(384),
        resample: 3,
        ..VIT
    },
    Kind {
        name: "Pvt",
        resample: 3,
        mean: DEFAULT_MEAN,
        std: DEFAULT_STD,
        ..VIT
    },
    Kind {
        name: "PoolFormer",
        mean: DEFAULT_MEAN,
        std: DEFAULT_STD,
        ..CLIP
    },
    MOBILE_NET,
    Kind {
        name: "MobileNetV2",
        ..MOBILE_NET
    },
    Kind {
        name: "MobileViT",
        size: Size::Number(224),
        crop: Some(256),
        resample: 3,
        normalize: false,
        ..MOBILE_NET
    },
];

/// The preprocessing of the image processor that the file names.
pub(super) fn rules_of(json: &Value) -> Result<Preprocess, Error> {
    let refuse = |reason: String| Error::Preprocess {
        reason: format!("{PREPROCESSOR}: {reason}"),
    };
    let processor = Processor::deserialize(without_nulls(json))
        .map_err(|error| refuse(format!("not understood: {error}")))?;
    let name = processor.image_processor_type.as_deref().unwrap_or("");
    let name = name
        .trim_end_matches("Fast")
        .trim_end_matches("Pil")
        .trim_end_matches("ImageProcessor")
        .trim_end_matches("FeatureExtractor");
    let Some(kind) = KINDS.iter().find(|kind| kind.name == name) else {
        let known: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        return Err(refuse(format!(
            "the processor '{name}' is not known, only {}; state the preprocessing",
            known.join(", ")
        )));
    };
    let unknown = processor
        .rest
        .keys()
        .find(|key| !IDLE.contains(&key.as_str()));
    if let Some(field) = unknown {
        return Err(refuse(format!(
            "the field '{field}' is not known; state the preprocessing"
        )));
    }
    if processor.do_pad == Some(true) || processor.use_square_size == Some(true) {
        return Err(refuse(
            "padding and `use_square_size` are not supported".to_owned(),
        ));
    }
    if processor.keep_aspect_ratio == Some(true) || processor.ensure_multiple_of.unwrap_or(1) != 1 {
        return Err(refuse(
            "`keep_aspect_ratio` and `ensure_multiple_of` are not supported".to_owned(),
        ));
    }
    let (size, resize) = resize_of(kind, &processor).map_err(refuse)?;
    let filter = match processor.resample.unwrap_or(kind.resample) {
        0 => Filter::Nearest,
        1 => Filter::Lanczos,
        2 => Filter::Bilinear,
        3 => Filter::Bicubic,
        4 => Filter::Box,
        5 => Filter::Hamming,
        other => return Err(refuse(format!("resample {other} is unknown"))),
    };
    let [mean, std] = normalization_of(kind, &processor);
    let channels = if kind.name == "MobileViT" && processor.do_flip_channel_order != Some(false) {
        ChannelOrder::Bgr
    } else {
        ChannelOrder::Rgb
    };
    let mut rules = Preprocess::HUGGING_FACE;
    rules.size = size;
    rules.resize = resize;
    rules.filter = filter;
    rules.mean = mean;
    rules.std = std;
    rules.channels = channels;
    rules.check()?;
    Ok(rules)
}

/// The input size of the network, and how images are resized to it.
fn resize_of(kind: &Kind, processor: &Processor) -> Result<([usize; 2], Resize), String> {
    let sides = match processor.size.unwrap_or(kind.size) {
        Size::Sides { height, width } => Ok([height, width]),
        Size::Number(side) if kind.square => Ok([side; 2]),
        Size::Number(edge)
        | Size::Edge {
            shortest_edge: edge,
        } => Err(edge),
    };
    let crops = processor.do_center_crop.unwrap_or(kind.crop.is_some());
    let crop = match processor.crop_size {
        Some(Size::Sides { height, width }) => Some([height, width]),
        Some(
            Size::Number(side)
            | Size::Edge {
                shortest_edge: side,
            },
        ) => Some([side; 2]),
        None => kind.crop.map(|side| [side; 2]),
    };
    let crop = crop.filter(|_| crops);
    if processor.do_resize == Some(false) {
        return Ok(match crop {
            Some(_) => return Err("a crop without a resize is not supported".to_owned()),
            None => ([224, 224], Resize::Keep),
        });
    }
    if kind.name == "PoolFormer" {
        let edge = match sides {
            Ok([height, width]) if height == width => height,
            Ok(_) => return Err("a size that is not square is not supported".to_owned()),
            Err(edge) => edge,
        };
        // `image_processing_poolformer.py` resizes to the stated size over this fraction.
        let edge = scaled(edge, processor.crop_pct.unwrap_or(0.9))
            .ok_or_else(|| "crop_pct is out of range".to_owned())?;
        return Ok(match crop {
            Some(crop) => (crop, Resize::Cover([edge; 2])),
            None => ([edge; 2], Resize::ShortEdge(edge)),
        });
    }
    match sides {
        Ok(sides) => Ok(match crop {
            Some(crop) => (crop, Resize::SquashTo(sides)),
            None => (sides, Resize::Squash),
        }),
        Err(shortest_edge) if kind.name == "ConvNext" => {
            convnext(shortest_edge, processor.crop_pct)
                .ok_or_else(|| "crop_pct is out of range".to_owned())
        }
        Err(shortest_edge) => {
            // `image_processing_levit.py` resizes to 256/224 of the stated size.
            let edge = match kind.name {
                "Levit" => shortest_edge.saturating_mul(256) / 224,
                _ => shortest_edge,
            };
            Ok(match crop {
                Some(crop) => (crop, Resize::Cover([edge; 2])),
                None => ([edge; 2], Resize::ShortEdge(edge)),
            })
        }
    }
}

/// Mean and standard deviation for pixels from 0 to 1, with the rescaling factor and the second
/// normalisation of `EfficientNet` taken into account.
#[expect(clippy::cast_possible_truncation, reason = "rounding is what is meant")]
fn normalization_of(kind: &Kind, processor: &Processor) -> [[f32; 3]; 2] {
    let (mean, std) = if processor.do_normalize.unwrap_or(kind.normalize) {
        (
            processor.image_mean.unwrap_or(kind.mean),
            processor.image_std.unwrap_or(kind.std),
        )
    } else {
        ([0.0; 3], [1.0; 3])
    };
    let rescales = processor.do_rescale.unwrap_or(true);
    let factor = processor.rescale_factor.unwrap_or(1.0 / 255.0);
    let scale = if rescales { 255.0 * factor } else { 255.0 };
    // The usual factor is 1/255, up to rounding.
    let scale = if (scale - 1.0).abs() < 1e-6 {
        1.0
    } else {
        scale
    };
    let is_efficient = kind.name == "EfficientNet";
    let offset = if rescales && is_efficient && processor.rescale_offset == Some(true) {
        1.0
    } else {
        0.0
    };
    let again = is_efficient && processor.include_top != Some(false);
    let std_of_again = processor.image_std.unwrap_or(kind.std);
    let mean = mean.map(|mean| ((mean + offset) / scale) as f32);
    let std = [0, 1, 2].map(|c| {
        let second = if again { std_of_again[c] } else { 1.0 };
        (std[c] / scale * second) as f32
    });
    [mean, std]
}

/// `image_processing_convnext.py`: for small sizes, resizes the shortest edge and crops; for large
/// ones, stretches to the square.
fn convnext(edge: usize, crop_pct: Option<f64>) -> Option<([usize; 2], Resize)> {
    if edge >= 384 {
        return Some(([edge; 2], Resize::Squash));
    }
    let scaled = scaled(edge, crop_pct.unwrap_or(224.0 / 256.0))?;
    Some(([edge; 2], Resize::Cover([scaled; 2])))
}
