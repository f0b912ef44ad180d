//! Functions used as layers: arithmetic with constants and reordering of channels, as
//! `preprocess_input` leaves them in a network. Keras 2 writes the names of TensorFlow functions,
//! Keras 3 those of its own operations.

use serde_json::Value;

use super::calls::Call;
use super::config::Entry;
use super::network::{Activation, Affine, COLOURS, Channels, Kind, Network};
use resnet_wgpu::Error;

/// Maximum length of a constant: more than any layer has channels.
const MAX_NUMBERS: usize = 1 << 16;

/// What a function computes; `None` if the layer is not a function.
pub(super) fn kind(entry: &Entry<'_>, call: &Call<'_>) -> Result<Option<Kind>, Error> {
    let function = match entry.class {
        "TFOpLambda" | "SlicingOpLambda" => {
            let function = entry.config.get("function").and_then(Value::as_str);
            function.unwrap_or_default()
        }
        class => class,
    };
    let constant = || Constant::find(entry, call);
    Ok(Some(match function {
        "Add" | "math.add" | "__operators__.add" | "nn.bias_add" => match constant()? {
            Some(constant) => constant.affine(|c| [1.0, c]),
            None => Kind::Add,
        },
        "Subtract" | "math.subtract" | "__operators__.sub" => match constant()? {
            Some(constant) if constant.first => constant.affine(|c| [-1.0, c]),
            Some(constant) => constant.affine(|c| [1.0, -c]),
            None => Kind::Subtract,
        },
        "Multiply" | "math.multiply" | "__operators__.mul" => match constant()? {
            Some(constant) => constant.affine(|c| [c, 0.0]),
            None => Kind::Multiply,
        },
        "Divide" | "TrueDivide" | "math.divide" | "math.truediv" | "__operators__.truediv" => {
            match constant()? {
                Some(constant) if !constant.first => constant.affine(|c| [1.0 / c, 0.0]),
                _ => return Err(entry.refuse("only a division by a constant is supported")),
            }
        }
        "Lambda" => lambda(entry)?,
        "Negative" | "math.negative" | "__operators__.neg" => Kind::Affine(Affine::of(-1.0, 0.0)),
        "Cast" | "cast" => {
            let dtype = entry.config.get("dtype").or_else(|| call.option("dtype"));
            let is_float = dtype
                .and_then(Value::as_str)
                .is_some_and(|dtype| dtype.contains("float"));
            if !is_float {
                return Err(entry.refuse("only floating-point numbers are supported"));
            }
            Kind::Pass
        }
        "GetItem" | "__operators__.getitem" => item(entry, call)?,
        "Flip" | "reverse" if on_channels(entry, call) => Kind::Reverse,
        "Stack" | "stack" if on_channels(entry, call) => Kind::Stack,
        "Relu" | "nn.relu" => Kind::Activation(Activation::Relu),
        "Sigmoid" | "nn.sigmoid" | "math.sigmoid" => Kind::Activation(Activation::Sigmoid),
        "nn.softmax" => Kind::Activation(Activation::Softmax),
        "LogSoftmax" | "nn.log_softmax" => Kind::Activation(Activation::LogSoftmax),
        _ if function != entry.class => {
            return Err(entry.refuse(format!("the function '{function}' is not supported")));
        }
        _ => return Ok(None),
    }))
}

/// Recognises `preprocess_input` by its keras.applications module. No code is run.
fn lambda(entry: &Entry<'_>) -> Result<Kind, Error> {
    let module = entry.config.get("module").and_then(Value::as_str);
    let (_, module) = module
        .and_then(|module| module.split_once("applications."))
        .unwrap_or_default();
    let affine = |scale: f64, offset: &[f64]| {
        let channels = Channels::Last;
        Kind::Affine(Affine {
            scale: vec![scale; offset.len()],
            offset: offset.to_vec(),
            channels,
        })
    };
    let steps = match module {
        "resnet" | "resnet50" => vec![
            ("reverse", "Flip", Kind::Reverse),
            (
                "mean",
                "Subtract",
                affine(1.0, &[-103.939, -116.779, -123.68]),
            ),
        ],
        "resnet_v2" => vec![("scale", "Rescaling", affine(1.0 / 127.5, &[-1.0]))],
        _ => {
            return Err(entry.refuse(
                "it is Python code, which is not run; prepare images outside the network, or \
                 scale them by a layer such as `Rescaling`",
            ));
        }
    };
    let input = (
        "pixels",
        "InputLayer",
        Kind::Input {
            size: [None; 2],
            channels: COLOURS,
            integers: false,
        },
    );
    let network = Network::chain(entry.name, [input].into_iter().chain(steps));
    Ok(Kind::Model(Box::new(network)))
}

