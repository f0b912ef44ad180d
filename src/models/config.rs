//! What the JSON files beside a weight file say of it: timm's and Hugging Face's.
//!
//! timm writes `config.json` with the name of the architecture and a `pretrained_cfg` that has the
//! preprocessing; Hugging Face writes `config.json` with the structure and the labels, and
//! `preprocessor_config.json`. Anything that the tensors do not show and this crate does not build is
//! refused here by its name.

use serde::Deserialize;
use serde_json::Value;

use crate::error::Error;
use crate::labels::Labels;
use crate::preprocess::{Filter, IMAGENET_MEAN, IMAGENET_STD, Preprocess, Resize};
use crate::weights::{Beside, Family};

/// Evidence: `config.json`.
pub(super) const CONFIG: &str = "config.json beside the file";
/// Evidence: `preprocessor_config.json`.
pub(super) const PREPROCESSOR: &str = "preprocessor_config.json beside the file";

/// What was found. Every field that nothing says is `None`.
#[derive(Debug, Default)]
pub(super) struct Config {
    /// timm's name of the network.
    pub(super) architecture: Option<String>,
    /// Classes that the network has according to the file.
    pub(super) classes: Option<usize>,
    /// Blocks of the stages, according to Hugging Face.
    pub(super) depths: Option<Vec<usize>>,
    /// Whether bottlenecks stride in their first 1×1, according to Hugging Face.
    pub(super) downsample_in_bottleneck: Option<bool>,
    /// Whether the first stage halves the image, according to Hugging Face.
    pub(super) downsample_in_first_stage: Option<bool>,
    /// timm's `fixed` stems: zeros around the image of the max pool.
    pub(super) zero_padded_pool: bool,
    /// How images are prepared, and which file says so.
    pub(super) preprocess: Option<(Preprocess, &'static str)>,
    /// Names of the classes.
    pub(super) labels: Option<Labels>,
}

impl Config {
    /// Reads what is beside a file of a family. A file that is of another program is passed over.
    ///
    /// # Errors
    /// [`Error::Model`] for a part that is not supported, [`Error::Preprocess`] for preprocessing
    /// that is not.
    pub(super) fn read(beside: &Beside, family: Family) -> Result<Self, Error> {
        let json = |text: &Option<String>, name: &str| -> Option<Value> {
            let parsed = serde_json::from_str(text.as_deref()?);
            parsed
                .inspect_err(|error| log::warn!("'{name}' beside the weights is damaged: {error}"))
                .ok()
        };
        let Some(config) = json(&beside.config, "config.json") else {
            return Ok(Self::default());
        };
        match family {
            Family::HuggingFace if config["model_type"] == "resnet" => {
                let preprocessor = json(&beside.preprocessor, "preprocessor_config.json");
                hugging_face(&config, preprocessor.as_ref())
            }
            Family::Torchvision | Family::PreActivation if config["architecture"].is_string() => {
                timm(&config)
            }
            _ => Ok(Self::default()),
        }
    }
}

fn refuse(model: &str, reason: String) -> Error {
    Error::Model {
        model: model.to_owned(),
        reason,
    }
}

fn malformed(file: &str, error: &serde_json::Error) -> Error {
    refuse(file, format!("not understood: {error}"))
}

// === timm ===

#[derive(Deserialize)]
struct TimmRoot {
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

/// `pretrained_cfg`, with timm's defaults for what is not there (`timm/data/config.py`).
#[derive(Deserialize)]
#[serde(default)]
struct TimmData {
    input_size: [usize; 3],
    crop_pct: f64,
    crop_mode: String,
    interpolation: String,
    mean: [f32; 3],
    std: [f32; 3],
    num_classes: Option<usize>,
    label_names: Value,
    label_descriptions: Value,
}

impl Default for TimmData {
    fn default() -> Self {
        Self {
            input_size: [3, 224, 224],
            crop_pct: 0.875,
            crop_mode: "center".to_owned(),
            interpolation: "bicubic".to_owned(),
            mean: IMAGENET_MEAN,
            std: IMAGENET_STD,
            num_classes: None,
            label_names: Value::Null,
            label_descriptions: Value::Null,
        }
    }
}

/// Parts of timm's networks without tensors of their own: what the name of the architecture has in
/// it, and what it means.
const INVISIBLE: &[(&str, &str)] = &[
    ("blur", "blur pools before its strides (anti-aliased)"),
    ("aa", "average pools before its strides (anti-aliased)"),
];

/// Arguments of a timm model that change what it computes without a trace in the tensors.
const ARGUMENTS: &[&str] = &[
    "aa_layer",
    "act_layer",
    "norm_layer",
    "block_args",
    "output_stride",
    "replace_stem_pool",
    "conv_layer",
];

fn timm(config: &Value) -> Result<Config, Error> {
    let bad = |error| malformed("config.json", &error);
    let root = TimmRoot::deserialize(config).map_err(bad)?;
    // Files of 2022 have the fields at the root.
    let data = config.get("pretrained_cfg").unwrap_or(config);
    let data = TimmData::deserialize(without_nulls(data)).map_err(bad)?;
    let name = root.architecture.as_str();
    let base = name.split('.').next().unwrap_or(name);
    let has = |part: &str| {
        let stem = base.trim_start_matches("se").trim_start_matches("eca");
        stem.starts_with(&format!("resnet{part}")) || stem.starts_with(&format!("resnext{part}"))
    };
    if let Some((_, what)) = INVISIBLE.iter().find(|(part, _)| has(part)) {
        return Err(refuse(
            name,
            format!("it has {what}, which is not supported"),
        ));
    }
    if let Some(argument) = ARGUMENTS.iter().find(|&&a| root.model_args.contains_key(a)) {
        return Err(refuse(
            name,
            format!("it was made with `{argument}`, which is not supported"),
        ));
    }
    if let Some(pool) = root.global_pool.filter(|pool| pool != "avg") {
        return Err(refuse(
            name,
            format!("its global pool is '{pool}'; only 'avg' is supported"),
        ));
    }
    let zero_padded_pool = match root.model_args.get("stem_type").and_then(Value::as_str) {
        Some(stem) if stem.contains("same") => {
            let reason = format!("its stem is '{stem}', which is not supported");
            return Err(refuse(name, reason));
        }
        stem => stem.is_some_and(|stem| stem.contains("fixed")),
    };
    let labels = timm_labels(&root.label_names, &root.label_descriptions)
        .or_else(|| timm_labels(&data.label_names, &data.label_descriptions));
    Ok(Config {
        classes: root.num_classes.or(data.num_classes),
        preprocess: Some((timm_rules(&data)?, CONFIG)),
        labels,
        zero_padded_pool,
        architecture: Some(root.architecture),
        ..Config::default()
    })
}

/// The fields of an object that say something: timm writes `null` for the default.
fn without_nulls(json: &Value) -> Value {
    let Value::Object(fields) = json else {
        return json.clone();
    };
    let said = fields.iter().filter(|(_, value)| !value.is_null());
    Value::Object(said.map(|(k, v)| (k.clone(), v.clone())).collect())
}

/// The evaluation of `timm/data/transforms_factory.py`.
fn timm_rules(data: &TimmData) -> Result<Preprocess, Error> {
    let refuse = |reason: String| Error::Preprocess {
        reason: format!("{CONFIG}: {reason}"),
    };
    let [channels, h, w] = data.input_size;
    if channels != 3 {
        return Err(refuse(format!(
            "images of {channels} channels are not supported"
        )));
    }
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
    let filter = match data.interpolation.as_str() {
        "nearest" => Filter::Nearest,
        "bilinear" => Filter::Bilinear,
        "bicubic" => Filter::Bicubic,
        "box" => Filter::Box,
        "hamming" => Filter::Hamming,
        "lanczos" => Filter::Lanczos,
        other => return Err(refuse(format!("interpolation '{other}' is unknown"))),
    };
    let rules = Preprocess {
        size: [h, w],
        resize,
        filter,
        mean: data.mean,
        std: data.std,
        ..Preprocess::TORCHVISION
    };
    rules.check()?;
    Ok(rules)
}

/// `⌊side / crop_pct⌋`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range is checked before"
)]
fn scaled(side: usize, crop_pct: f64) -> Option<usize> {
    let scaled = side as f64 / crop_pct;
    (1.0..1e6).contains(&scaled).then_some(scaled as usize)
}

