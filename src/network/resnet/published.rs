//! Published weight files, recognised by the hash in their names.

use crate::picture::Preprocess;

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
