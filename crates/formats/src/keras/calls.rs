//! The arguments of a layer's call: the layers that it reads, and constants.

use serde_json::Value;

use super::config::Entry;
use super::network::Training;
use resnet_wgpu::Error;

/// Maximum nesting of lists among the arguments; real files have two levels.
const MAX_DEPTH: usize = 8;

/// How a layer was called.
#[derive(Default)]
pub(super) struct Call<'a> {
    pub(super) inputs: Vec<Source<'a>>,
    pub(super) training: Training,
    /// Positional arguments: the JSON of a constant, or `None` for the result of a layer.
    pub(super) arguments: Vec<Option<&'a Value>>,
    options: Option<&'a Value>,
}

/// A reference to the result of a layer.
pub(super) struct Source<'a> {
    pub(super) layer: &'a str,
    pub(super) call: u64,
    pub(super) output: u64,
}

impl<'a> Call<'a> {
    pub(super) fn read(entry: &Entry<'a>) -> Result<Self, Error> {
        let mut call = Self::default();
        match entry.calls.unwrap_or_default() {
            [] => {}
            [Value::Array(inputs)] => call.read_keras_2(entry, inputs)?,
            [Value::Object(arguments)] => {
                let positional = arguments.get("args").and_then(Value::as_array);
                call.options = arguments.get("kwargs");
                // Operands may be passed by keyword; other keyword arguments are options.
                let named = ["x", "x1", "x2", "y", "inputs"];
                let named = named.into_iter().filter_map(|name| call.option(name));
                let named: Vec<&Value> = named.collect();
                for argument in positional.into_iter().flatten().chain(named) {
                    let before = call.inputs.len();
                    call.read_keras_3(entry, argument, 0)?;
                    let is_constant = call.inputs.len() == before;
                    call.arguments.push(is_constant.then_some(argument));
                }
                if is_true(call.option("training")) {
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

    /// A keyword argument.
    pub(super) fn option(&self, name: &str) -> Option<&'a Value> {
        self.options?.get(name)
    }

    fn read_keras_2(&mut self, entry: &Entry<'a>, inputs: &'a [Value]) -> Result<(), Error> {
        // A layer made from a plain function lists its only input without a list around it.
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
        if let [Value::String(name), _, constant, ..] = input
            && name == "_CONSTANT_VALUE"
        {
            self.arguments.push(Some(constant));
        } else {
            self.source(entry, input)?;
        }
        self.options = input.get(3);
        if is_true(self.option("training")) {
            self.training = Training::Yes;
        }
        // The second operand, as in `x + y`.
        match ["y", "bias"].into_iter().find_map(|name| self.option(name)) {
            Some(Value::Array(other)) if matches!(other.first(), Some(Value::String(_))) => {
                self.source(entry, other)
            }
            Some(constant) => {
                self.arguments.push(Some(constant));
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn source(&mut self, entry: &Entry<'a>, value: &'a [Value]) -> Result<(), Error> {
        let source = Source::read(value);
        self.inputs
            .push(source.ok_or_else(|| entry.refuse("what it reads is damaged"))?);
        self.arguments.push(None);
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
}

fn is_true(value: Option<&Value>) -> bool {
    value.and_then(Value::as_bool) == Some(true)
}
