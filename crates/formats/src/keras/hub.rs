//! `KerasHub` networks, whose files list hyperparameters instead of layers.

use serde_json::Value;

use super::network::{Activation, COLOURS, Dense, Kind, Network};
use super::{layer_error, layers};
use resnet_wgpu::Error;
use resnet_wgpu::internals::network::PaddingRule;
use resnet_wgpu::internals::network::resnet::{
    Bias, Block, MaxPool, Plan, Projects, Shortcut, ShortcutOrder, Style,
};

const BACKBONE: &str = "ResNetBackbone";
/// The group of the backbone's variables, in a file of the whole network.
pub(super) const BACKBONE_GROUP: &str = "res_net_backbone";
const CLASSIFIERS: [&str; 2] = ["ImageClassifier", "ResNetImageClassifier"];

/// Upper bound for the blocks of a stage, and for its stride.
const MAX_BLOCKS: u64 = 1 << 8;
/// Upper bound for the number of stages; real networks have four.
const MAX_STAGES: usize = 1 << 4;

/// Whether a class is a supported `KerasHub` network.
pub(super) fn is_network(class: &str) -> bool {
    class == BACKBONE || CLASSIFIERS.contains(&class)
}

/// Builds the network of such a class.
pub(super) fn network(class: &str, config: &Value) -> Result<Network, Error> {
    if class == BACKBONE {
        return backbone(config);
    }
    classifier(class, config)
}

fn classifier(class: &str, config: &Value) -> Result<Network, Error> {
    let refuse = |reason: &str| layer_error("the classifier", class, reason);
    let inner = config.get("backbone").unwrap_or(&Value::Null);
    let inner_class = inner
        .get("class_name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let Some(inner_config) = inner.get("config").filter(|_| inner_class == BACKBONE) else {
        return Err(refuse(&format!(
            "its backbone '{inner_class}' is not supported, only {BACKBONE}"
        )));
    };
    if config
        .get("pooling")
        .and_then(Value::as_str)
        .is_some_and(|p| p != "avg")
    {
        return Err(refuse("only average pooling is supported"));
    }
    let activation = match config.get("activation") {
        None | Some(Value::Null) => Activation::Linear,
        Some(Value::String(name)) if name == "linear" => Activation::Linear,
        Some(Value::String(name)) if name == "softmax" => Activation::Softmax,
        Some(_) => return Err(refuse("its activation is not supported, only softmax")),
    };
    let units = config.get("num_classes").and_then(Value::as_u64);
    let units = units.and_then(|units| usize::try_from(units).ok());
    let inner = backbone(inner_config)?;
    let inner_name = inner.name.clone();
    let size = inner.size();
    // A backbone for images of any size states none; the image converter may.
    let size = size.or_else(|| sides(image_converter(config)?.get("image_size")?));
    let input = Kind::Input {
        size: size.unwrap_or_default(),
        channels: inner.channels(),
        integers: inner.integers(),
    };
    let dense = Kind::Dense(Dense {
        units,
        bias: true,
        activation,
    });
    let pooler = Kind::GlobalAverage { keep: false };
    let layers = [
        ("image", "InputLayer", input),
        ("image_converter", "ImageConverter", converter(config)),
        (BACKBONE_GROUP, BACKBONE, Kind::Model(Box::new(inner))),
        ("pooler", "GlobalAveragePooling2D", pooler),
        ("output_dropout", "Dropout", Kind::Pass),
        ("predictions", "Dense", dense),
    ];
    Ok(Network::chain(&inner_name, layers))
}

/// The rescaling that the classifier's own preprocessing applies to pixels, if it has any.
fn converter(config: &Value) -> Kind {
    image_converter(config)
        .and_then(layers::rescale)
        .map_or(Kind::Pass, Kind::Affine)
}

fn image_converter(config: &Value) -> Option<&Value> {
    let keys = ["preprocessor", "config", "image_converter", "config"];
    keys.into_iter()
        .try_fold(config, |value, key| value.get(key))
}

/// A list of height and width, either of which may be null.
fn sides(list: &Value) -> Option<[Option<usize>; 2]> {
    let [h, w] = list.as_array()?.as_slice() else {
        return None;
    };
    Some([h, w].map(|side| side.as_u64().and_then(|side| usize::try_from(side).ok())))
}

