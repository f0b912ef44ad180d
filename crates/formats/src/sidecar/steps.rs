//! Preprocessing given as a JSON list of torchvision transforms.
//!
//! `[{"Resize": 256}, {"CenterCrop": 224}, "ToTensor", {"Normalize": {"mean": […], "std": […]}}]`

use serde::Deserialize;
use serde_json::Value;

use resnet_wgpu::Error;
use resnet_wgpu::picture::{Preprocess, Resize};

/// One number for all channels, or three.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Numbers {
    One([f32; 1]),
    Same(f32),
    Three([f32; 3]),
}

impl Numbers {
    const fn each(self) -> [f32; 3] {
        match self {
            Self::One([one]) | Self::Same(one) => [one; 3],
            Self::Three(three) => three,
        }
    }
}

/// A single side, or height and width, as torchvision accepts them.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Size {
    One(usize),
    Both([usize; 2]),
}

impl Size {
    const fn both(self) -> [usize; 2] {
        match self {
            Self::One(side) => [side; 2],
            Self::Both(sides) => sides,
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ResizeStep {
    Size(Size),
    Full {
        size: Size,
        #[serde(default)]
        interpolation: Option<String>,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum CropStep {
    Size(Size),
    Full { size: Size },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
enum Step {
    Resize(ResizeStep),
    CenterCrop(CropStep),
    Normalize {
        mean: Numbers,
        std: Numbers,
    },
    ToTensor,
    #[serde(rename = "PILToTensor")]
    PilToTensor,
    ConvertImageDtype,
}

/// The preprocessing that a list of transforms describes.
///
/// # Errors
/// [`Error::Preprocess`] names a transform that is unknown or out of order.
pub(super) fn read(list: &Value) -> Result<Preprocess, Error> {
    let refuse = |reason: String| Error::Preprocess { reason };
    let steps: Vec<Step> = Deserialize::deserialize(list)
        .map_err(|error| refuse(format!("the steps are not understood: {error}")))?;
    let mut rules = Preprocess::NOTEBOOK;
    rules.resize = Resize::Keep;
    let order = |step: &Step| match step {
        Step::Resize(_) => 0,
        Step::CenterCrop(_) => 1,
        Step::ToTensor | Step::PilToTensor => 2,
        Step::ConvertImageDtype => 3,
        Step::Normalize { .. } => 4,
    };
    if !steps.is_sorted_by(|one, next| order(one) < order(next)) {
        return Err(refuse(
            "the steps must be Resize, CenterCrop, ToTensor, Normalize, in this order".to_owned(),
        ));
    }
    for step in steps {
        match step {
            Step::Resize(step) => {
                let (size, interpolation) = match step {
                    ResizeStep::Size(size) => (size, None),
                    ResizeStep::Full {
                        size,
                        interpolation,
                    } => (size, interpolation),
                };
                let interpolation = interpolation.as_deref().unwrap_or("bilinear");
                rules.filter = super::filter(interpolation).map_err(refuse)?;
                rules.size = size.both();
                rules.resize = match size {
                    Size::One(edge) => Resize::ShortEdge(edge),
                    Size::Both(_) => Resize::Squash,
                };
            }
            Step::CenterCrop(CropStep::Size(size) | CropStep::Full { size }) => {
                rules.resize = match rules.resize {
                    Resize::ShortEdge(edge) => Resize::Cover([edge; 2]),
                    Resize::Squash => Resize::SquashTo(rules.size),
                    _ => return Err(refuse("CenterCrop needs a Resize before it".to_owned())),
                };
                rules.size = size.both();
            }
            Step::Normalize { mean, std } => (rules.mean, rules.std) = (mean.each(), std.each()),
            Step::ToTensor | Step::PilToTensor | Step::ConvertImageDtype => {}
        }
    }
    rules.check()?;
    Ok(rules)
}
