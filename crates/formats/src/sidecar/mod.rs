//! Reads the JSON files that describe a weight file and lie next to it: timm's and Hugging Face's.
//!
//! timm's `config.json` names the architecture and states the preprocessing in `pretrained_cfg`;
//! Hugging Face's states the structure and the labels, and `preprocessor_config.json` the
//! preprocessing. Anything that the tensors do not show and this crate does not build is refused
//! here by name.

mod hugging_face;
mod steps;
mod timm;

use std::io;
use std::path::Path;

use serde_json::Value;

use resnet_wgpu::Error;
use resnet_wgpu::internals::files;
use resnet_wgpu::internals::network::Family;
use resnet_wgpu::internals::network::resnet::Config;
use resnet_wgpu::network::{Decision, ModelOptions};
use resnet_wgpu::picture::{Filter, Preprocess};

/// A `config.json` with 21,841 class names has 2 MB.
const MAX_BYTES: u64 = 16 << 20;

/// The text of each side-car file that exists.
#[derive(Clone, Debug, Default)]
pub(crate) struct SideCars {
    /// `config.json`, as timm and Hugging Face write it.
    config: Option<String>,
    /// `preprocessor_config.json`, as Hugging Face writes it.
    preprocessor: Option<String>,
}

impl SideCars {
    /// Reads the side-car files of a weight file.
    pub(crate) fn of(weights: &Path) -> Self {
        Self {
            config: text(&weights.with_file_name("config.json")),
            preprocessor: text(&weights.with_file_name("preprocessor_config.json")),
        }
    }

    /// Finds the side-car files of a file that contains its own graph: beside it, or in the parent
    /// folder if the file lies in a folder named `onnx`.
    #[cfg(feature = "onnx")]
    pub(crate) fn of_graph(file: &Path) -> Self {
        let beside = Self::of(file);
        let folder = file.parent().filter(|folder| folder.ends_with("onnx"));
        match folder {
            Some(folder) if beside.config.is_none() && beside.preprocessor.is_none() => {
                Self::of(folder)
            }
            _ => beside,
        }
    }

    /// What the files state besides layers, for a file that contains its own graph: preprocessing,
    /// class names and the final activation.
    ///
    /// # Errors
    /// As [`Self::read`].
    #[cfg(feature = "onnx")]
    pub(crate) fn of_pictures(&self, options: &ModelOptions) -> Result<Config, Error> {
        let config = self.config().unwrap_or_default();
        if config["architecture"].is_string() {
            timm::of_pictures(&config, options.preprocess.is_none())
        } else {
            hugging_face::of_pictures(&config, self.preprocessor(options).as_ref())
        }
    }

    /// Interprets the files for a network of this family. Files of other programs are ignored, and what
    /// they say about the preparation of images where that is asked for otherwise.
    ///
    /// # Errors
    /// [`Error::Model`] for an unsupported part, [`Error::Preprocess`] for unsupported
    /// preprocessing.
    pub(crate) fn read(&self, family: Family, options: &ModelOptions) -> Result<Config, Error> {
        let Some(config) = self.config() else {
            return Ok(Config::default());
        };
        match family {
            Family::HuggingFace if config["model_type"] == "resnet" => {
                hugging_face::read(&config, self.preprocessor(options).as_ref())
            }
            Family::Torchvision
            | Family::Senet
            | Family::SelectiveKernels
            | Family::PreActivation
                if config["architecture"].is_string() =>
            {
                timm::read(&config, options.preprocess.is_none())
            }
            _ => Ok(Config::default()),
        }
    }

    fn config(&self) -> Option<Value> {
        parsed(self.config.as_deref()?, "config.json")
    }

    fn preprocessor(&self, options: &ModelOptions) -> Option<Value> {
        if options.preprocess.is_some() {
            return None;
        }
        parsed(self.preprocessor.as_deref()?, "preprocessor_config.json")
    }
}

