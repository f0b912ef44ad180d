//! Reads Hugging Face's `config.json` and `preprocessor_config.json`.

use serde::Deserialize;
use serde_json::Value;

use super::{malformed, refuse, scaled, without_nulls};
use resnet_wgpu::Error;
use resnet_wgpu::internals::network::resnet::{Config, PREPROCESSOR};
use resnet_wgpu::internals::picture::{IMAGENET_MEAN, IMAGENET_STD};
use resnet_wgpu::network::Activation;
use resnet_wgpu::picture::Labels;
use resnet_wgpu::picture::{Filter, Preprocess, Resize};

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

/// What a `config.json` of any network and a `preprocessor_config.json` say besides its layers.
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

/// Whether they are more than what `transformers` writes when nobody gave names.
fn are_names(labels: &Labels) -> bool {
    let mut numbered = labels.iter().enumerate();
    !numbered.all(|(class, name)| name == format!("LABEL_{class}"))
}

/// The activation that goes with a `problem_type`.
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
    Edge(usize),
    Shortest { shortest_edge: usize },
    Both { height: usize, width: usize },
}

impl Size {
    /// Height and width.
    const fn edges(self) -> [usize; 2] {
        match self {
            Self::Edge(edge)
            | Self::Shortest {
                shortest_edge: edge,
            } => [edge; 2],
            Self::Both { height, width } => [height, width],
        }
    }
}

#[derive(Deserialize)]
struct Processor {
    #[serde(alias = "feature_extractor_type")]
    image_processor_type: Option<String>,
    size: Option<Size>,
    crop_size: Option<Size>,
    crop_pct: Option<f64>,
    resample: Option<u8>,
    #[serde(default = "yes")]
    do_resize: bool,
    do_center_crop: Option<bool>,
    #[serde(default = "yes")]
    do_rescale: bool,
    rescale_factor: Option<f64>,
    #[serde(default = "yes")]
    do_normalize: bool,
    image_mean: Option<[f32; 3]>,
    image_std: Option<[f32; 3]>,
}

const fn yes() -> bool {
    true
}

/// The rules of the image processors that these networks are published with: `ConvNeXT`'s, those
/// that resize the short edge and crop (`BiT`, CLIP), and those that squash (`ViT`).
pub(super) fn rules_of(json: &Value) -> Result<Preprocess, Error> {
    let refuse = |reason: String| Error::Preprocess {
        reason: format!("{PREPROCESSOR}: {reason}"),
    };
    let processor = Processor::deserialize(without_nulls(json))
        .map_err(|error| refuse(format!("not understood: {error}")))?;
    if !processor.do_resize || !processor.do_rescale {
        return Err(refuse(
            "images that are not resized or not divided by 255 are not supported".to_owned(),
        ));
    }
    let factor = processor.rescale_factor.unwrap_or(1.0 / 255.0);
    if (factor * 255.0 - 1.0).abs() > 1e-6 {
        return Err(refuse(format!("rescale_factor {factor} is not 1/255")));
    }
    let kind = processor.image_processor_type.as_deref().unwrap_or("");
    let kind = kind
        .trim_end_matches("Fast")
        .trim_end_matches("Pil")
        .trim_end_matches("ImageProcessor")
        .trim_end_matches("FeatureExtractor");
    let (size, resize) = match (kind, processor.size) {
        ("ConvNext", size) => {
            let edge = size.map_or(384, |size| size.edges()[0]);
            convnext(edge, processor.crop_pct)
                .ok_or_else(|| refuse("crop_pct is out of range".to_owned()))?
        }
        ("ViT" | "DeiT", Some(Size::Edge(side))) => ([side; 2], Resize::Squash),
        (_, Some(Size::Both { height, width })) if processor.do_center_crop != Some(true) => {
            ([height, width], Resize::Squash)
        }
        (_, Some(Size::Shortest { shortest_edge })) => {
            let crop = processor.crop_size.map_or([shortest_edge; 2], Size::edges);
            (crop, Resize::Cover([shortest_edge; 2]))
        }
        _ => {
            return Err(refuse(format!(
                "the processor '{kind}' is not supported; state the preprocessing"
            )));
        }
    };
    let resample = processor.resample.unwrap_or(3);
    let filter =
        filter(resample).ok_or_else(|| refuse(format!("resample {resample} is unknown")))?;
    let (mean, std) = if processor.do_normalize {
        (
            processor.image_mean.unwrap_or(IMAGENET_MEAN),
            processor.image_std.unwrap_or(IMAGENET_STD),
        )
    } else {
        ([0.0; 3], [1.0; 3])
    };
    let rules = Preprocess {
        size,
        resize,
        filter,
        mean,
        std,
        ..Preprocess::HUGGING_FACE
    };
    rules.check()?;
    Ok(rules)
}

/// The filter with this number in Pillow.
const fn filter(resample: u8) -> Option<Filter> {
    Some(match resample {
        0 => Filter::Nearest,
        1 => Filter::Lanczos,
        2 => Filter::Bilinear,
        3 => Filter::Bicubic,
        4 => Filter::Box,
        5 => Filter::Hamming,
        _ => return None,
    })
}

/// `image_processing_convnext.py`: small images are resized by their short edge and cropped, large
/// ones squashed.
fn convnext(edge: usize, crop_pct: Option<f64>) -> Option<([usize; 2], Resize)> {
    if edge >= 384 {
        return Some(([edge; 2], Resize::Squash));
    }
    let scaled = scaled(edge, crop_pct.unwrap_or(224.0 / 256.0))?;
    Some(([edge; 2], Resize::Cover([scaled; 2])))
}
