//! Preprocessing, from an image to the input of a network: plain data that can be stored as JSON.
//!
//! [`super`] carries out the rules on 8-bit pixels; kernels that read textures also need the
//! parameters of the last step, `(pixel / 255 − mean) / std`.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::resample::fit;
use crate::error::Error;

/// ImageNet mean per channel, in RGB order (torchvision, timm and Hugging Face).
pub const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];

/// ImageNet standard deviation per channel, in RGB order.
pub const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// ImageNet mean of 8-bit pixels in BGR order, as subtracted by Caffe (Keras's
/// `imagenet_utils.py`).
const CAFFE_MEAN: [f32; 3] = [103.939, 116.779, 123.68];

/// The preprocessing rules of a network.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Preprocess {
    /// Height and width of the network's input.
    pub size: [usize; 2],
    /// How images are resized to it.
    pub resize: Resize,
    /// How pixels are interpolated.
    pub filter: Filter,
    /// How to centre the crop if the margin cannot be halved.
    #[serde(default)]
    pub crop: Crop,
    /// Subtracted from each channel after division by 255, in the order of [`Self::channels`].
    pub mean: [f32; 3],
    /// Divides each channel after the mean is subtracted, in the order of [`Self::channels`].
    pub std: [f32; 3],
    /// The channel order that the network expects.
    #[serde(default)]
    pub channels: ChannelOrder,
}

/// How an image of any size is resized to the network's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Resize {
    /// Stretches it to the input size; the aspect ratio changes.
    Squash,
    /// Stretches it to this height and width, then centre-crops (timm's `squash`).
    SquashTo([usize; 2]),
    /// Resizes it, keeping the aspect ratio, to the smallest size that covers this height and
    /// width, then centre-crops. If both are equal, this is torchvision's `Resize(edge)`, otherwise
    /// timm's `ResizeKeepRatio`.
    Cover([usize; 2]),
    /// Resizes it, keeping the aspect ratio, to the largest size that fits into this height and
    /// width, then pads with the mean colour or centre-crops (timm's `border`).
    Contain([usize; 2]),
    /// Does not resize: the network gets every image in its own size.
    Keep,
    /// Resizes the short edge to this length, keeping the aspect ratio, and does not crop.
    ShortEdge(usize),
}

impl Resize {
    /// Whether the network gets images of different sizes.
    const fn is_free(self) -> bool {
        matches!(self, Self::Keep | Self::ShortEdge(_))
    }

    /// The height and width that an image is resized to, for a network with input size `size`.
    const fn target(self, size: [usize; 2]) -> [usize; 2] {
        match self {
            Self::Squash | Self::Keep | Self::ShortEdge(_) => size,
            Self::SquashTo(target) | Self::Cover(target) | Self::Contain(target) => target,
        }
    }
}

impl fmt::Display for Resize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (how, [h, w]) = match self {
            Self::Squash => return f.write_str("squashed"),
            Self::Keep => return f.write_str("or any other size, as it is"),
            Self::ShortEdge(edge) => return write!(f, "or longer, with its short edge at {edge}"),
            Self::SquashTo(target) => ("the centre of the image squashed to", target),
            Self::Cover([h, w]) if h == w => {
                return write!(f, "the centre of the image with its short edge at {h}");
            }
            Self::Cover(target) => ("the centre of the image covering", target),
            Self::Contain(target) => ("the image fitted into", target),
        };
        write!(f, "{how} {h}x{w}")
    }
}

/// Interpolation filters, with the supports and coefficients of Pillow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Filter {
    /// Nearest neighbour.
    Nearest,
    /// The mean of all covered pixels.
    Box,
    /// Linear interpolation (a triangle filter).
    Bilinear,
    /// Cubic interpolation with a = −0.5.
    Bicubic,
    /// A Hamming window, between a box and a triangle.
    Hamming,
    /// Lanczos with three lobes.
    Lanczos,
}