/// The content of a side-car file; one that is damaged is passed over with a warning.
fn parsed(text: &str, name: &str) -> Option<Value> {
    let parsed = serde_json::from_str(text);
    parsed
        .inspect_err(|error| log::warn!("'{name}' beside the weights is damaged: {error}"))
        .ok()
}

/// Reads preprocessing from any of its JSON forms: that of [`Preprocess::from_json`], Hugging
/// Face's `preprocessor_config.json`, or a list of torchvision transforms.
///
/// # Errors
/// [`Error::Preprocess`] for anything else, and for preprocessing that is not supported.
pub fn preprocess(text: &str) -> Result<Preprocess, Error> {
    match serde_json::from_str::<Value>(text) {
        Ok(steps @ Value::Array(_)) => steps::read(&steps),
        Ok(json)
            if json.get("image_processor_type").is_some()
                || json.get("feature_extractor_type").is_some() =>
        {
            hugging_face::rules_of(&json)
        }
        _ => Preprocess::from_json(text),
    }
}

/// The preparation of images that the arguments of a training script state, as JSON.
///
/// # Errors
/// [`Error::Preprocess`] for what is not supported.
pub(crate) fn of_arguments(text: &str) -> Result<Option<(Preprocess, Decision)>, Error> {
    timm::of_arguments(text)
}

/// Adds what the arguments with which timm made a network, as JSON, say about it.
///
/// # Errors
/// [`Error::Model`] for what is not supported.
pub(crate) fn state_arguments(config: &mut Config, text: &str) -> Result<(), Error> {
    let what = "the network's arguments in the checkpoint";
    let arguments = serde_json::from_str(text).map_err(|error| malformed(what, &error))?;
    timm::state_arguments(config, what, &arguments)
}

/// The filter of an interpolation, in whose words the rules themselves have it.
fn filter(interpolation: &str) -> Result<Filter, String> {
    serde_json::from_value(interpolation.into())
        .map_err(|_| format!("interpolation '{interpolation}' is unknown"))
}

/// The text of a file, if it can be read. Weights load without it, so a failure is only logged as a
/// warning.
pub(crate) fn text(path: &Path) -> Option<String> {
    let file = files::open(path).ok()?;
    let bytes = files::read_all(file, MAX_BYTES);
    bytes
        .and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other))
        .inspect_err(|error| log::warn!("'{}' is not read: {error}", path.display()))
        .ok()
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

