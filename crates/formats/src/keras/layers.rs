//! Layer classes and their options.

use serde_json::Value;

use super::arithmetic;
use super::calls::Call;
use super::config::Entry;
use super::network::{
    Activation, Affine, COLOURS, Channels, Conv, Dense, Kind, Norm, Pool, Resizing,
};
use resnet_wgpu::Error;
use resnet_wgpu::internals::graph::{Interpolation, PadValue, Padding};

/// Upper bound for strides, kernel sizes and padding: far more than any network uses, and small
/// enough that sums of them cannot overflow.
const MAX_GEOMETRY: u64 = 1 << 15;

/// Classes that do nothing at inference, apart from the random image augmentations.
const PASS: &[&str] = &[
    "Dropout",
    "SpatialDropout2D",
    "AlphaDropout",
    "GaussianDropout",
    "GaussianNoise",
    "ActivityRegularization",
    "Identity",
    "AugMix",
    "CutMix",
    "MixUp",
    "RandAugment",
];

/// What a layer computes, by its class.
pub(super) fn kind(entry: &Entry<'_>, call: &Call<'_>) -> Result<Kind, Error> {
    if let Some(kind) = arithmetic::kind(entry, call)? {
        return Ok(kind);
    }
    Ok(match entry.class {
        "InputLayer" => input(entry)?,
        "Conv2D" | "Convolution2D" => conv(entry)?,
        "BatchNormalization" => batch_norm(entry)?,
        "ZeroPadding2D" => Kind::Pad(padding(entry)?, PadValue::Zero),
        "Activation" => Kind::Activation(activation(entry)?),
        "ReLU" => relu(entry)?,
        "Softmax" => softmax(entry)?,
        "MaxPooling2D" => Kind::MaxPool(pool(entry)?),
        "AveragePooling2D" => Kind::AvgPool(pool(entry)?),
        "GlobalAveragePooling2D" => Kind::GlobalAverage {
            keep: entry.flag("keepdims", false)?,
        },
        "GlobalMaxPooling2D" => Kind::GlobalMax {
            keep: entry.flag("keepdims", false)?,
        },
        "Flatten" => Kind::Flatten {
            first: entry.channels()? == Channels::First,
        },
        "Dense" => dense(entry)?,
        "Rescaling" => rescale(entry.config).map(Kind::Affine).ok_or_else(|| {
            entry.refuse("'scale' and 'offset' must be one number, or one for each channel")
        })?,
        "Normalization" => normalization(entry)?,
        "Resizing" => Kind::Resize(resizing(entry)?),
        "CenterCrop" | "RandomCrop" => Kind::Crop(height_and_width(entry)?),
        "Reshape" => reshape(entry)?,
        class if PASS.contains(&class) || class.starts_with("Random") => Kind::Pass,
        _ => return Err(entry.refuse("layers of this class are not supported")),
    })
}

/// The input of a network, as far as a layer states its height, width and channels.
pub(super) fn input(entry: &Entry<'_>) -> Result<Kind, Error> {
    let shape = ["batch_shape", "batch_input_shape"].into_iter();
    let shape = shape
        .filter_map(|key| entry.config.get(key))
        .find_map(Value::as_array);
    let dtype = entry.config.get("dtype").and_then(Value::as_str);
    let integers = dtype.is_some_and(|dtype| dtype.contains("int"));
    let Some(shape) = shape else {
        return Ok(Kind::Input {
            size: [None, None],
            channels: COLOURS,
            integers,
        });
    };
    let sides: Vec<Option<usize>> = shape
        .iter()
        .map(|side| side.as_u64().and_then(|side| usize::try_from(side).ok()))
        .collect();
    let (size, channels) = match sides[..] {
        // Channels first: the second size can be a channel count, the last one cannot.
        [_, Some(c @ (1 | 3)), h, w] if !matches!(w, Some(1 | 3)) => ([h, w], Some(c)),
        [_, h, w, channels] => ([h, w], channels),
        _ => {
            return Err(entry.refuse(format!(
                "a shape of {} dimensions is not that of an image",
                sides.len()
            )));
        }
    };
    Ok(Kind::Input {
        size,
        // A grey image has three equal channels here.
        channels: channels.filter(|&channels| channels > 1).unwrap_or(COLOURS),
        integers,
    })
}

fn conv(entry: &Entry<'_>) -> Result<Kind, Error> {
    Ok(Kind::Conv(Conv {
        filters: entry.size("filters")?,
        kernel: entry.pair("kernel_size")?,
        stride: entry.pair("strides")?.unwrap_or([1, 1]),
        dilation: entry.pair("dilation_rate")?.unwrap_or([1, 1]),
        same: same(entry)?,
        groups: entry.size("groups")?.unwrap_or(1),
        bias: entry.flag("use_bias", true)?,
        activation: activation(entry)?,
        channels: entry.channels()?,
    }))
}

