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
    (
        ".skipinit_gain",
        "an NFNet, a network without normalisations",
    ),
    (
        ".conv1.gain",
        "an NF-ResNet, a network without normalisations",
    ),
    (".norm1.v", "a ResNet with EvoNorm"),
    (".norm1.tau", "a ResNet with filter response normalisation"),
    (
        "stage2.0.branches.",
        "an HRNet, whose branches keep several sizes",
    ),
    ("segmentation_head.", "a network for segmentation"),
    (
        "aux_classifier.",
        "a network of torchvision for segmentation; its backbone is the entry 'backbone'",
    ),
    (
        "classifier.0.convs.",
        "DeepLab, a network for segmentation; its backbone is the entry 'backbone'",
    ),
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

/// Fragments of the names of tensors in files of other networks, which have no names of a ResNet.
const OTHERS: &[(&str, &str)] = &[
    (".attn.qkv.", "a transformer"),
    (".attention.query.", "a transformer"),
    (".self_attention.in_proj_weight", "a transformer"),
    (".relative_position_bias_table", "a Swin transformer"),
    (".dwconv.", "a ConvNeXt"),
    ("features.denseblock1.", "a DenseNet"),
    ("_blocks.0._depthwise_conv.", "an EfficientNet"),
    ("stem.1.conv_dw.", "a VoVNet"),
    ("stages.0.blocks.0.conv_dw.", "a ConvNeXt"),
    ("blocks.0.0.conv_", "an EfficientNet or MobileNet"),
    ("features.1.conv.0.", "a MobileNet"),
    (
        "features.1.block.0.",
        "an EfficientNet, MobileNet or ConvNeXt",
    ),
    ("inception3a.", "a GoogLeNet"),
    ("Mixed_5b.", "an Inception network"),
    ("s1.b1.conv1.", "a RegNet"),
    ("trunk_output.block1.", "a RegNet"),
    ("stages.0.conv_exp.", "a CSPNet"),
    ("stages.0.conv_transition", "a CSPNet"),
    (
        "stages.0.0.conv",
        "one of timm's networks of blocks (ByobNet)",
    ),
    ("level2.tree1.", "a DLA"),
    ("block1.rep.", "an Xception"),
    ("features.0.weight", "a VGG or AlexNet"),
    (".squeeze.weight", "a SqueezeNet"),
    ("stage2.0.branch1.", "a ShuffleNet"),
];

/// What the tensors of a file belong to that has no names of a ResNet, if that is known.
pub(in super::super) fn other(names: &BTreeSet<String>) -> Option<&'static str> {
    let shows = |mark: &str| names.iter().any(|name| name.contains(mark));
    let found = OTHERS.iter().find(|(mark, _)| shows(mark));
    found.map(|&(_, kind)| kind)
}

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
