//! Writes tensors to a safetensors file, either completely or not at all.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::str::FromStr;

use half::f16;
use safetensors::{Dtype, View};
use serde_json::json;

use super::file::scale_of;
use resnet_wgpu::Error;
use resnet_wgpu::internals::files::NewFile;
use resnet_wgpu::tensor::Tensor;

/// How kernels and matrices are written.
///
/// Vectors (biases, normalisations), which are a thousandth of a network and matter more, stay in 32
/// bits, and so does any tensor with a number that the smaller type cannot hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WeightsAs {
    /// Floats of 32 bits.
    #[default]
    F32,
    /// Floats of 16 bits.
    F16,
    /// Integers of 8 bits, with a scale for each output channel. Vectors that 16 bits hold without a loss
    /// have 16.
    Int8,
}

impl WeightsAs {
    /// The names of all, for command lines.
    pub const NAMES: [&str; 3] = ["f32", "f16", "int8"];
}

impl FromStr for WeightsAs {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let all = [Self::F32, Self::F16, Self::Int8];
        let mut named = Self::NAMES.into_iter().zip(all);
        let found = named.find(|(of, _)| *of == name);
        found.map(|(_, found)| found).ok_or_else(|| Error::Model {
            model: format!("weights as '{name}'"),
            reason: format!("there are {}", Self::NAMES.join(", ")),
        })
    }
}