fn backbone(config: &Value) -> Result<Network, Error> {
    let refuse = |reason: String| layer_error("the backbone", BACKBONE, reason);
    let counts = |key: &str| {
        let list = config.get(key).and_then(Value::as_array);
        let count = |value: &Value| {
            let count = value
                .as_u64()
                .filter(|count| (1..=MAX_BLOCKS).contains(count))?;
            usize::try_from(count).ok()
        };
        let counts = list.and_then(|list| list.iter().map(count).collect::<Option<Vec<_>>>());
        let counts = counts.filter(|counts| (1..=MAX_STAGES).contains(&counts.len()));
        counts.ok_or_else(|| refuse(format!("'{key}' must be a list of counts")))
    };
    let channels = config.get("data_format").and_then(Value::as_str);
    if channels.is_some_and(|channels| channels != "channels_last") {
        return Err(refuse(
            "channels that come first are not supported".to_owned(),
        ));
    }
    let kernels = counts("input_conv_kernel_sizes")?;
    if kernels != [7] && kernels != [3, 3, 3] {
        return Err(refuse(format!(
            "kernels {kernels:?} before the max pool are not supported, only [7] and [3, 3, 3]"
        )));
    }
    let pre_activation = config.get("use_pre_activation").and_then(Value::as_bool) == Some(true);
    let kind = config
        .get("block_type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let (block, shortcut) = match kind {
        "basic_block" => (Block::Basic, Shortcut::Convolution),
        "bottleneck_block" => (Block::Bottleneck, Shortcut::Convolution),
        "basic_block_vd" => (Block::Basic, Shortcut::AveragePool),
        "bottleneck_block_vd" => (Block::Bottleneck, Shortcut::AveragePool),
        other => return Err(refuse(format!("blocks '{other}' are not supported"))),
    };
    if shortcut == Shortcut::AveragePool && pre_activation {
        return Err(refuse(format!(
            "blocks '{kind}' with pre-activation are not supported"
        )));
    }
    let blocks = counts("stackwise_num_blocks")?;
    let strides = counts("stackwise_num_strides")?;
    if blocks.len() != strides.len() {
        return Err(refuse("there must be a stride for each stage".to_owned()));
    }
    let shape = config.get("image_shape").and_then(Value::as_array);
    let input = image(shape.map(Vec::as_slice))
        .ok_or_else(|| refuse("its image must have three sizes, and not be grey".to_owned()))?;
    let plan = usual(Plan {
        blocks,
        pre_activation,
        stem: vec![0; kernels.len()],
        ..Plan::new(block, [0; 4], 0)
    });
    let projects = if kind == "basic_block" {
        Projects::LaterStages
    } else {
        Projects::All
    };
    let plan = Plan {
        strides,
        shortcut,
        projects,
        ..plan
    };
    Ok(Network::chain(
        &plan.name(),
        [("image", "InputLayer", input), of_plan(plan)],
    ))
}

/// The input for images of a shape: rows, columns and at least two channels.
fn image(shape: Option<&[Value]>) -> Option<Kind> {
    let number = |side: &Value| side.as_u64().and_then(|side| usize::try_from(side).ok());
    let (size, channels) = match shape {
        None => ([None; 2], COLOURS),
        Some([h, w, c]) => (
            [h, w].map(number),
            number(c).filter(|&channels| channels > 1)?,
        ),
        Some(_) => return None,
    };
    Some(Kind::Input {
        size,
        channels,
        integers: false,
    })
}

/// The layer that stands for a plan.
pub(super) fn of_plan(plan: Plan) -> (&'static str, &'static str, Kind) {
    ("", BACKBONE, Kind::Plan(Box::new(plan)))
}

/// Completes a plan with `KerasHub`'s usual strides, shortcuts, epsilon and max pool.
pub(super) fn usual(plan: Plan) -> Plan {
    let deep = plan.stem.len() > 1;
    Plan {
        style: Style::Stacks,
        strides: (0..plan.blocks.len())
            .map(|stage| 1 + stage.min(1))
            .collect(),
        shortcut: if deep {
            Shortcut::AveragePool
        } else {
            Shortcut::Convolution
        },
        projects: if plan.block == Block::Bottleneck || deep {
            Projects::All
        } else {
            Projects::LaterStages
        },
        shortcut_order: ShortcutOrder::BeforeLast,
        bias: Bias::None,
        epsilon: 1e-5,
        max_pool: Some(MaxPool {
            padding: PaddingRule::all(1),
            zeros: !plan.pre_activation,
        }),
        ..plan
    }
}
