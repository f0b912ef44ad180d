//! Writes tensors to a safetensors file, either completely or not at all.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use half::f16;
use safetensors::{Dtype, View};
use serde_json::json;

use resnet_wgpu::Error;
use resnet_wgpu::internals::files::NewFile;
use resnet_wgpu::internals::kernels::Precision;
use resnet_wgpu::tensor::Tensor;

/// Writes named tensors and metadata as a safetensors file, replacing an older one.
///
/// `precision` applies to kernels and matrices. Vectors (biases, normalisations), which make up a
/// thousandth of a network and matter more, remain in 32 bits, and so does any tensor with a number
/// that 16 bits cannot represent.
///
/// # Errors
/// [`Error::Write`]; a file that was at the path before is then left untouched.
pub(crate) fn save<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
    metadata: HashMap<String, String>,
    precision: Precision,
) -> Result<(), Error> {
    let mut views: Vec<(&str, Stored<'_>)> = tensors
        .into_iter()
        .map(|(name, tensor)| (name, Stored::new(tensor, precision)))
        .collect();
    // The widest type first, as the format demands.
    views.sort_by(|(a, x), (b, y)| y.dtype.cmp(&x.dtype).then(a.cmp(b)));
    let mut file = NewFile::create(path)?;
    file.write(&header(&views, &metadata))?;
    for (_, view) in &views {
        file.write(&view.data())?;
    }
    file.finish()
}

/// The length of the JSON header and the header itself, padded with spaces so that tensor data
/// starts at a multiple of eight bytes.
fn header(views: &[(&str, Stored<'_>)], metadata: &HashMap<String, String>) -> Vec<u8> {
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
        table.insert((*name).to_owned(), entry);
        start = end;
    }
    let mut text = serde_json::Value::Object(table).to_string();
    text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// A tensor and its type in the file; it is converted while being written.
struct Stored<'a> {
    tensor: &'a Tensor,
    dtype: Dtype,
}

impl<'a> Stored<'a> {
    fn new(tensor: &'a Tensor, precision: Precision) -> Self {
        let fits = |x: &f32| x.abs() <= f16::MAX.to_f32();
        let is_half = precision == Precision::F16
            && tensor.dims().len() > 1
            && tensor.data().iter().all(fits);
        Self {
            tensor,
            dtype: if is_half { Dtype::F16 } else { Dtype::F32 },
        }
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
        Cow::Owned(if self.dtype == Dtype::F16 {
            data.flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect()
        } else {
            data.flat_map(|x| x.to_le_bytes()).collect()
        })
    }

    fn data_len(&self) -> usize {
        let bytes = if self.dtype == Dtype::F16 { 2 } else { 4 };
        self.tensor.len() * bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(precision: Precision) -> Vec<u8> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out.safetensors");
        let kernel = Tensor::from_fn(&[2, 1, 1, 3], |i| i as f32 * 0.1);
        let large = Tensor::from_fn(&[1, 2], |_| 1e5);
        let vector = Tensor::from_fn(&[3], |i| i as f32 * 0.1);
        let tensors = [("kernel", &kernel), ("large", &large), ("vector", &vector)];
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        save(&path, tensors, metadata, precision).expect("written");
        let files = std::fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(files, 1, "nothing else is left");
        std::fs::read(path).expect("read")
    }

    #[test]
    fn numbers_are_rounded_where_that_is_asked_for_and_possible() {
        let bytes = written(Precision::F32);
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

        let bytes = written(Precision::F16);
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
    fn what_cannot_be_written_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let tensor = Tensor::from_fn(&[1], |_| 1.0);
        // The path is taken by a folder: the file is complete but cannot replace it.
        let taken = folder.path().join("taken");
        std::fs::create_dir(&taken).expect("a folder");
        std::fs::write(taken.join("file"), "").expect("a file in it");
        for path in [taken.clone(), folder.path().join("no/such/folder/x")] {
            let result = save(&path, [("x", &tensor)], HashMap::new(), Precision::F32);
            assert!(matches!(result, Err(Error::Write { .. })), "{result:?}");
        }
        let files = std::fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(files, 1, "the folder alone");
    }
}
