//! Networks of `KerasHub`, whose files hold the numbers that they are built from instead of layers.

use serde_json::Value;

use super::blueprint::{Bias, MaxPool, Naming, Plan, StridePadding};
use super::network::{Activation, Dense, Kind, Layer, Network, Training};
use super::{layer_error, layers, unreadable};
use resnet_wgpu::Error;
use resnet_wgpu::internals::network::resnet::{Block, StrideSite};

const BACKBONE: &str = "ResNetBackbone";
/// Where the variables of a backbone are in a file of the whole network.
pub(super) const BACKBONE_GROUP: &str = "res_net_backbone";
const CLASSIFIERS: [&str; 2] = ["ImageClassifier", "ResNetImageClassifier"];

/// Stages and blocks of a stage are at most this many.
const MAX_BLOCKS: u64 = 1 << 8;

/// Whether a class is a network of `KerasHub` that is known.
pub(super) fn is_network(class: &str) -> bool {
    class == BACKBONE || CLASSIFIERS.contains(&class)
}

/// The network of such a class.
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
    let size = inner.layers.iter().find_map(|layer| match layer.kind {
        Kind::Input { size } => Some(size),
        _ => None,
    });
    // A backbone for images of any size says nothing; what prepares the images then does.
    let size = size.filter(|size| *size != [None; 2]);
    let size = size.or_else(|| sides(image_converter(config)?.get("image_size")?));
    let layer = |name: &str, class: &str, kind, inputs| Layer {
        name: name.to_owned(),
        class: class.to_owned(),
        kind,
        inputs,
        training: Training::No,
    };
    let input = Kind::Input {
        size: size.unwrap_or_default(),
    };
    let dense = Kind::Dense(Dense {
        units,
        bias: true,
        activation,
    });
    let pooler = Kind::GlobalAverage { keep: false };
    Ok(Network {
        name: inner.name.clone(),
        layers: vec![
            layer("image", "InputLayer", input, vec![]),
            layer(
                "image_converter",
                "ImageConverter",
                converter(config),
                vec![0],
            ),
            layer(
                BACKBONE_GROUP,
                BACKBONE,
                Kind::Model(Box::new(inner)),
                vec![1],
            ),
            layer("pooler", "GlobalAveragePooling2D", pooler, vec![2]),
            layer("output_dropout", "Dropout", Kind::Pass, vec![3]),
            layer("predictions", "Dense", dense, vec![4]),
        ],
        output: 5,
    })
}

/// What the classifier's own preprocessing does to the pixels, where it has one.
fn converter(config: &Value) -> Kind {
    image_converter(config)
        .and_then(layers::rescale)
        .map_or(Kind::Pass, Kind::Rescale)
}

fn image_converter(config: &Value) -> Option<&Value> {
    let keys = ["preprocessor", "config", "image_converter", "config"];
    keys.into_iter()
        .try_fold(config, |value, key| value.get(key))
}

/// Rows and columns as a list of two, of which either may be null.
fn sides(list: &Value) -> Option<[Option<usize>; 2]> {
    let [h, w] = list.as_array()?.as_slice() else {
        return None;
    };
    Some([h, w].map(|side| side.as_u64().and_then(|side| usize::try_from(side).ok())))
}

fn backbone(config: &Value) -> Result<Network, Error> {
    let refuse = |reason: String| layer_error("the backbone", BACKBONE, reason);
    let counts = |key: &str| -> Result<Vec<usize>, Error> {
        let list = config.get(key).and_then(Value::as_array);
        let list = list.filter(|list| (1..=MAX_BLOCKS).contains(&(list.len() as u64)));
        let counts = list.map(|list| {
            let counts = list.iter().filter_map(Value::as_u64);
            let counts = counts.filter(|count| (1..=MAX_BLOCKS).contains(count));
            counts
                .filter_map(|count| usize::try_from(count).ok())
                .collect::<Vec<_>>()
        });
        counts
            .filter(|counts| list.is_some_and(|list| list.len() == counts.len()))
            .ok_or_else(|| refuse(format!("'{key}' must be a list of counts")))
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
    let (block, averages) = match kind {
        "basic_block" => (Block::Basic, false),
        "bottleneck_block" => (Block::Bottleneck, false),
        "basic_block_vd" => (Block::Basic, true),
        "bottleneck_block_vd" => (Block::Bottleneck, true),
        other => return Err(refuse(format!("blocks '{other}' are not supported"))),
    };
    if averages && pre_activation {
        return Err(refuse(format!(
            "blocks '{kind}' with pre-activation are not supported"
        )));
    }
    let mut blocks = counts("stackwise_num_blocks")?;
    let strides = counts("stackwise_num_strides")?;
    if blocks.len() != strides.len() {
        return Err(refuse("there must be a stride for each stage".to_owned()));
    }
    blocks.shrink_to_fit();
    let shape = config.get("image_shape").and_then(Value::as_array);
    let size = match shape.map(Vec::as_slice) {
        None => [None; 2],
        Some([h, w, c]) if c.as_u64() == Some(3) => {
            [h, w].map(|side| side.as_u64().and_then(|side| usize::try_from(side).ok()))
        }
        Some(_) => return Err(refuse("only RGB images are supported".to_owned())),
    };
    let plan = Plan {
        strides,
        block,
        averages,
        first_projects: kind != "basic_block",
        ..plan(blocks, block, pre_activation, kernels.len())
    };
    let mut network = plan.network();
    match network.layers.first_mut() {
        Some(Layer {
            kind: Kind::Input { size: input },
            ..
        }) => *input = size,
        _ => return Err(unreadable("the backbone has no input".to_owned())),
    }
    Ok(network)
}

/// A backbone whose stages stride as usual.
pub(super) fn plan(blocks: Vec<usize>, block: Block, pre_activation: bool, stem: usize) -> Plan {
    Plan {
        name: Plan::usual_name(&blocks, block, pre_activation),
        naming: Naming::Stacks,
        strides: (0..blocks.len()).map(|stage| 1 + stage.min(1)).collect(),
        blocks,
        block,
        stride_site: StrideSite::Middle,
        strides_last: false,
        pre_activation,
        averages: stem > 1,
        first_projects: block == Block::Bottleneck || stem > 1,
        stem,
        bias: Bias::None,
        epsilon: 1e-5,
        stride_padding: StridePadding::All,
        max_pool: if pre_activation {
            MaxPool::NegInfinity
        } else {
            MaxPool::Zeros
        },
        shortcut_first: true,
        head: None,
    }
}