/// An object without its `null` fields, which timm and Hugging Face write in place of defaults.
fn without_nulls(json: &Value) -> Value {
    let Value::Object(fields) = json else {
        return json.clone();
    };
    let said = fields.iter().filter(|(_, value)| !value.is_null());
    Value::Object(said.map(|(k, v)| (k.clone(), v.clone())).collect())
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

#[cfg(test)]
mod tests {
    use super::*;
    use resnet_wgpu::internals::network::resnet::PREPROCESSOR;
    use resnet_wgpu::network::Confidence;
    use resnet_wgpu::picture::{ChannelOrder, Filter, Labels, Resize};

    fn read(config: &str, preprocessor: Option<&str>, family: Family) -> Result<Config, Error> {
        let side_cars = SideCars {
            config: Some(config.to_owned()),
            preprocessor: preprocessor.map(str::to_owned),
        };
        side_cars.read(family, &ModelOptions::default())
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
        // resnet34.ra4_e3600_r224_in1k uses a different mean and deviation.
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
        let rules = |text: &str| hugging_face::rules_of(&serde_json::from_str(text).expect("JSON"));
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
        let efficient = rules(
            r#"{"image_processor_type": "EfficientNetImageProcessor", "size": {"height": 64, "width": 64},
            "rescale_offset": true, "rescale_factor": 0.00784313725490196, "image_mean": [0, 0, 0],
            "image_std": [0.5, 0.5, 0.5]}"#,
        );
        let efficient = efficient.expect("normalised twice");
        // (p / 127.5 − 1) / 0.5 / 0.5 = (p / 255 − 0.5) / 0.125
        assert_eq!((efficient.mean, efficient.std), ([0.5; 3], [0.125; 3]));
        let raw = rules(
            r#"{"image_processor_type": "ConvNextImageProcessor", "do_rescale": false, "size": 224,
            "image_mean": [127.5, 127.5, 127.5], "image_std": [51, 51, 51]}"#,
        );
        let raw = raw.expect("pixels count from 0 to 255");
        assert_eq!((raw.mean, raw.std), ([0.5; 3], [0.2; 3]));
        let mobile = rules(
            r#"{"image_processor_type": "MobileViTImageProcessor", "size": {"shortest_edge": 288}}"#,
        );
        let mobile = mobile.expect("blue first, and not normalised");
        assert_eq!((mobile.channels, mobile.std), (ChannelOrder::Bgr, [1.0; 3]));
        let free = rules(
            r#"{"image_processor_type": "CLIPImageProcessor", "do_center_crop": false, "size": 100}"#,
        );
        let free = free.expect("as wide as the image");
        let wide = free.for_image([40, 60]).expect("its own size");
        assert_eq!((wide.size, wide.resize), ([100, 150], Resize::Squash));
        let kept = rules(r#"{"image_processor_type": "ViTImageProcessor", "do_resize": false}"#);
        let kept = kept.expect("as it is").for_image([40, 60]);
        assert_eq!(kept.map(|rules| rules.size), Some([40, 60]));
        for bad in [
            r#"{"image_processor_type": "Unheard", "size": 5}"#,
            r#"{"image_processor_type": "ConvNextImageProcessor", "do_blur": true}"#,
            r#"{"image_processor_type": "MobileViTImageProcessor"}"#,
            r#"{"image_processor_type": "ConvNextImageProcessor", "size": 224, "crop_pct": 0}"#,
            r#"{"size": "large"}"#,
        ] {
            assert!(matches!(rules(bad), Err(Error::Preprocess { .. })), "{bad}");
        }
    }

    #[test]
    fn what_arguments_of_a_script_leave_open_is_named() {
        let read = |text: &str| of_arguments(text).expect("read");
        let (rules, decision) = read(r#"{"mean": [0.5], "crop_pct": null}"#).expect("timm's");
        assert_eq!(rules.resize, Resize::Cover([235, 235]), "0.95 of most");
        assert_eq!((rules.mean, rules.filter), ([0.5; 3], Filter::Bicubic));
        assert!(decision.confidence == Confidence::Assumed, "{decision}");
        let open = "std, crop_pct, interpolation, img_size";
        assert!(decision.evidence.contains(open), "{decision}");
        assert!(read(r#"{"mean": [0.5]}"#).is_none(), "another script's");
        assert!(
            of_arguments(r#"{"crop_pct": 0.0}"#).is_err(),
            "it makes no sense"
        );
    }

    #[test]
    fn steps_of_torchvision_are_rules() {
        let steps = r#"[{"Resize": 256}, {"CenterCrop": 224}, "ToTensor",
            {"Normalize": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}}]"#;
        assert_eq!(preprocess(steps).ok(), Some(Preprocess::TORCHVISION));
        let squashed = preprocess(
            r#"[{"Resize": {"size": [64, 48], "interpolation": "bicubic"}}, "ToTensor"]"#,
        );
        let squashed = squashed.expect("read");
        assert_eq!((squashed.size, squashed.resize), ([64, 48], Resize::Squash));
        assert_eq!(squashed.filter, Filter::Bicubic);
        for bad in [
            r#"["ToTensor", {"Resize": 256}]"#,
            r#"[{"CenterCrop": 224}]"#,
            r#"[{"RandomCrop": 224}]"#,
        ] {
            assert!(
                matches!(preprocess(bad), Err(Error::Preprocess { .. })),
                "{bad}"
            );
        }
        let processor = r#"{"image_processor_type": "ViTImageProcessor"}"#;
        assert_eq!(
            preprocess(processor).map(|rules| rules.mean).ok(),
            Some([0.5; 3])
        );
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
