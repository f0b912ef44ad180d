//! How images are prepared where no file says it: by the family of a network, and by the hash in the name of
//! a published weight file.

use super::plan::{Plan, StrideSite, Style};
use crate::network::{Decision, Family};
use crate::picture::{ChannelOrder, Preprocess};

/// torchvision's weights by the hash at the end of their file names, in two versions with different
/// preprocessing (`torchvision/models/resnet.py`).
const PUBLISHED: [(&str, &str, &[&str]); 2] = [
    (
        "torchvision's first weights",
        "torchvision",
        &[
            "f37072fd", "5c106cde", "b627a593", "333f7ec4", "0676ba61", "19c8e357", "63fe2227",
            "5d3b4d8f", "394f9c45", "b121ed2d", "7cdf4587", "8ba56ff5", "95faca4d", "32ee1156",
        ],
    ),
    (
        "torchvision's second weights",
        "torchvision-v2",
        &[
            "11ad3fa6", "cd907fc2", "f82ba261", "1a0047aa", "110c445d", "173b62eb", "9ba9bcbe",
            "d733dc28",
        ],
    ),
];

/// The published weights that a file name with a hash refers to, and their preprocessing.
pub(super) fn published(path: &str) -> Option<(&'static str, Preprocess)> {
    let name = path.rsplit(['/', '\\']).next()?;
    let stem = name.split('.').next()?;
    let (_, hash) = stem.rsplit_once('-')?;
    let found = PUBLISHED.iter().find(|(.., hashes)| hashes.contains(&hash));
    found.and_then(|(name, rules, _)| Some((*name, Preprocess::named(rules)?)))
}

/// The rules of most networks of a family.
pub(super) fn usual(plan: &Plan, family: Family) -> (Preprocess, Decision) {
    match (plan.style, family) {
        (Style::Lesson, _) => (
            Preprocess::NOTEBOOK,
            Decision::inferred("preprocessing", "", "the lesson's"),
        ),
        (_, Family::HuggingFace) => (
            Preprocess::HUGGING_FACE,
            Decision::assumed("preprocessing", "", "that of microsoft/resnet-50"),
        ),
        (_, Family::Clip) => (
            Preprocess::CLIP,
            Decision::inferred("preprocessing", "", "that of CLIP's networks"),
        ),
        (_, Family::Detectron) => (
            detectron(plan),
            Decision::assumed(
                "preprocessing",
                "",
                "the pixels' mean in Detectron2's models",
            ),
        ),
        _ if plan.is_small() => (
            Preprocess::CIFAR,
            Decision::assumed("preprocessing", "", "that of most networks for CIFAR"),
        ),
        (_, Family::Random) => (
            Preprocess::TORCHVISION,
            Decision::certain("preprocessing", "", "any will do for random weights"),
        ),
        _ => (
            Preprocess::TORCHVISION,
            Decision::assumed("preprocessing", "", "that of torchvision's first weights"),
        ),
    }
}

/// How Detectron2 prepares the pixels for its backbones: those that stride in the 1×1 are of Caffe, the others
/// of torchvision but for those with groups.
fn detectron(plan: &Plan) -> Preprocess {
    const MEAN: [f32; 3] = [103.53, 116.28, 123.675];
    let std = match (plan.groups, plan.stride_site) {
        (1, StrideSite::Middle) => return Preprocess::TORCHVISION,
        (1, StrideSite::First) => [1.0; 3],
        _ => [57.375, 57.12, 58.395],
    };
    Preprocess {
        mean: MEAN.map(|mean| mean / 255.0),
        std: std.map(|std| std / 255.0),
        channels: ChannelOrder::Bgr,
        ..Preprocess::TORCHVISION
    }
}