/// timm names classes by a list or by number, and may describe each name.
fn timm_labels(names: &Value, descriptions: &Value) -> Option<Labels> {
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

// === Hugging Face ===

#[derive(Deserialize)]
struct HuggingFace {
    hidden_act: Option<String>,
    depths: Option<Vec<usize>>,
    downsample_in_bottleneck: Option<bool>,
    downsample_in_first_stage: Option<bool>,
    #[serde(default)]
    id2label: Value,
    num_labels: Option<usize>,
}

fn hugging_face(config: &Value, preprocessor: Option<&Value>) -> Result<Config, Error> {
    let model =
        HuggingFace::deserialize(config).map_err(|error| malformed("config.json", &error))?;
    if let Some(act) = model.hidden_act.filter(|act| act != "relu") {
        return Err(refuse(
            "resnet",
            format!("its activation is '{act}'; only 'relu' is supported"),
        ));
    }
    let named = matches!(&model.id2label, Value::Object(names) if !names.is_empty());
    let labels = if named {
        Labels::parse(&model.id2label.to_string()).ok()
    } else {
        None
    };
    // What `transformers` writes when nobody gave names.
    let generic = |labels: &Labels| {
        let mut numbered = labels.iter().enumerate();
        numbered.all(|(class, name)| name == format!("LABEL_{class}"))
    };
    let classes = labels.as_ref().map(Labels::len).or(model.num_labels);
    let preprocess = match preprocessor {
        Some(json) => Some((hugging_face_rules(json)?, PREPROCESSOR)),
        None => None,
    };
    Ok(Config {
        classes,
        depths: model.depths,
        // Absent fields have the defaults of `configuration_resnet.py`.
        downsample_in_bottleneck: Some(model.downsample_in_bottleneck.unwrap_or(false)),
        downsample_in_first_stage: Some(model.downsample_in_first_stage.unwrap_or(false)),
        preprocess,
        labels: labels.filter(|labels| !generic(labels)),
        ..Config::default()
    })
}

/// A size as Hugging Face writes it: one number, `{"shortest_edge": n}` or `{"height": h, "width": w}`.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Size {
    Edge(usize),
    Shortest { shortest_edge: usize },
    Both { height: usize, width: usize },
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

/// The processors that these networks are published with: that of `ConvNeXT`, and those that resize the
/// short edge and crop (`BiT`, CLIP) or squash (`ViT`).
fn hugging_face_rules(json: &Value) -> Result<Preprocess, Error> {
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
            let edge = match size {
                None => 384,
                Some(
                    Size::Edge(edge)
                    | Size::Shortest {
                        shortest_edge: edge,
                    },
                ) => edge,
                Some(Size::Both { height, .. }) => height,
            };
            convnext(edge, processor.crop_pct)
                .ok_or_else(|| refuse("crop_pct is out of range".to_owned()))?
        }
        ("ViT" | "DeiT", Some(Size::Edge(side))) => ([side; 2], Resize::Squash),
        (_, Some(Size::Both { height, width })) if processor.do_center_crop != Some(true) => {
            ([height, width], Resize::Squash)
        }
        (_, Some(Size::Shortest { shortest_edge })) => {
            let crop = match processor.crop_size {
                Some(Size::Both { height, width }) => [height, width],
                Some(
                    Size::Edge(side)
                    | Size::Shortest {
                        shortest_edge: side,
                    },
                ) => [side; 2],
                None => [shortest_edge; 2],
            };
            (crop, Resize::Cover([shortest_edge; 2]))
        }
        _ => {
            return Err(refuse(format!(
                "the processor '{kind}' is not supported; state the preprocessing"
            )));
        }
    };
    let filter = match processor.resample {
        Some(0) => Filter::Nearest,
        Some(1) => Filter::Lanczos,
        Some(2) => Filter::Bilinear,
        None | Some(3) => Filter::Bicubic,
        Some(4) => Filter::Box,
        Some(5) => Filter::Hamming,
        Some(other) => return Err(refuse(format!("resample {other} is unknown"))),
    };
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

