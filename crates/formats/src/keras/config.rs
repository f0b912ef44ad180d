//! Parses the JSON description of a network into a [`Network`].
//!
//! The options of layers are the same in Keras 2 and Keras 3; references to other layers differ.
//! Keras 2 writes lists `[layer, call, output, arguments]`, Keras 3 objects with a `keras_history`.

use std::collections::HashMap;

use serde_json::Value;

use super::calls::{Call, Source};
use super::hub;
use super::layers;
use super::network::{Kind, Layer, Network, Training};
use super::{layer_error, unreadable};
use resnet_wgpu::Error;

/// Maximum depth of nested networks; real files have two levels.
const MAX_DEPTH: usize = 8;

/// Maximum number of layers in one network; a ResNet-152 has 516.
const MAX_LAYERS: usize = 1 << 14;

/// One layer as the JSON has it.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) class: &'a str,
    pub(super) name: &'a str,
    pub(super) config: &'a Value,
    /// The calls of the layer (`inbound_nodes`); `None` in a `Sequential` network.
    pub(super) calls: Option<&'a [Value]>,
}

/// Parses a JSON description.
pub(super) fn parse(text: &str) -> Result<Network, Error> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| unreadable(format!("the description of the network: {error}")))?;
    network(&value, 0)
}

/// Whether a layer is itself a network.
fn is_network(entry: &Entry<'_>) -> bool {
    matches!(entry.class, "Functional" | "Model" | "Sequential") || hub::is_network(entry.class)
}

fn network(value: &Value, depth: usize) -> Result<Network, Error> {
    if depth > MAX_DEPTH {
        return Err(unreadable(
            "networks are nested too deeply in its description".to_owned(),
        ));
    }
    let entry = Entry::read(value)?;
    if hub::is_network(entry.class) {
        return hub::network(entry.class, entry.config);
    }
    match entry.class {
        "Sequential" => sequential(&entry, depth),
        "Functional" | "Model" => functional(&entry, depth),
        class => Err(unreadable(format!(
            "its network is of the class '{class}', whose code is not in the file; build the \
             network of functions (`keras.Model(inputs, outputs)`) or export it \
             to ONNX"
        ))),
    }
}

impl<'a> Entry<'a> {
    fn read(value: &'a Value) -> Result<Self, Error> {
        let class = value.get("class_name").and_then(Value::as_str);
        let config = value.get("config");
        let (Some(class), Some(config)) = (class, config) else {
            return Err(unreadable(
                "a layer in the description of the network has no class or no options".to_owned(),
            ));
        };
        let name = [value.get("name"), config.get("name")]
            .into_iter()
            .flatten();
        let name = name.into_iter().find_map(Value::as_str).unwrap_or(class);
        let calls = value.get("inbound_nodes").and_then(Value::as_array);
        Ok(Self {
            class,
            name,
            config,
            calls: calls.map(Vec::as_slice),
        })
    }

    pub(super) fn refuse(&self, reason: impl Into<String>) -> Error {
        layer_error(self.name, self.class, reason)
    }

    fn layer(&self, call: &Call<'_>, depth: usize, value: &Value) -> Result<Kind, Error> {
        if is_network(self) {
            return network(value, depth + 1).map(|network| Kind::Model(Box::new(network)));
        }
        let policy = self
            .config
            .get("dtype")
            .and_then(|dtype| dtype.get("class_name"));
        let policy = policy.and_then(Value::as_str);
        if policy.is_some_and(|policy| policy.starts_with("Quantized")) {
            return Err(
                self.refuse("it is quantised; save the network from before it was quantised")
            );
        }
        layers::kind(self, call)
    }
}

/// The layers listed by a network.
fn entries<'a>(entry: &Entry<'a>) -> Result<&'a [Value], Error> {
    // Before 2.2.3, Keras wrote the list itself as the `config` of a `Sequential`.
    let layers = entry.config.get("layers").unwrap_or(entry.config);
    let layers = layers
        .as_array()
        .ok_or_else(|| entry.refuse("its layers are missing"))?;
    if layers.is_empty() || layers.len() > MAX_LAYERS {
        let count = layers.len();
        return Err(entry.refuse(format!(
            "{count} layers, of 1 to {MAX_LAYERS} that make sense"
        )));
    }
    Ok(layers)
}

/// A `Sequential` network: each layer reads the one before it.
fn sequential(entry: &Entry<'_>, depth: usize) -> Result<Network, Error> {
    let mut layers = Vec::new();
    for value in entries(entry)? {
        let inner = Entry::read(value)?;
        let kind = inner.layer(&Call::default(), depth, value)?;
        if layers.is_empty() && !matches!(kind, Kind::Input { .. }) {
            layers.push(("input", "InputLayer", layers::input(&inner)?));
        }
        layers.push((inner.name, inner.class, kind));
    }
    Ok(Network::chain(entry.name, layers))
}

fn functional(entry: &Entry<'_>, depth: usize) -> Result<Network, Error> {
    let values = entries(entry)?;
    let mut positions = HashMap::new();
    let mut parsed = Vec::new();
    for value in values {
        let inner = Entry::read(value)?;
        if positions.insert(inner.name, parsed.len()).is_some() {
            return Err(inner.refuse("two layers have this name"));
        }
        parsed.push((inner, value));
    }
    let mut layers = Vec::new();
    for (inner, value) in &parsed {
        let call = Call::read(inner)?;
        let mut inputs = Vec::new();
        for source in &call.inputs {
            inputs.push(source.position(inner, &positions, &parsed)?);
        }
        let frozen = inner.config.get("trainable").and_then(Value::as_bool) == Some(false);
        layers.push(Layer {
            name: inner.name.to_owned(),
            class: inner.class.to_owned(),
            kind: inner.layer(&call, depth, value)?,
            inputs,
            training: if frozen { Training::No } else { call.training },
        });
    }
    Ok(Network {
        name: entry.name.to_owned(),
        layers,
        output: output(entry, &positions)?,
    })
}

/// Index of the only output layer.
fn output(entry: &Entry<'_>, positions: &HashMap<&str, usize>) -> Result<usize, Error> {
    let outputs = entry.config.get("output_layers").and_then(Value::as_array);
    let outputs = outputs.map(Vec::as_slice).unwrap_or_default();
    // A single output may or may not be wrapped in a second list.
    let name = match outputs {
        [Value::String(name), ..] => Some(name.as_str()),
        [Value::Array(single)] => single.first().and_then(Value::as_str),
        _ => None,
    };
    let position = name.and_then(|name| positions.get(name).copied());
    position.ok_or_else(|| {
        let count = outputs.len();
        entry.refuse(format!(
            "a network has one output; this one lists {count}, or one that is not a layer"
        ))
    })
}

impl Source<'_> {
    fn position(
        &self,
        reader: &Entry<'_>,
        positions: &HashMap<&str, usize>,
        parsed: &[(Entry<'_>, &Value)],
    ) -> Result<usize, Error> {
        let Some(&position) = positions.get(self.layer) else {
            return Err(reader.refuse(format!("it reads '{}', which is not a layer", self.layer)));
        };
        // A network's call 0 is the one that built it, so its first use is call 1.
        let usual = u64::from(is_network(&parsed[position].0));
        if self.call > usual || self.output != 0 {
            return Err(reader.refuse(format!(
                "it reads result {} of call {} of '{}'; a layer is called once and has one result",
                self.output, self.call, self.layer
            )));
        }
        Ok(position)
    }
}
