//! Networks whose weights have the same names and shapes, but that differ in what no file shows.
//!
//! A [`Variant`] names one of them. If several are possible, [`choose`] takes the requested one, or
//! else the one that nearly all such files contain, or else refuses and lists them.

use std::fmt;
use std::str::FromStr;

use super::decision::Confidence;
use crate::error::Error;

/// One of several networks with the same weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Variant {
    /// Bottlenecks stride in their 3×3 convolution: torchvision, timm, Hugging Face.
    V1_5,
    /// Bottlenecks stride in their first 1×1: the original, and Caffe's weights in PyTorch files.
    V1,
    /// Pre-activation with batch normalisation: timm's `resnetv2`.
    V2,
    /// The classic lesson's network: no padding before the max pool, and a 2×2 average pool before
    /// the classifier.
    Notebook,
    /// Keras's first ResNet-50 (fchollet, `keras_applications` before 1.0.7), with the padding
    /// before the max pool that it got on 2018-08-31.
    Fchollet,
    /// The same without that padding, as before that date.
    FcholletUnpadded,
    /// keras.applications: `ResNet50`, `ResNet101`, `ResNet152`.
    KerasApplications,
    /// keras.applications: `ResNet50V2`, `ResNet101V2`, `ResNet152V2`.
    KerasApplicationsV2,
    /// TensorFlow's official ResNet v1.5, which uses the names of Keras's first ResNet-50.
    TfOfficial,
    /// `KerasHub`'s backbone.
    KerasHub,
}

#[doc(hidden)]
impl Variant {
    /// All variants.
    pub const ALL: &[Self] = &[
        Self::V1_5,
        Self::V1,
        Self::V2,
        Self::Notebook,
        Self::Fchollet,
        Self::FcholletUnpadded,
        Self::KerasApplications,
        Self::KerasApplicationsV2,
        Self::TfOfficial,
        Self::KerasHub,
    ];

    /// The name that [`FromStr`] reads.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1_5 => "v1.5",
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::Notebook => "notebook",
            Self::Fchollet => "keras-fchollet",
            Self::FcholletUnpadded => "keras-fchollet-unpadded",
            Self::KerasApplications => "keras-applications",
            Self::KerasApplicationsV2 => "keras-applications-v2",
            Self::TfOfficial => "tf-official",
            Self::KerasHub => "keras-hub",
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Variant {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let found = Self::ALL.iter().find(|variant| variant.name() == name);
        found.copied().ok_or_else(|| Error::Model {
            model: format!("variant '{name}'"),
            reason: format!("unknown; there are {}", names(Self::ALL).join(", ")),
        })
    }
}

/// A choice that the weights leave open.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// The network that the weights belong to, for errors.
    pub model: &'a str,
    /// All variants with such weights.
    pub possible: &'a [Variant],
    /// The one to take if none is requested, and how certain it is; `None` if several are equally
    /// common.
    pub usual: Option<(Variant, Confidence)>,
    /// Why the choice is open.
    pub reason: &'a str,
}

/// Chooses the variant to build, and states how certain the choice is.
///
/// # Errors
/// [`Error::Model`] if the weights cannot belong to the requested variant,
/// [`Error::WeightsAmbiguous`] if none is requested and there is no usual one.
pub fn choose(choice: &Choice<'_>, asked: Option<Variant>) -> Result<(Variant, Confidence), Error> {
    match (asked, choice.usual) {
        (Some(asked), _) if choice.possible.contains(&asked) => Ok((asked, Confidence::Certain)),
        (Some(asked), _) => Err(Error::Model {
            model: choice.model.to_owned(),
            reason: format!(
                "the weights cannot be of the variant '{asked}'; possible: {}",
                names(choice.possible).join(", ")
            ),
        }),
        (None, Some(usual)) => Ok(usual),
        (None, None) => Err(Error::WeightsAmbiguous {
            model: choice.model.to_owned(),
            reason: choice.reason.to_owned(),
            variants: names(choice.possible),
        }),
    }
}

fn names(variants: &[Variant]) -> Vec<&'static str> {
    variants.iter().map(|variant| variant.name()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(usual: Option<(Variant, Confidence)>) -> Choice<'static> {
        Choice {
            model: "network",
            possible: &[Variant::V1_5, Variant::V1],
            usual,
            reason: "no shape shows it",
        }
    }

    #[test]
    fn names_are_read_back() {
        for &variant in Variant::ALL {
            assert_eq!(variant.name().parse::<Variant>().ok(), Some(variant));
        }
        let error = "v3".parse::<Variant>().expect_err("unknown").to_string();
        assert!(error.contains("v1.5, v1, "), "{error}");
    }

    #[test]
    fn what_is_asked_for_wins_and_nothing_is_guessed_without_a_usual_one() {
        let usual = Some((Variant::V1_5, Confidence::Inferred));
        assert_eq!(choose(&open(usual), None).ok(), usual, "the usual one");
        assert_eq!(
            choose(&open(usual), Some(Variant::V1)).ok(),
            Some((Variant::V1, Confidence::Certain)),
            "asked for"
        );
        match choose(&open(None), None) {
            Err(Error::WeightsAmbiguous { variants, .. }) => {
                assert_eq!(variants, ["v1.5", "v1"], "the list");
            }
            other => panic!("{other:?}"),
        }
        let impossible = choose(&open(usual), Some(Variant::Notebook));
        assert!(matches!(impossible, Err(Error::Model { .. })), "impossible");
    }
}
