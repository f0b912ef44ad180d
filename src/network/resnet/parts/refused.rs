//! Parts of networks that are recognised but not supported: how they show, and what the refusal
//! calls them. Otherwise their networks would be mistaken for others.

use std::collections::BTreeSet;

use crate::error::{Error, Hint};

/// A fragment of tensor names, and the network that it identifies.
const TENSORS: &[(&str, &str)] = &[
    (
        ".se.fc.",
        "a ResNet with effective squeeze-and-excitation (one layer)",
    ),
    (
        "layer0.conv2.",
        "a SENet, whose stem is three 3x3 (timm's `legacy_senet154`)",
    ),
    (
        "maxpool.0.",
        "a ResNet whose stem has a convolution instead of the max pool (timm's `replace_stem_pool`)",
    ),
    (".conv2.0.", "a ResNet with several layers for one 3x3"),
    (
        "_packed_params",
        "a quantised network; save the one from which it was made",
    ),
    (
        "activation_post_process",
        "a network prepared for quantisation; save the one from which it was made",
    ),
    (
        "weight_fake_quant",
        "a network prepared for quantisation; save the one from which it was made",
    ),
    (
        "weight_orig",
        "a pruned network; make its masks permanent with `torch.nn.utils.prune.remove`",
    ),
    (
        ".parametrizations.",
        "a parametrised network; make it an ordinary one with `remove_parametrizations`",
    ),
    (
        ".weight_g",
        "a network with weight normalisation; take it away with `remove_weight_norm`",
    ),
    ("segmentation_head.", "a network for segmentation"),
    ("decoder.blocks.", "a U-Net"),
    ("rpn_head.", "a detector of MMDetection"),
    ("bbox_head.", "a detector of MMDetection"),
    ("roi_heads.", "a detector"),
    (
        "fpn_lateral",
        "a detector of Detectron2; its backbone is the entry 'backbone.bottom_up'",
    ),
    (".conv2_offset.", "a network with deformable convolutions"),
    (".prelu.", "an iresnet of InsightFace"),
    (".bn1.IN.", "an IBN-Net"),
    (".lora_A", "a network with LoRA; merge it first"),
    (".skn.", "a ResNet with selective kernels"),
];

/// Networks that can only be read from other kinds of files, as their tensor names alone do not
/// suffice: a fragment of the names, the network, and the file to use instead.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    (
        "conv2_block1_1_conv",
        "a ResNet of keras.applications",
        KERAS_FILE,
    ),
    ("stack0_block0_1_conv", "a ResNet of KerasHub", KERAS_FILE),
    (
        "layers/conv2d/",
        "a Keras network with numbered layers",
        KERAS_FILE,
    ),
    (
        "conv2d_1/kernel",
        "a Keras network with numbered layers",
        KERAS_FILE,
    ),
    ("resnetv17_", "a ResNet of MXNet Gluon", ONNX_FILE),
    ("res2_0_branch2a", "a ResNet of Caffe2", ONNX_FILE),
];
const KERAS_FILE: &str = "Keras' own files (.keras, .weights.h5, .h5)";
const ONNX_FILE: &str = "ONNX exports";

/// Refuses a file whose names show such a part.
pub(in super::super) fn check(names: &BTreeSet<String>) -> Result<(), Error> {
    let shows = |mark: &str| names.iter().any(|name| name.contains(mark));
    let (reason, hint) = if let Some((mark, kind)) = TENSORS.iter().find(|(mark, _)| shows(mark)) {
        let (kind, advice) = kind.split_at(kind.find("; ").unwrap_or(kind.len()));
        let reason =
            format!("names such as '{mark}' belong to {kind}, which is not supported{advice}");
        (reason, None)
    } else if let Some((mark, kind, files)) = ELSEWHERE.iter().find(|(mark, ..)| shows(mark)) {
        let reason =
            format!("names such as '{mark}' belong to {kind}, which is read from {files} only");
        (reason, Some(Hint::Convert))
    } else {
        return Ok(());
    };
    Err(Error::WeightsUnrecognised { reason, hint })
}