fn batch_norm(entry: &Entry<'_>) -> Result<Kind, Error> {
    if entry.flag("renorm", false)? {
        return Err(entry.refuse("renormalisation is not supported"));
    }
    // Keras 2 wraps the axis in a list.
    let axis = entry.config.get("axis").unwrap_or(&Value::Null);
    let axis = axis
        .as_array()
        .and_then(|list| list.first())
        .unwrap_or(axis);
    Ok(Kind::Norm(Norm {
        axis: axis.as_i64().unwrap_or(-1),
        epsilon: entry.number("epsilon", 1e-3)?,
        scale: entry.flag("scale", true)?,
        center: entry.flag("center", true)?,
    }))
}

/// Padding given as one number for all sides, one for each direction, or all four sides.
fn padding(entry: &Entry<'_>) -> Result<Padding, Error> {
    let value = entry.config.get("padding").unwrap_or(&Value::Null);
    let sides = match value {
        Value::Null => Some([1; 4]),
        Value::Number(_) => geometry(value).map(|all| [all; 4]),
        Value::Array(both) => match &both[..] {
            [Value::Array(rows), Value::Array(columns)] => {
                let sides: Vec<usize> = rows.iter().chain(columns).filter_map(geometry).collect();
                sides.try_into().ok().filter(|_| rows.len() == 2)
            }
            [rows, columns] => match (geometry(rows), geometry(columns)) {
                (Some(rows), Some(columns)) => Some([rows, rows, columns, columns]),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    };
    let [top, bottom, left, right] =
        sides.ok_or_else(|| entry.refuse(format!("its padding makes no sense: {value}")))?;
    Ok(Padding {
        top,
        bottom,
        left,
        right,
    })
}

pub(super) fn activation(entry: &Entry<'_>) -> Result<Activation, Error> {
    let stated = entry.config.get("activation");
    // A function, saved as an object that holds its name.
    let name = stated.and_then(|stated| stated.get("config"));
    match name.filter(|name| name.is_string()).or(stated) {
        None | Some(Value::Null) => Ok(Activation::Linear),
        Some(Value::String(name)) => match &name[..] {
            "linear" => Ok(Activation::Linear),
            "relu" => Ok(Activation::Relu),
            "softmax" => Ok(Activation::Softmax),
            "log_softmax" => Ok(Activation::LogSoftmax),
            "sigmoid" => Ok(Activation::Sigmoid),
            other => Err(entry.refuse(format!(
                "the activation '{other}' is not supported, only relu, softmax and sigmoid"
            ))),
        },
        Some(_) => Err(entry.refuse("an activation that is code is not supported")),
    }
}

fn relu(entry: &Entry<'_>) -> Result<Kind, Error> {
    let limited = entry
        .config
        .get("max_value")
        .is_some_and(|max| !max.is_null());
    let leaky = entry.number("negative_slope", 0.0)? != 0.0;
    if limited || leaky || entry.number("threshold", 0.0)? != 0.0 {
        return Err(entry.refuse("only the plain max(x, 0) is supported"));
    }
    Ok(Kind::Activation(Activation::Relu))
}

fn softmax(entry: &Entry<'_>) -> Result<Kind, Error> {
    match entry.config.get("axis").map(Value::as_i64) {
        None | Some(Some(-1 | 1)) => Ok(Kind::Activation(Activation::Softmax)),
        _ => Err(entry.refuse("only a softmax over the last axis is supported")),
    }
}

fn pool(entry: &Entry<'_>) -> Result<Pool, Error> {
    let kernel = entry.pair("pool_size")?.unwrap_or([2, 2]);
    Ok(Pool {
        kernel,
        stride: entry.pair("strides")?.unwrap_or(kernel),
        same: same(entry)?,
        channels: entry.channels()?,
    })
}

fn dense(entry: &Entry<'_>) -> Result<Kind, Error> {
    Ok(Kind::Dense(Dense {
        units: entry.size("units")?,
        bias: entry.flag("use_bias", true)?,
        activation: activation(entry)?,
    }))
}

/// The options `scale` and `offset` of a `Rescaling`, each one number or one per channel.
pub(super) fn rescale(config: &Value) -> Option<Affine> {
    let numbers = |key: &str, default: f64| match config.get(key) {
        None | Some(Value::Null) => Some(vec![default]),
        Some(value) => arithmetic::list(value).map(|(numbers, _)| numbers),
    };
    Some(Affine {
        scale: numbers("scale", 1.0)?,
        offset: numbers("offset", 0.0)?,
        channels: Channels::Last,
    })
}

/// A `Normalization` layer: mean and variance are options or, if they were learned, weights.
fn normalization(entry: &Entry<'_>) -> Result<Kind, Error> {
    let axis = match entry.config.get("axis") {
        Some(Value::Array(axes)) if axes.len() <= 1 => axes.first(),
        axis => axis,
    };
    if axis.is_some_and(|axis| !axis.is_null() && !matches!(axis.as_i64(), Some(-1 | 3))) {
        return Err(entry.refuse("only a normalisation along the last axis is supported"));
    }
    let invert = entry.flag("invert", false)?;
    let [mean, variance] = ["mean", "variance"].map(|key| entry.config.get(key));
    let stated = |value: Option<&Value>| value.is_some_and(|value| !value.is_null());
    if !stated(mean) && !stated(variance) {
        return Ok(Kind::Normalize { invert });
    }
    let numbers = |value: Option<&Value>| arithmetic::list(value?).map(|(numbers, _)| numbers);
    match (numbers(mean), numbers(variance)) {
        (Some(mean), Some(variance)) if variance.iter().all(|&variance| variance >= 0.0) => {
            Ok(Kind::Affine(Affine::normalize(mean, &variance, invert)))
        }
        _ => Err(entry.refuse("'mean' and 'variance' make no sense")),
    }
}

fn height_and_width(entry: &Entry<'_>) -> Result<[usize; 2], Error> {
    match (entry.size("height")?, entry.size("width")?) {
        (Some(height), Some(width)) => Ok([height, width]),
        _ => Err(entry.refuse("'height' and 'width' must be counts")),
    }
}

fn resizing(entry: &Entry<'_>) -> Result<Resizing, Error> {
    let stated = entry.config.get("interpolation");
    let interpolation = match stated.map(Value::as_str) {
        None | Some(Some("bilinear")) => Ok(Interpolation::Linear),
        Some(Some("nearest")) => Ok(Interpolation::Nearest),
        Some(Some(other)) => Err(format!(
            "the interpolation '{other}' is not supported, only bilinear and nearest"
        )),
        Some(None) => return Err(entry.refuse("'interpolation' must be a name")),
    };
    let interpolation = if entry.flag("antialias", false)? {
        Err("'antialias' is not supported, only resizing without it".to_owned())
    } else {
        interpolation
    };
    let mut keeps_ratio = None;
    for key in ["crop_to_aspect_ratio", "pad_to_aspect_ratio"] {
        if entry.flag(key, false)? {
            keeps_ratio = Some(key);
        }
    }
    Ok(Resizing {
        size: height_and_width(entry)?,
        interpolation,
        keeps_ratio,
        // Only Keras 3 states a data format here.
        rounds: entry.config.get("data_format").is_some(),
        channels: entry.channels()?,
    })
}

fn reshape(entry: &Entry<'_>) -> Result<Kind, Error> {
    let target = entry.config.get("target_shape").and_then(Value::as_array);
    let target = target.map(|sides| sides.iter().map(Value::as_i64).collect::<Vec<_>>());
    match target.as_deref() {
        Some([_]) => Ok(Kind::Reshape { image: false }),
        Some([Some(1), Some(1), _]) => Ok(Kind::Reshape { image: true }),
        _ => Err(entry.refuse("only a list, or an image of one pixel, is supported")),
    }
}

fn same(entry: &Entry<'_>) -> Result<bool, Error> {
    match entry.config.get("padding").and_then(Value::as_str) {
        None | Some("valid") => Ok(false),
        Some("same") => Ok(true),
        Some(other) => Err(entry.refuse(format!(
            "the padding '{other}' is not supported, only valid and same"
        ))),
    }
}

fn geometry(value: &Value) -> Option<usize> {
    let number = value.as_u64().filter(|&number| number <= MAX_GEOMETRY)?;
    usize::try_from(number).ok()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "Keras computes with 32 bits: rounding is what it does itself"
)]
fn finite(value: &Value) -> Option<f32> {
    let number = value.as_f64()? as f32;
    number.is_finite().then_some(number)
}

impl Entry<'_> {
    fn flag(&self, key: &str, default: bool) -> Result<bool, Error> {
        match self.config.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.refuse(format!("'{key}' must be true or false"))),
        }
    }

    /// A finite number.
    fn number(&self, key: &str, default: f32) -> Result<f32, Error> {
        match self.config.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => {
                finite(value).ok_or_else(|| self.refuse(format!("'{key}' must be a number")))
            }
        }
    }

    /// A count greater than zero.
    fn size(&self, key: &str) -> Result<Option<usize>, Error> {
        match self.config.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let size = value.as_u64().and_then(|size| usize::try_from(size).ok());
                let size = size.filter(|&size| size > 0);
                size.map(Some)
                    .ok_or_else(|| self.refuse(format!("'{key}' must be a count")))
            }
        }
    }

    /// Two sizes, vertical then horizontal; a single number stands for both.
    fn pair(&self, key: &str) -> Result<Option<[usize; 2]>, Error> {
        let value = self.config.get(key).unwrap_or(&Value::Null);
        let pair = match value {
            Value::Null => return Ok(None),
            Value::Array(list) => match &list[..] {
                [rows, columns] => [geometry(rows), geometry(columns)],
                _ => [None, None],
            },
            both => [geometry(both); 2],
        };
        match pair {
            [Some(rows @ 1..), Some(columns @ 1..)] => Ok(Some([rows, columns])),
            _ => Err(self.refuse(format!("'{key}' makes no sense: {value}"))),
        }
    }

    fn channels(&self) -> Result<Channels, Error> {
        match self.config.get("data_format").and_then(Value::as_str) {
            None | Some("channels_last") => Ok(Channels::Last),
            Some("channels_first") => Ok(Channels::First),
            Some(other) => Err(self.refuse(format!("the data format '{other}' is unknown"))),
        }
    }
}