/// `image_processing_convnext.py`: small images are resized by their short edge and cropped, large
/// ones squashed.
fn convnext(edge: usize, crop_pct: Option<f64>) -> Option<([usize; 2], Resize)> {
    if edge >= 384 {
        return Some(([edge; 2], Resize::Squash));
    }
    let scaled = scaled(edge, crop_pct.unwrap_or(224.0 / 256.0))?;
    Some(([edge; 2], Resize::Cover([scaled; 2])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: &str, preprocessor: Option<&str>, family: Family) -> Result<Config, Error> {
        let beside = Beside {
            config: Some(config.to_owned()),
            preprocessor: preprocessor.map(str::to_owned),
        };
        Config::read(&beside, family)
    }

    /// The preprocessing of a timm file with these fields.
    fn timm_preprocess(fields: &str) -> Preprocess {
        let text = format!(
            r#"{{"architecture": "resnet50", "num_classes": 1000, "pretrained_cfg": {{{fields}}}}}"#
        );
        let config = read(&text, None, Family::Torchvision).expect("read");
        assert_eq!(config.classes, Some(1000), "classes");
        config.preprocess.expect("said").0
    }

    #[test]
    fn timms_tags_give_their_own_preprocessing() {
        // resnet50.a1_in1k: ⌊224 / 0.95⌋ = 235.
        let a1 = timm_preprocess(
            r#""input_size": [3, 224, 224], "test_input_size": [3, 288, 288], "crop_pct": 0.95,
            "crop_mode": "center", "interpolation": "bicubic", "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225]"#,
        );
        assert_eq!(Some(a1), Preprocess::named("timm"), "a1");
        // resnet34.ra4_e3600_r224_in1k has other means.
        let ra4 =
            timm_preprocess(r#""mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "crop_pct": 0.9"#);
        assert_eq!(
            (ra4.mean, ra4.resize),
            ([0.5; 3], Resize::Cover([248, 248]))
        );
        let squash = timm_preprocess(r#""crop_mode": "squash", "crop_pct": 1.0"#);
        assert_eq!(squash.resize, Resize::SquashTo([224, 224]), "squash");
        let border = timm_preprocess(r#""crop_mode": "border", "crop_pct": 0.875"#);
        assert_eq!(border.resize, Resize::Contain([256, 256]), "border");
    }

    #[test]
    fn what_no_tensor_shows_is_refused_by_name() {
        for (config, family, expected) in [
            (
                r#"{"architecture": "resnetblur50"}"#,
                Family::Torchvision,
                "blur",
            ),
            (
                r#"{"architecture": "resnetaa50d.sw_in12k"}"#,
                Family::Torchvision,
                "anti-aliased",
            ),
            (
                r#"{"architecture": "resnet50", "model_args": {"act_layer": "silu"}}"#,
                Family::Torchvision,
                "act_layer",
            ),
            (
                r#"{"architecture": "resnet50", "global_pool": "catavgmax"}"#,
                Family::Torchvision,
                "catavgmax",
            ),
            (
                r#"{"architecture": "resnetv2_50", "model_args": {"stem_type": "same"}}"#,
                Family::PreActivation,
                "same",
            ),
            (
                r#"{"model_type": "resnet", "hidden_act": "gelu"}"#,
                Family::HuggingFace,
                "gelu",
            ),
        ] {
            match read(config, None, family) {
                Err(Error::Model { reason, .. }) => assert!(reason.contains(expected), "{reason}"),
                other => panic!("{config}: {other:?}"),
            }
        }
    }

    #[test]
    fn hugging_face_says_its_strides_labels_and_preprocessing() {
        let config = r#"{"model_type": "resnet", "depths": [3, 4, 6, 3],
            "downsample_in_bottleneck": true, "id2label": {"0": "cat", "1": "dog"}}"#;
        let preprocessor = r#"{"crop_pct": 0.875, "do_normalize": true, "do_resize": true,
            "feature_extractor_type": "ConvNextFeatureExtractor", "resample": 3, "size": 224,
            "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}"#;
        let config = read(config, Some(preprocessor), Family::HuggingFace).expect("read");
        assert_eq!(config.downsample_in_bottleneck, Some(true), "v1");
        assert_eq!(config.downsample_in_first_stage, Some(false), "default");
        assert_eq!(config.labels, Some(Labels::new(["cat", "dog"])), "labels");
        assert_eq!(
            config.preprocess,
            Some((Preprocess::HUGGING_FACE, PREPROCESSOR)),
            "microsoft/resnet-50"
        );

        let generic = r#"{"model_type": "resnet", "id2label": {"0": "LABEL_0", "1": "LABEL_1"}}"#;
        let config = read(generic, None, Family::HuggingFace).expect("read");
        assert_eq!((config.labels, config.classes), (None, Some(2)), "no names");
    }

    #[test]
    fn each_processor_of_hugging_face_is_followed() {
        let rules = |text: &str| hugging_face_rules(&serde_json::from_str(text).expect("JSON"));
        let large = rules(
            r#"{"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 384}}"#,
        );
        let large = large.expect("large images are squashed");
        assert_eq!((large.size, large.resize), ([384, 384], Resize::Squash));
        let bit = rules(
            r#"{"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 256},
            "crop_size": {"height": 224, "width": 200}, "resample": 2}"#,
        );
        let bit = bit.expect("short edge and crop");
        assert_eq!(
            (bit.size, bit.resize),
            ([224, 200], Resize::Cover([256, 256]))
        );
        assert_eq!(bit.filter, Filter::Bilinear, "resample");
        let vit = rules(
            r#"{"image_processor_type": "ViTImageProcessor", "size": 64, "do_normalize": false}"#,
        );
        let vit = vit.expect("squashed");
        assert_eq!((vit.size, vit.mean), ([64, 64], [0.0; 3]));
        for bad in [
            r#"{"image_processor_type": "Unheard", "size": 5}"#,
            r#"{"image_processor_type": "ConvNextImageProcessor", "do_rescale": false}"#,
            r#"{"image_processor_type": "ConvNextImageProcessor", "rescale_factor": 1.0}"#,
            r#"{"image_processor_type": "ConvNextImageProcessor", "size": 224, "crop_pct": 0}"#,
            r#"{"size": "large"}"#,
        ] {
            assert!(matches!(rules(bad), Err(Error::Preprocess { .. })), "{bad}");
        }
    }

    #[test]
    fn files_of_other_programs_and_damaged_ones_are_passed_over() {
        for text in ["{", "[]", "{}", r#"{"model_type": "bert"}"#] {
            for family in [Family::Torchvision, Family::HuggingFace] {
                let config = read(text, None, family).expect("passed over");
                assert!(config.preprocess.is_none(), "{text}");
            }
        }
    }
}
