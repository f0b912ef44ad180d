//! The classic lesson's network: how to recognise it by the tensors of a file, and the image sizes
//! that fit its classifier.

use super::naming::{Part, Unit};
use super::parts::{Sight, unexplained};
use super::plan::Plan;
use crate::error::Error;
use crate::network::{Choice, Confidence, Parameter, Variant, choose};

/// Names of this family in the metadata of files.
const NAMES: [&str; 2] = ["notebook", "deeplearning.ai"];

/// The plan that the shapes in a file show, and the number of features into its classifier.
/// `declared` is the family that the file states.
///
/// # Errors
/// [`Error::Model`] for shapes that no plan explains.
pub(super) fn infer(
    sight: &Sight<'_>,
    declared: Option<&str>,
    asked: Option<Variant>,
) -> Result<(Plan, usize), Error> {
    let mut plan = Plan::lesson(1, 1);
    let [stem, image_c] = sight.conv(&plan, Unit::Stem(0))?;
    if image_c != 3 {
        return Err(unexplained(
            &plan,
            format!(
                "the first convolution takes {image_c} channels, only RGB images are supported"
            ),
        ));
    }
    let bias = sight.dims(&plan, Unit::Stem(0), Part::Conv, Parameter::Bias);
    if bias.is_none() {
        return Err(unexplained(
            &plan,
            "the convolutions have no biases: the names are the lesson's, but the network is \
             one of its relatives (TensorFlow's official ResNet, Caffe), which differ in \
             stride and padding and are not supported",
        ));
    }
    let Some(name) = sight.naming.classifier() else {
        return Err(unexplained(
            &plan,
            "the file has no classifier 'fc{classes}'",
        ));
    };
    name.clone_into(&mut plan.head.name);
    let dims = sight.dims(&plan, Unit::Head, Part::Linear, Parameter::Weight);
    let Some(&[classes, features]) = dims.as_deref() else {
        return Err(unexplained(
            &plan,
            format!("the kernel of '{name}' must have two dimensions, the file has {dims:?}"),
        ));
    };
    if name == "fc1000"
        && features == out_c(stem)
        && !declared.is_some_and(|family| NAMES.contains(&family))
        && asked != Some(Variant::Notebook)
    {
        return Err(unexplained(
            &plan,
            format!(
                "a classifier 'fc1000' of {features} features is usually that of Keras' first \
                 ResNet-50, which has the same names but another pooling and is not supported; if \
                 this is the lesson's network, ask for the variant '{}'",
                Variant::Notebook
            ),
        ));
    }
    let choice = Choice {
        model: "notebook",
        possible: &[Variant::Notebook],
        usual: Some((Variant::Notebook, Confidence::Inferred)),
        reason: "",
    };
    choose(&choice, asked)?;
    let head = plan.head;
    let plan = Plan {
        head,
        ..Plan::lesson(stem, classes)
    };
    Ok((plan, features))
}

/// The output channels of the last block.
const fn out_c(stem: usize) -> usize {
    stem * 32
}

/// The image size for a classifier with this many input features: the lesson's 64×64, or a larger
/// square; every 64 pixels add one row and column of features.
pub fn size_for(stem: usize, features: usize) -> Option<[usize; 2]> {
    let pixels = features.checked_div(out_c(stem))?;
    let side = pixels.isqrt();
    if side == 0 || features_of(stem, [64 * side, 64 * side]) != Some(features) {
        return None;
    }
    // Both 192 and 224 give 3×3; ImageNet's 224 is the usual size.
    Some(if side == 3 {
        [224, 224]
    } else {
        [64 * side, 64 * side]
    })
}

/// The number of features that an image size gives; `None` if it is too small.
fn features_of(stem: usize, size: [usize; 2]) -> Option<usize> {
    let [h, w] = size.map(|side| {
        let side = side.checked_add(6)?.checked_sub(7)? / 2 + 1;
        let side = side.checked_sub(3)? / 2 + 1;
        // Stages 3 to 5 start with an unpadded 1×1 convolution of stride 2.
        let side = (0..3).fold(side, |side, _| (side - 1) / 2 + 1);
        Some(side.checked_sub(2)? / 2 + 1)
    });
    out_c(stem).checked_mul(h?)?.checked_mul(w?)
}

/// The image size for a classifier with this many input features: the requested one, the one that
/// the file states, or the one that fits.
pub(super) fn decide_size(
    stem: usize,
    features: usize,
    asked: Option<[usize; 2]>,
    stated: [usize; 2],
) -> Result<[usize; 2], Error> {
    let refuse = |reason: String| Error::Model {
        model: "notebook".to_owned(),
        reason,
    };
    let fitting = size_for(stem, features);
    let size = match asked {
        Some(size) => size,
        None if features_of(stem, stated) == Some(features) => stated,
        None => fitting.ok_or_else(|| {
            refuse(format!(
                "the classifier takes {features} features, which no square image gives; state the \
                 size of the images that it was trained with"
            ))
        })?,
    };
    let got = features_of(stem, size);
    if got == Some(features) {
        return Ok(size);
    }
    let [h, w] = size;
    let got = got.map_or_else(|| "is too small".to_owned(), |got| format!("gives {got}"));
    let hint = fitting.map_or_else(String::new, |[h, w]| format!("; use {h}x{w}"));
    Err(refuse(format!(
        "the classifier takes {features} features, an image of {h}x{w} {got}{hint}"
    )))
}
