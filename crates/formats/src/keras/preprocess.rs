//! How images were prepared for a network. No Keras file states it, unless layers of the network do
//! it, so it follows from the family that the layer names show.

use super::import::pixels::Pixels;
use super::network::{Kind, Layer, Network};
use resnet_wgpu::internals::picture::{IMAGENET_MEAN, IMAGENET_STD};
use resnet_wgpu::network::{Confidence, Decision, Variant};
use resnet_wgpu::picture::{ChannelOrder, Crop, Filter, Preprocess, Resize};

/// ImageNet mean of 8-bit pixels in RGB order, as TensorFlow's official ResNet subtracts it
/// (`imagenet_preprocessing.py`).
const TF_MEAN: [f32; 3] = [123.68, 116.779, 103.939];

/// The preprocessing, and the evidence for it.
pub(super) fn decide(
    variant: Option<Variant>,
    pixels: Option<Pixels>,
    size: [usize; 2],
    classes: usize,
) -> (Preprocess, Decision) {
    let (rules, evidence, confidence) = match pixels {
        Some(pixels) if pixels.only_adds() => {
            let (family, evidence, _) = of_family(variant, classes);
            (after_family(pixels, family), evidence, Confidence::Assumed)
        }
        Some(pixels) => (
            of_layers(pixels, of_family(variant, classes).0),
            "a layer of the network scales the pixels",
            Confidence::Inferred,
        ),
        None => of_family(variant, classes),
    };
    let rules = rules.with_size(size);
    let decision = Decision::new("preprocessing", rules.to_string(), evidence, confidence);
    (rules, decision)
}

/// Keras' `load_img`: stretches the whole image to the input size, nearest neighbour.
fn load_img() -> Preprocess {
    let mut rules = Preprocess::NOTEBOOK;
    rules.size = [224, 224];
    rules.resize = Resize::Squash;
    rules.filter = Filter::Nearest;
    rules.crop = Crop::Round;
    rules.mean = [0.0; 3];
    rules.std = [1.0; 3];
    rules.channels = ChannelOrder::Rgb;
    rules
}

/// Preprocessing `(pixel / 255 − mean) / std` that equals layers with `scale · pixel + offset`.
/// Resizing is that of the family.
#[expect(clippy::cast_possible_truncation, reason = "rules are of 32 bits")]
fn of_layers(pixels: Pixels, family: Preprocess) -> Preprocess {
    let std = pixels.scale.map(|scale| 1.0 / (255.0 * scale));
    let mut rules = family;
    rules.mean = std::array::from_fn(|c| (-pixels.offset[c] * std[c]) as f32);
    rules.std = std.map(|std| std as f32);
    rules.channels = if pixels.reversed {
        ChannelOrder::Bgr
    } else {
        ChannelOrder::Rgb
    };
    rules
}

/// Adds the layers' offset to the family's rule: `(pixel / 255 − mean) / std + offset`.
#[expect(clippy::cast_possible_truncation, reason = "rules are of 32 bits")]
fn after_family(pixels: Pixels, family: Preprocess) -> Preprocess {
    let added = |c: usize| pixels.offset[c] as f32 * family.std[c];
    let mut rules = family;
    rules.mean = std::array::from_fn(|c| family.mean[c] - added(c));
    rules
}

fn of_family(variant: Option<Variant>, classes: usize) -> (Preprocess, &'static str, Confidence) {
    let named = |name: &str| Preprocess::named(name).unwrap_or_else(load_img);
    let published = if classes == 1000 {
        Confidence::Inferred
    } else {
        Confidence::Assumed
    };
    match variant {
        Some(Variant::Fchollet | Variant::FcholletUnpadded | Variant::KerasApplications) => (
            named("keras-caffe"),
            "family: preprocess_input in mode caffe",
            published,
        ),
        Some(Variant::KerasApplicationsV2) => (
            named("keras-tf"),
            "family: preprocess_input in mode tf",
            published,
        ),
        Some(Variant::TfOfficial) => (
            {
                let mut rules = Preprocess::TORCHVISION;
                rules.mean = TF_MEAN.map(|mean| mean / 255.0);
                rules.std = [1.0 / 255.0; 3];
                rules
            },
            "family: the mean is subtracted",
            published,
        ),
        Some(Variant::KerasHub) => (
            {
                let mut rules = load_img();
                rules.mean = IMAGENET_MEAN;
                rules.std = IMAGENET_STD;
                rules.filter = Filter::Bilinear;
                rules.resize = Resize::Cover([224, 224]);
                rules
            },
            "family: presets of KerasHub normalise as torchvision does",
            Confidence::Assumed,
        ),
        Some(Variant::Notebook) => (
            load_img(),
            "family: the lesson divides by 255",
            Confidence::Assumed,
        ),
        _ => (
            load_img(),
            "no family is known; most lessons divide by 255",
            Confidence::Assumed,
        ),
    }
}

/// The family that a described network belongs to, by its layer names.
pub(super) fn of_names(network: &Network) -> Option<Variant> {
    let layers = network.flat();
    let has = |name: &str| layers.iter().any(|layer| layer.name == name);
    if has("conv2_block1_preact_bn") {
        return Some(Variant::KerasApplicationsV2);
    }
    if has("conv2_block1_1_conv") {
        return Some(Variant::KerasApplications);
    }
    let is_hub = |layer: &&Layer| matches!(layer.kind, Kind::Plan(_));
    if has("stack0_block0_1_conv") || layers.iter().any(is_hub) {
        return Some(Variant::KerasHub);
    }
    let flattens = layers
        .iter()
        .any(|layer| matches!(layer.kind, Kind::Flatten { .. }));
    let unbiased = layers
        .iter()
        .any(|layer| matches!(layer.kind, Kind::Conv(conv) if !conv.bias));
    match (has("res2a_branch2a"), flattens, unbiased) {
        (true, true, _) => Some(Variant::Notebook),
        (true, false, true) => Some(Variant::TfOfficial),
        (true, false, false) => Some(Variant::Fchollet),
        (false, ..) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_scales_becomes_mean_and_deviation() {
        // x / 127.5 − 1, as `preprocess_input` does in mode `tf`.
        let pixels = Pixels {
            scale: [1.0 / 127.5; 3],
            offset: [-1.0; 3],
            reversed: false,
        };
        let rules = of_layers(pixels, of_family(Some(Variant::KerasHub), 5).0);
        assert_eq!(rules.filter, Filter::Bilinear, "of the family");
        for pixel in [0.0f32, 100.0, 255.0] {
            for c in 0..3 {
                let got = (pixel / 255.0 - rules.mean[c]) / rules.std[c];
                let want = pixel / 127.5 - 1.0;
                assert!((got - want).abs() < 1e-6, "{pixel}: {got}, not {want}");
            }
        }
    }

    #[test]
    fn a_layer_that_only_adds_follows_the_preparation_of_the_family() {
        let pixels = Pixels {
            scale: [1.0; 3],
            offset: [3.0; 3],
            reversed: false,
        };
        let family = of_family(Some(Variant::KerasApplications), 5).0;
        let (rules, _) = decide(Some(Variant::KerasApplications), Some(pixels), [64; 2], 5);
        for pixel in [0.0f32, 100.0, 255.0] {
            for c in 0..3 {
                let [got, alone] =
                    [&rules, &family].map(|of| (pixel / 255.0 - of.mean[c]) / of.std[c]);
                assert!(
                    (got - alone - 3.0).abs() < 1e-4,
                    "{pixel}: {got}, not {alone} + 3"
                );
            }
        }
        assert_eq!(rules.channels, ChannelOrder::Bgr, "as the family has it");
    }
}