#[doc(hidden)]
impl Filter {
    /// The name used in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Box => "box",
            Self::Bilinear => "bilinear",
            Self::Bicubic => "bicubic",
            Self::Hamming => "hamming",
            Self::Lanczos => "lanczos",
        }
    }
}

/// How the margin of a centre crop is halved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Crop {
    /// Rounds to nearest, ties to even, as Python does, and with it torchvision and timm.
    #[default]
    Round,
    /// Rounds down, as Hugging Face does.
    Floor,
}

/// Order of the colour channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ChannelOrder {
    /// Red first.
    #[default]
    Rgb,
    /// Blue first.
    Bgr,
    /// Greyscale: all three channels hold the luma, as in Pillow's mode `L`.
    Grey,
    /// So many channels that are no colours. Images are arrays of numbers in place of pictures:
    /// floats are what the network reads, only bytes are scaled.
    Planes(usize),
}

/// How pixel values become tensor values: `(v / 255 − mean) / std`, per channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalization {
    /// Mean of each channel, for pixels from 0 to 1, in the order of the tensor's channels.
    pub mean: [f32; 3],
    /// Standard deviation of each channel, likewise.
    pub std: [f32; 3],
    /// Whether the tensor's channels are in the order blue, green, red.
    pub swap_red_blue: bool,
}

impl Preprocess {
    /// The preprocessing of this name.
    pub fn named(name: &str) -> Option<Self> {
        let keras = Self {
            size: [224, 224],
            filter: Filter::Nearest,
            ..Self::NOTEBOOK
        };
        Some(match name {
            "torchvision" => Self::TORCHVISION,
            // The weights of 2021, named `IMAGENET1K_V2`.
            "torchvision-v2" => Self {
                resize: Resize::Cover([232, 232]),
                ..Self::TORCHVISION
            },
            // `resnet50.a1_in1k`: crop_pct 0.95, so the edge is ⌊224 / 0.95⌋.
            "timm" => Self {
                resize: Resize::Cover([235, 235]),
                filter: Filter::Bicubic,
                ..Self::TORCHVISION
            },
            "hf" => Self::HUGGING_FACE,
            "notebook" | "div255" => Self::NOTEBOOK,
            "keras-caffe" => Self {
                mean: CAFFE_MEAN.map(|mean| mean / 255.0),
                std: [1.0 / 255.0; 3],
                channels: ChannelOrder::Bgr,
                ..keras
            },
            "cifar" => Self::CIFAR,
            "keras-tf" => Self {
                mean: [0.5; 3],
                std: [0.5; 3],
                ..keras
            },
            _ => return None,
        })
    }

    /// Parses rules from JSON with the fields of this struct.
    ///
    /// # Errors
    /// [`Error::Preprocess`] if the text is not such JSON, or if the rules make no sense.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let rules: Self = serde_json::from_str(text).map_err(|error| Error::Preprocess {
            reason: error.to_string(),
        })?;
        rules.check()?;
        Ok(rules)
    }

    /// The rules for an image of height `h` and width `w`, for networks that take each image in its
    /// own size; `None` for others.
    #[must_use]
    #[doc(hidden)]
    pub fn for_image(&self, [h, w]: [usize; 2]) -> Option<Self> {
        let size = match self.resize {
            Resize::Keep => [h, w],
            Resize::ShortEdge(edge) if h <= w => [edge, edge.saturating_mul(w) / h.max(1)],
            Resize::ShortEdge(edge) => [edge.saturating_mul(h) / w.max(1), edge],
            _ => return None,
        };
        Some(Self {
            size,
            resize: Resize::Squash,
            ..*self
        })
    }

    /// The same rules for another input size; the size before cropping changes in proportion.
    #[doc(hidden)]
    #[must_use]
    pub fn with_size(self, size: [usize; 2]) -> Self {
        let scaled = |target: [usize; 2]| {
            [0, 1].map(|i| {
                let scaled = target[i].saturating_mul(size[i]) / self.size[i].max(1);
                scaled.max(size[i])
            })
        };
        let resize = match self.resize {
            free if free.is_free() && size == self.size => free,
            Resize::Squash | Resize::Keep | Resize::ShortEdge(_) => Resize::Squash,
            Resize::SquashTo(target) => Resize::SquashTo(scaled(target)),
            Resize::Cover(target) => Resize::Cover(scaled(target)),
            Resize::Contain(target) => Resize::Contain(scaled(target)),
        };
        Self {
            size,
            resize,
            ..self
        }
    }

    /// The rows and columns that the network sees of an image of height `h` and width `w`: all, or
    /// those that remain after the crop.
    #[doc(hidden)]
    pub fn seen(&self, [h, w]: [usize; 2]) -> [Range<usize>; 2] {
        fit([h, w], self).map(|axis| axis.source())
    }
}