/// The only constant among the arguments of a call.
struct Constant {
    numbers: Vec<f64>,
    channels: Channels,
    /// Whether it is the first operand, as in `1 - x`.
    first: bool,
}

impl Constant {
    fn find(entry: &Entry<'_>, call: &Call<'_>) -> Result<Option<Self>, Error> {
        let arguments = call.arguments.iter().enumerate();
        let mut constants = arguments.filter_map(|(index, value)| Some((index, (*value)?)));
        let Some((index, value)) = constants.next() else {
            return Ok(None);
        };
        let format = call.option("data_format").and_then(Value::as_str);
        let found = list(value).filter(|_| constants.next().is_none());
        let Some((numbers, channels)) = found else {
            return Err(entry
                .refuse("only arithmetic with one number, or one for each channel, is supported"));
        };
        Ok(Some(Self {
            numbers,
            channels: if format.is_some_and(|format| format.starts_with("NC")) {
                Channels::First
            } else {
                channels
            },
            first: index == 0,
        }))
    }

    /// The affine layer; `parts` gives the scale and offset for each number of the constant.
    fn affine(self, parts: impl Fn(f64) -> [f64; 2]) -> Kind {
        let parts = self.numbers.into_iter().map(parts);
        let (scale, offset) = parts.map(|[scale, offset]| (scale, offset)).unzip();
        Kind::Affine(Affine {
            scale,
            offset,
            channels: self.channels,
        })
    }
}

/// The numbers of a constant that is longer than 1 along at most one axis, and the channel position
/// that this axis implies (the last one for a scalar).
pub(super) fn list(value: &Value) -> Option<(Vec<f64>, Channels)> {
    // A tensor is an object whose numbers are in nested lists.
    let mut value = value
        .get("config")
        .and_then(|c| c.get("value"))
        .unwrap_or(value);
    let mut dims = Vec::new();
    let mut long = None;
    while let Some(list) = value.as_array() {
        if list.len() != 1 {
            if long.is_some() || list.is_empty() || list.len() > MAX_NUMBERS {
                return None;
            }
            long = Some((dims.len(), list));
        }
        dims.push(list.len());
        value = list.first()?;
    }
    let Some((axis, list)) = long else {
        return Some((vec![finite(value)?], Channels::Last));
    };
    let inner = |mut value: &'_ Value| -> Option<f64> {
        while let Some([only]) = value.as_array().map(Vec::as_slice) {
            value = only;
        }
        finite(value)
    };
    let numbers = list.iter().map(inner).collect::<Option<Vec<f64>>>()?;
    match dims.len() - axis {
        1 => Some((numbers, Channels::Last)),
        3 => Some((numbers, Channels::First)),
        _ => None,
    }
}

fn finite(value: &Value) -> Option<f64> {
    value.as_f64().filter(|number| number.is_finite())
}

/// Whether the `axis` argument is the last one of an image: its channels, in NHWC.
fn on_channels(entry: &Entry<'_>, call: &Call<'_>) -> bool {
    let axis = entry.config.get("axis").or_else(|| call.option("axis"));
    let axis = match axis {
        Some(Value::Array(axes)) if axes.len() == 1 => axes.first(),
        axis => axis,
    };
    matches!(axis.and_then(Value::as_i64), Some(-1 | 3))
}

/// `x[..., c]`, one channel of an image, or `x[..., ::-1]`, its channels reversed.
fn item(entry: &Entry<'_>, call: &Call<'_>) -> Result<Kind, Error> {
    let index = call.option("slice_spec");
    let index = index.or_else(|| call.arguments.get(1).copied().flatten());
    let index = index.and_then(Value::as_array).map(Vec::as_slice);
    let part = |value: &Value, name: &str| {
        let config = value.get("config").unwrap_or(value);
        config.get(name).filter(|value| !value.is_null()).cloned()
    };
    let is_whole = |value: &Value| {
        let parts = ["start", "stop", "step"].map(|name| part(value, name));
        value.is_object() && parts.iter().all(Option::is_none)
    };
    let found = match index {
        Some([before @ .., last])
            if matches!(before.len(), 1 | 3) && before.iter().all(is_whole) =>
        {
            let [start, stop, step] = ["start", "stop", "step"].map(|name| part(last, name));
            let channel = last
                .as_u64()
                .and_then(|channel| usize::try_from(channel).ok());
            match (channel, step.and_then(|step| step.as_i64())) {
                (Some(channel), _) => Some(Kind::Channel(channel)),
                (None, Some(-1)) if start.is_none() && stop.is_none() => Some(Kind::Reverse),
                _ => None,
            }
        }
        _ => None,
    };
    found.ok_or_else(|| {
        entry.refuse("only `[..., ::-1]`, the channels in reverse, or one channel is supported")
    })
}