/// Writes named tensors and metadata as a safetensors file, replacing an older one.
///
/// # Errors
/// [`Error::Write`]; a file that was at the path before is then left untouched.
pub(crate) fn save<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
    metadata: HashMap<String, String>,
    weights: WeightsAs,
) -> Result<(), Error> {
    let mut views: Vec<(String, Stored<'_>)> = Vec::new();
    for (name, tensor) in tensors {
        let stored = Stored::new(tensor, weights);
        if let Some(scales) = &stored.scales {
            let scales = Tensor::new(&[scales.len()], scales.as_slice())?;
            views.push((
                scale_of(name),
                Stored::plain(Cow::Owned(scales), Dtype::F32),
            ));
        }
        views.push((name.to_owned(), stored));
    }
    // The widest type first, as the format asks for.
    views.sort_by(|(a, x), (b, y)| y.dtype.cmp(&x.dtype).then(a.cmp(b)));
    let mut file = NewFile::create(path)?;
    file.write(&header(&views, &metadata))?;
    for (_, view) in &views {
        file.write(&view.data())?;
    }
    file.finish()
}

/// The length of the table of contents, and the table itself, filled up with spaces so that the
/// tensors start at a multiple of eight bytes.
fn header(views: &[(String, Stored<'_>)], metadata: &HashMap<String, String>) -> Vec<u8> {
    let mut table = serde_json::Map::new();
    table.insert("__metadata__".to_owned(), json!(metadata));
    let mut start = 0;
    for (name, view) in views {
        let end = start + view.data_len();
        let entry = json!({
            "dtype": view.dtype(),
            "shape": view.shape(),
            "data_offsets": [start, end],
        });
        table.insert(name.clone(), entry);
        start = end;
    }
    let mut text = serde_json::Value::Object(table).to_string();
    text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// A tensor and its type in the file; it is converted while being written.
struct Stored<'a> {
    tensor: Cow<'a, Tensor>,
    dtype: Dtype,
    /// Those of integers, by output channel.
    scales: Option<Vec<f32>>,
}

/// The largest integer, on both sides of zero.
const LARGEST: f32 = 127.0;

impl<'a> Stored<'a> {
    fn plain(tensor: Cow<'a, Tensor>, dtype: Dtype) -> Self {
        Self {
            tensor,
            dtype,
            scales: None,
        }
    }

    fn new(tensor: &'a Tensor, weights: WeightsAs) -> Self {
        let numbers = || tensor.data().iter();
        let is_matrix = tensor.dims().len() > 1;
        let fits = |x: &f32| x.abs() <= f16::MAX.to_f32();
        let exact = |x: &f32| f16::from_f32(*x).to_f32() == *x;
        let dtype = match weights {
            WeightsAs::F16 if is_matrix && numbers().all(fits) => Dtype::F16,
            WeightsAs::Int8 if is_matrix => Dtype::I8,
            WeightsAs::Int8 if numbers().all(exact) => Dtype::F16,
            WeightsAs::F32 | WeightsAs::F16 | WeightsAs::Int8 => Dtype::F32,
        };
        let scales = (dtype == Dtype::I8).then(|| {
            let largest = |channel: &[f32]| channel.iter().fold(0f32, |max, x| max.max(x.abs()));
            let scale = |channel| largest(channel) / LARGEST;
            channels(tensor).map(scale).collect()
        });
        Self {
            scales,
            ..Self::plain(Cow::Borrowed(tensor), dtype)
        }
    }
}

/// The numbers of each output channel.
fn channels(tensor: &Tensor) -> impl Iterator<Item = &[f32]> {
    let count = tensor.dims().first().copied().unwrap_or(1).max(1);
    tensor.data().chunks((tensor.len() / count).max(1))
}

/// The nearest integer; a channel of zeros has the scale zero.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a quotient is at most 127 by construction"
)]
fn quantised(value: f32, scale: f32) -> i8 {
    if scale > 0.0 {
        (value / scale).round().clamp(-LARGEST, LARGEST) as i8
    } else {
        0
    }
}

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        self.tensor.dims()
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let data = self.tensor.data().iter();
        Cow::Owned(match (&self.scales, self.dtype) {
            (Some(scales), _) => {
                let channels = channels(&self.tensor).zip(scales);
                let bytes = channels.flat_map(|(channel, &scale)| {
                    let byte = move |&x: &f32| quantised(x, scale).cast_unsigned();
                    channel.iter().map(byte)
                });
                bytes.collect()
            }
            (None, Dtype::F16) => data.flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
            (None, _) => data.flat_map(|x| x.to_le_bytes()).collect(),
        })
    }

    fn data_len(&self) -> usize {
        let bytes = match self.dtype {
            Dtype::I8 => 1,
            Dtype::F16 => 2,
            _ => 4,
        };
        self.tensor.len() * bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(weights: WeightsAs) -> Vec<u8> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out.safetensors");
        let kernel = Tensor::from_fn(&[2, 1, 1, 3], |i| i as f32 * 0.1);
        let large = Tensor::from_fn(&[1, 2], |_| 1e5);
        let vector = Tensor::from_fn(&[3], |i| i as f32 * 0.1);
        let tensors = [("kernel", &kernel), ("large", &large), ("vector", &vector)];
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        save(&path, tensors, metadata, weights).expect("written");
        let files = std::fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(files, 1, "nothing else is left");
        std::fs::read(path).expect("read")
    }

    #[test]
    fn numbers_are_rounded_where_that_is_asked_for_and_possible() {
        let bytes = written(WeightsAs::F32);
        let file = safetensors::SafeTensors::deserialize(&bytes).expect("a file");
        let kernel = file.tensor("kernel").expect("written");
        assert_eq!(
            (kernel.dtype(), kernel.shape()),
            (Dtype::F32, &[2, 1, 1, 3][..])
        );
        assert_eq!(
            kernel.data()[4..8],
            0.1f32.to_le_bytes(),
            "the second number"
        );

        let bytes = written(WeightsAs::F16);
        let file = safetensors::SafeTensors::deserialize(&bytes).expect("a file");
        let dtype = |name| file.tensor(name).expect("written").dtype();
        assert_eq!(
            ["kernel", "large", "vector"].map(dtype),
            [Dtype::F16, Dtype::F32, Dtype::F32]
        );
        let kernel = file.tensor("kernel").expect("written");
        assert_eq!(
            kernel.data()[2..4],
            f16::from_f32(0.1).to_le_bytes(),
            "rounded"
        );
    }

    #[test]
    fn integers_have_a_scale_for_each_output_channel() {
        let bytes = written(WeightsAs::Int8);
        let file = safetensors::SafeTensors::deserialize(&bytes).expect("a file");
        let tensor = |name| file.tensor(name).expect("written");
        assert_eq!(tensor("kernel").dtype(), Dtype::I8);
        // 0, 0.1, 0.2 of 0.2, and 0.3, 0.4, 0.5 of 0.5.
        assert_eq!(tensor("kernel").data(), [0, 64, 127, 76, 102, 127]);
        let scales = tensor("kernel.scale");
        assert_eq!((scales.dtype(), scales.shape()), (Dtype::F32, &[2][..]));
        assert_eq!(scales.data()[..4], (0.2f32 / 127.0).to_le_bytes());
        assert_eq!(tensor("vector").dtype(), Dtype::F32, "halves would lose");
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let tensor = Tensor::from_fn(&[1], |_| 1.0);
        // The path is taken by a folder: the file is complete but cannot replace it.
        let taken = folder.path().join("taken");
        std::fs::create_dir(&taken).expect("a folder");
        std::fs::write(taken.join("file"), "").expect("a file in it");
        for path in [taken.clone(), folder.path().join("no/such/folder/x")] {
            let result = save(&path, [("x", &tensor)], HashMap::new(), WeightsAs::F32);
            assert!(matches!(result, Err(Error::Write { .. })), "{result:?}");
        }
        let files = std::fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(files, 1, "the folder alone");
    }
}