#[doc(hidden)]
impl Preprocess {
    /// The names that [`Self::named`] knows.
    pub const NAMES: &[&str] = &[
        "torchvision",
        "torchvision-v2",
        "timm",
        "hf",
        "notebook",
        "div255",
        "keras-caffe",
        "keras-tf",
        "cifar",
    ];

    /// torchvision's evaluation of its first ImageNet weights: short edge 256, crop 224.
    pub const TORCHVISION: Self = Self {
        size: [224, 224],
        resize: Resize::Cover([256, 256]),
        filter: Filter::Bilinear,
        crop: Crop::Round,
        mean: IMAGENET_MEAN,
        std: IMAGENET_STD,
        channels: ChannelOrder::Rgb,
    };

    /// `microsoft/resnet-50` on Hugging Face: like torchvision's, but bicubic.
    pub const HUGGING_FACE: Self = Self {
        filter: Filter::Bicubic,
        crop: Crop::Floor,
        ..Self::TORCHVISION
    };

    /// CLIP's networks: short edge and crop of 224, bicubic.
    pub const CLIP: Self = Self {
        resize: Resize::Cover([224, 224]),
        filter: Filter::Bicubic,
        mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
        std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
        ..Self::TORCHVISION
    };

    /// The lesson's notebook: the whole image resized to 64×64, pixels divided by 255.
    pub const NOTEBOOK: Self = Self {
        size: [64, 64],
        resize: Resize::Squash,
        filter: Filter::Bilinear,
        crop: Crop::Round,
        mean: [0.0; 3],
        std: [1.0; 3],
        channels: ChannelOrder::Rgb,
    };

    /// The preprocessing of most networks for CIFAR: 32×32, with the statistics of CIFAR's pixels.
    pub const CIFAR: Self = Self {
        size: [32, 32],
        mean: [0.4914, 0.4822, 0.4465],
        std: [0.2023, 0.1994, 0.2010],
        ..Self::NOTEBOOK
    };

    /// The parameters of the last step, in the form that kernels and the reference use.
    pub const fn normalization(&self) -> Normalization {
        Normalization {
            mean: self.mean,
            std: self.std,
            swap_red_blue: matches!(self.channels, ChannelOrder::Bgr),
        }
    }

    /// Checks that the rules can be carried out.
    ///
    /// # Errors
    /// [`Error::Preprocess`], which says what is wrong.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |reason: String| Err(Error::Preprocess { reason });
        let [h, w] = self.size;
        let cover = self.resize.target(self.size);
        let sides = [h, w, cover[0], cover[1]];
        if sides.iter().any(|side| !(1..=MAX_SIDE).contains(side)) {
            return refuse(format!("a side of {sides:?} is not in 1..={MAX_SIDE}"));
        }
        if cover[0] < h || cover[1] < w {
            return refuse(format!(
                "an image of {}x{} has no centre of {h}x{w}",
                cover[0], cover[1]
            ));
        }
        if self.mean.iter().any(|mean| !mean.is_finite()) {
            return refuse(format!("the mean is {:?}", self.mean));
        }
        if self.std.iter().any(|std| !(std.is_normal() && *std > 0.0)) {
            return refuse(format!("the standard deviation is {:?}", self.std));
        }
        Ok(())
    }
}

