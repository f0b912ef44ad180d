//! The JSON that Keras writes about a network, as a [`Network`].
//!
//! Keras 2 and Keras 3 differ in how a layer names what it reads: lists of `[layer, call, output,
//! arguments]` there, objects with a `keras_history` here. The options of the layers are the same.

use std::collections::HashMap;

use serde_json::Value;

use super::hub;
use super::layers;
use super::network::{Kind, Layer, Network, Training};
use super::{layer_error, unreadable};
use resnet_wgpu::Error;

/// Networks within networks: real ones have two.
const MAX_DEPTH: usize = 8;

/// Layers of one network: a ResNet-152 has 516.
const MAX_LAYERS: usize = 1 << 14;

/// One layer of the JSON.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) class: &'a str,
    pub(super) name: &'a str,
    pub(super) config: &'a Value,
    /// What the layer was called with; `None` in a list of layers that follow each other.
    calls: Option<&'a [Value]>,
}

/// The network of a text.
pub(super) fn parse(text: &str) -> Result<Network, Error> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| unreadable(format!("the description of the network: {error}")))?;
    network(&value, 0)
}

/// Whether a class is a network of layers.
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
            "its network is of the class '{class}', which is code that the file does not bring \
             along; build the network of functions (`keras.Model(inputs, outputs)`) or export it \
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

    fn layer(&self, depth: usize, value: &Value) -> Result<Kind, Error> {
        if is_network(self) {
            return network(value, depth + 1).map(|network| Kind::Model(Box::new(network)));
        }
        layers::kind(self)
    }
}

/// The layers of an object that has them.
fn entries<'a>(entry: &Entry<'a>) -> Result<&'a [Value], Error> {
    // Keras before 2.2.3 wrote the list itself as the options of a sequence.
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

/// Layers that read each the one before.
fn sequential(entry: &Entry<'_>, depth: usize) -> Result<Network, Error> {
    let mut layers = Vec::new();
    for value in entries(entry)? {
        let inner = Entry::read(value)?;
        let kind = inner.layer(depth, value)?;
        if layers.is_empty() && !matches!(kind, Kind::Input { .. }) {
            let size = layers::image_size(&inner)?;
            layers.push(("input", "InputLayer", Kind::Input { size }));
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
            return Err(inner.refuse("there are two layers of this name"));
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
            kind: inner.layer(depth, value)?,
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

/// The one layer whose result is the network's.
fn output(entry: &Entry<'_>, positions: &HashMap<&str, usize>) -> Result<usize, Error> {
    let outputs = entry.config.get("output_layers").and_then(Value::as_array);
    let outputs = outputs.map(Vec::as_slice).unwrap_or_default();
    // A single one is written with or without a list around it.
    let name = match outputs {
        [Value::String(name), ..] => Some(name.as_str()),
        [Value::Array(single)] => single.first().and_then(Value::as_str),
        _ => None,
    };
    let position = name.and_then(|name| positions.get(name).copied());
    position.ok_or_else(|| {
        let count = outputs.len();
        entry.refuse(format!(
            "a network has one output; this one lists {count}, or one that is no layer"
        ))
    })
}

/// What a layer was called with.
#[derive(Default)]
struct Call<'a> {
    inputs: Vec<Source<'a>>,
    training: Training,
}

/// The result of a layer.
struct Source<'a> {
    layer: &'a str,
    call: u64,
    output: u64,
}

impl<'a> Call<'a> {
    fn read(entry: &Entry<'a>) -> Result<Self, Error> {
        let mut call = Self::default();
        match entry.calls.unwrap_or_default() {
            [] => {}
            [Value::Array(inputs)] => call.read_keras_2(entry, inputs)?,
            [Value::Object(arguments)] => {
                for part in ["args", "kwargs"] {
                    if let Some(value) = arguments.get(part) {
                        call.read_keras_3(entry, value, 0)?;
                    }
                }
                let options = arguments.get("kwargs");
                if is_true(options.and_then(|options| options.get("training"))) {
                    call.training = Training::Overruled;
                }
            }
            calls => {
                return Err(entry.refuse(format!(
                    "it is called {} times, which is not supported: a layer is called once",
                    calls.len()
                )));
            }
        }
        Ok(call)
    }

    fn read_keras_2(&mut self, entry: &Entry<'a>, inputs: &'a [Value]) -> Result<(), Error> {
        // A layer that was made of a plain function has one input without a list around it.
        let single = matches!(inputs.first(), Some(Value::String(_)));
        if single {
            return self.read_keras_2_input(entry, inputs);
        }
        for input in inputs {
            let input = input.as_array().map(Vec::as_slice).unwrap_or_default();
            self.read_keras_2_input(entry, input)?;
        }
        Ok(())
    }

    fn read_keras_2_input(&mut self, entry: &Entry<'a>, input: &'a [Value]) -> Result<(), Error> {
        let source = Source::read(input);
        self.inputs
            .push(source.ok_or_else(|| entry.refuse("what it reads is damaged"))?);
        let Some(options) = input.get(3).and_then(Value::as_object) else {
            return Ok(());
        };
        if is_true(options.get("training")) {
            self.training = Training::Yes;
        }
        // The second summand of `x + y`.
        if let Some(other) = options.get("y").and_then(Value::as_array) {
            let source = Source::read(other);
            self.inputs
                .push(source.ok_or_else(|| entry.refuse("what it reads is damaged"))?);
        }
        Ok(())
    }

    fn read_keras_3(
        &mut self,
        entry: &Entry<'a>,
        value: &'a Value,
        depth: usize,
    ) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(entry.refuse("its arguments are nested too deeply"));
        }
        match value {
            Value::Array(list) => {
                for value in list {
                    self.read_keras_3(entry, value, depth + 1)?;
                }
            }
            Value::Object(object) => {
                let is_tensor = object.get("class_name").and_then(Value::as_str);
                if is_tensor == Some("__keras_tensor__") {
                    let history = object.get("config").and_then(|c| c.get("keras_history"));
                    let history = history.and_then(Value::as_array);
                    let source = history.and_then(|history| Source::read(history));
                    let damaged = || entry.refuse("what it reads is damaged");
                    self.inputs.push(source.ok_or_else(damaged)?);
                } else {
                    for value in object.values() {
                        self.read_keras_3(entry, value, depth + 1)?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Source<'a> {
    fn read(value: &'a [Value]) -> Option<Self> {
        let [layer, call, output, ..] = value else {
            return None;
        };
        Some(Self {
            layer: layer.as_str()?,
            call: call.as_u64()?,
            output: output.as_u64()?,
        })
    }

    fn position(
        &self,
        reader: &Entry<'_>,
        positions: &HashMap<&str, usize>,
        parsed: &[(Entry<'_>, &Value)],
    ) -> Result<usize, Error> {
        let Some(&position) = positions.get(self.layer) else {
            return Err(reader.refuse(format!("it reads '{}', which is no layer", self.layer)));
        };
        // The first call of a network is the one that made it.
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

fn is_true(value: Option<&Value>) -> bool {
    value.and_then(Value::as_bool) == Some(true)
}