impl fmt::Display for Preprocess {
    /// A one-line summary.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            size: [h, w],
            resize,
            filter,
            mean,
            std,
            channels,
            ..
        } = self;
        let channels = match channels {
            ChannelOrder::Rgb => "RGB",
            ChannelOrder::Bgr => "BGR",
            ChannelOrder::Grey => "grey",
            ChannelOrder::Planes(count) => {
                let free = if resize.is_free() {
                    " or any other size"
                } else {
                    ""
                };
                let scaled = if *std == [1.0; 3] { "/255" } else { "too" };
                return write!(
                    f,
                    "{h}x{w}{free}, arrays of {count} channels: floats as they are, bytes {scaled}"
                );
            }
        };
        let filter = filter.name();
        write!(
            f,
            "{h}x{w}, {resize} ({filter}), {channels}, /255, mean {mean:?}, std {std:?}"
        )
    }
}

/// Largest height or width that is accepted: keeps a mistyped size from filling the memory.
const MAX_SIDE: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_known_makes_sense_and_survives_json() {
        for name in Preprocess::NAMES {
            let rules = Preprocess::named(name).unwrap_or_else(|| panic!("{name} is listed"));
            rules
                .check()
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            let json = serde_json::to_string(&rules).expect("plain data");
            assert_eq!(Preprocess::from_json(&json).ok(), Some(rules), "{json}");
        }
        assert_eq!(Preprocess::named("unheard-of"), None, "unknown name");
    }

    #[test]
    fn the_json_form_is_the_documented_one() {
        let text = r#"{"size": [224, 224], "resize": {"cover": [256, 256]}, "filter": "bilinear",
            "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}"#;
        assert_eq!(
            Preprocess::from_json(text).ok(),
            Some(Preprocess::TORCHVISION),
            "crop and channels have defaults"
        );
    }

    #[test]
    fn senseless_rules_are_refused() {
        let torch = Preprocess::TORCHVISION;
        for rules in [
            Preprocess {
                size: [0, 224],
                ..torch
            },
            Preprocess {
                size: [300, 224],
                ..torch
            },
            Preprocess {
                std: [0.0, 1.0, 1.0],
                ..torch
            },
            Preprocess {
                mean: [f32::NAN, 0.0, 0.0],
                ..torch
            },
            Preprocess {
                resize: Resize::Cover([1 << 40, 256]),
                ..torch
            },
        ] {
            assert!(rules.check().is_err(), "{rules:?}");
        }
        assert!(
            Preprocess::from_json("{\"filter\": \"cubic\"}").is_err(),
            "unknown filter"
        );
    }

    #[test]
    fn what_is_seen_is_all_or_the_middle() {
        let squash = Preprocess::NOTEBOOK;
        assert_eq!(squash.seen([33, 61]), [0..33, 0..61], "squashed");
        // 448×672 becomes 256×384, of which the middle 224×224 is seen: 1.75 times as much.
        let cover = Preprocess::TORCHVISION;
        assert_eq!(cover.seen([448, 672]), [28..420, 140..532], "cropped");
        assert_eq!(cover.seen([1, 1]), [0..1, 0..1], "never empty");
    }

    #[test]
    fn another_size_scales_the_edge() {
        let rules = Preprocess::TORCHVISION.with_size([288, 288]);
        // timm: floor(288 / 0.875).
        assert_eq!(rules.resize, Resize::Cover([329, 329]), "edge");
        let rules = Preprocess::NOTEBOOK.with_size([128, 96]);
        assert_eq!(
            (rules.size, rules.resize),
            ([128, 96], Resize::Squash),
            "squash"
        );
    }
}
