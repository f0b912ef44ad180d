//! The class between Python and the engine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray4, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator};
use resnet_run::{Device, DeviceOptions, NetworkOptions, Refused, class_of, label, resolve};
use resnet_wgpu::graph::Role;
use resnet_wgpu::passes::Fusion;
use resnet_wgpu::picture::{Batch, Labels, Reader};
use resnet_wgpu::tensor::Tensor;

use crate::engine::{Engine, Input, Output, Values, install};
use crate::errors::{ImageError, guess, library, refused};
use crate::images::Image;
use crate::warnings;

/// Images that run together on a GPU, unless the user says it.
const BATCH: usize = 8;

/// A network on a device.
#[pyclass(frozen, module = "resnet_wgpu._native")]
pub(crate) struct Network {
    engine: Engine,
    labels: Option<Labels>,
    /// The network as `resnet inspect --format json` has it.
    #[pyo3(get)]
    inspection: String,
    /// What was assumed about the network, a sentence each.
    #[pyo3(get)]
    assumed: Vec<String>,
    /// The number of classes, if there is a classifier, and the length of an embedding.
    #[pyo3(get)]
    widths: (Option<usize>, usize),
}

/// The outcome of images: an array for each output, and the images that could not be read.
type Outcome<'py> = (Bound<'py, PyDict>, Vec<(usize, Py<PyAny>)>);

/// The images of a batch that were refused, and the values of the others.
type Answered = (Vec<(usize, PyErr)>, Result<Vec<Values>, Refused>);

#[pymethods]
impl Network {
    /// Opens a weight file, or a repository behind `hf:`; every option is a text, or left out.
    #[new]
    fn new(py: Python<'_>, path: PathBuf, options: Options) -> PyResult<Self> {
        let opened = py.detach(|| open(path, options));
        warnings::pass_on(py)?;
        opened
    }

    /// The device, as the program's JSON has adapters.
    #[getter]
    fn device(&self) -> PyResult<String> {
        json(&self.engine.install(|| self.engine.device().info()))
    }

    /// Images that run together.
    #[getter]
    fn batch(&self) -> usize {
        self.engine.batch
    }

    /// The names of the classes.
    #[getter]
    fn labels(&self) -> Option<Vec<&str>> {
        Some(self.labels.as_ref()?.iter().collect())
    }

    /// The number of classes.
    fn classes(&self, py: Python<'_>) -> PyResult<usize> {
        let classes = py.detach(|| self.engine.network().classes());
        classes.map_err(refused)
    }

    /// The name of a class, or its number in words.
    fn label(&self, class: usize) -> String {
        label(self.labels.as_ref(), class)
    }

    /// Runs images of an iterator or of a list, each in a form that [`Image`] knows: an array for each output
    /// (`logits`, `probabilities`, `features`, `tap`) with a row for each image that could be read,
    /// and the numbers of the others with their exceptions, or the first exception raised.
    fn infer<'py>(
        &self,
        py: Python<'py>,
        images: Py<PyAny>,
        tap: Option<String>,
        raises: bool,
    ) -> PyResult<Outcome<'py>> {
        let (mut bad, mut all) = (Vec::new(), Vec::new());
        let engine = &self.engine;
        if let Some(name) = &tap {
            let found = py.detach(|| engine.network().model.graph.find(name).map(drop));
            found.map_err(|error| library(&error))?;
        }
        // An iterator goes on where it was, and a list of one image is read once.
        let iterator = images.bind(py).try_iter()?.unbind();
        let mut numbers = 0..;
        let mut next = || {
            let image = Python::attach(|py| next(py, &iterator))?;
            Ok(image.map(|image| (numbers.next().unwrap_or(usize::MAX), image)))
        };
        let prepare = |(number, image): (usize, PyResult<Image>)| {
            let prepare = |image: Image| image.prepare(number, engine.reader, &engine.rules);
            (number, image.and_then(prepare))
        };
        let run = |images: Vec<(usize, PyResult<Batch>)>| {
            let (mut good, mut bad) = (Vec::new(), Vec::new());
            for (number, image) in images {
                match image {
                    Ok(image) => good.push(image),
                    Err(error) => bad.push((number, error)),
                }
            }
            if raises && !bad.is_empty() {
                good.clear();
            }
            (bad, engine.run(&Input::Images(good), tap.as_deref()))
        };
        let mut take = |(refusals, values): Answered| {
            for (number, error) in refusals {
                let value = Python::attach(|py| numbered(py, &error, number))?;
                match value {
                    Some(value) if !raises => bad.push((number, value)),
                    _ => return Err(error),
                }
            }
            append(&mut all, values.map_err(refused)?).map_err(refused)
        };
        // What is one batch gains nothing from threads of its own.
        if images.bind(py).len().is_ok_and(|count| count <= 1) {
            py.detach(|| match next()? {
                Some(image) => take(run(vec![engine.install(|| prepare(image))])),
                None => Ok(()),
            })?;
        } else {
            let idle = || Python::attach(|py| py.check_signals());
            py.detach(|| engine.ahead().run(next, prepare, run, take, idle))?;
        }
        warnings::pass_on(py)?;
        Ok((arrays(py, all)?, bad))
    }

    /// Runs prepared images, NCHW.
    fn run<'py>(
        &self,
        py: Python<'py>,
        tensor: PyReadonlyArray4<'py, f32>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let &[_, c, h, w] = tensor.shape() else {
            unreachable!("the type has four dimensions");
        };
        let image = (c * h * w).max(1);
        let batches = tensor.as_slice()?.chunks(self.engine.batch * image);
        let mut all = Vec::new();
        for data in batches {
            let values = py.detach(|| {
                let tensor = Tensor::new(&[data.len() / image, c, h, w], data)?;
                self.engine.run(&Input::Tensor(tensor), None)
            });
            append(&mut all, values.map_err(refused)?).map_err(refused)?;
            py.check_signals()?;
        }
        warnings::pass_on(py)?;
        arrays(py, all)
    }

    /// Class, probability, map and overlay of an image, for a class by number or label, or for the
    /// most likely one.
    fn heat_map<'py>(
        &self,
        py: Python<'py>,
        image: &Bound<'py, PyAny>,
        label: Option<String>,
    ) -> PyResult<(usize, f32, Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let classes = self.classes(py)?;
        let class = label.map(|text| class_of(&text, self.labels.as_ref(), classes));
        let class = class.transpose().map_err(refused)?;
        let image = Image::of(image)?;
        let picture = py.detach(|| image.decode(self.engine.reader))?;
        let map = py.detach(|| self.engine.heat_map(class, &picture));
        warnings::pass_on(py)?;
        let map = map.map_err(refused)?;
        let [height, width] = map.overlay.size();
        let overlay = PyArray1::from_slice(py, map.overlay.rgb()).reshape([height, width, 3])?;
        let values = PyArray1::from_vec(py, map.values).reshape(map.size)?;
        Ok((
            map.class,
            map.probability,
            values.into_any(),
            overlay.into_any(),
        ))
    }
}

/// The next image of an iterator, or why it is none. What is wrong with more than the image is an error.
fn next(py: Python<'_>, images: &Py<PyIterator>) -> PyResult<Option<PyResult<Image>>> {
    py.check_signals()?;
    let Some(object) = images.bind(py).clone().next() else {
        return Ok(None);
    };
    match Image::of(&object?) {
        Err(error) if !error.is_instance_of::<ImageError>(py) => Err(error),
        image => Ok(Some(image)),
    }
}

/// The exception for an image, with its number; `None` for what is wrong with more than the image.
fn numbered(py: Python<'_>, error: &PyErr, number: usize) -> PyResult<Option<Py<PyAny>>> {
    if !error.is_instance_of::<ImageError>(py) {
        return Ok(None);
    }
    let value = error.value(py);
    value.setattr("index", number)?;
    Ok(Some(value.clone().into_any().unbind()))
}

/// The arguments of `Network.open`.
#[derive(FromPyObject)]
struct Options {
    #[pyo3(item)]
    device: Option<String>,
    #[pyo3(item)]
    backend: Option<String>,
    #[pyo3(item)]
    precision: String,
    #[pyo3(item)]
    batch: Option<usize>,
    #[pyo3(item)]
    threads: Option<usize>,
    #[pyo3(item)]
    size: Option<[usize; 2]>,
    #[pyo3(item)]
    preprocess: Option<String>,
    #[pyo3(item)]
    labels: Option<String>,
    #[pyo3(item)]
    entry: Option<String>,
    #[pyo3(item)]
    variant: Option<String>,
    #[pyo3(item)]
    activation: Option<String>,
    #[pyo3(item)]
    settings: BTreeMap<String, String>,
    #[pyo3(item)]
    strict: bool,
    #[pyo3(item)]
    allow_truncated: bool,
    #[pyo3(item)]
    fast_decode: bool,
}

fn open(path: PathBuf, options: Options) -> PyResult<Network> {
    let value = |error: String| PyValueError::new_err(error);
    let device = DeviceOptions {
        device: options.device,
        backend: options
            .backend
            .as_deref()
            .map(str::parse)
            .transpose()
            .map_err(value)?,
        precision: options
            .precision
            .parse()
            .map_err(|error: String| value(error))?,
        ..DeviceOptions::default()
    };
    let named = NetworkOptions {
        arch: None,
        size: options.size,
        preprocess: options.preprocess,
        variant: parsed(options.variant)?,
        settings: options.settings,
        bn_mode: None,
        entry: options.entry,
        activation: parsed(options.activation)?,
        strict: options.strict,
        fusion: Fusion::Full,
    };
    let threads = options.threads.map(|count| {
        let threads = rayon::ThreadPoolBuilder::new().num_threads(count);
        let threads = threads.thread_name(|number| format!("resnet {number}"));
        threads.build().map_err(|error| value(error.to_string()))
    });
    let threads = threads.transpose()?;
    let device = Device::open(device).map_err(refused)?;
    let batch = options
        .batch
        .unwrap_or(if device.info().kind.ends_with("GPU") {
            BATCH
        } else {
            1
        });
    let weights = Some(path.display().to_string());
    let network = install(threads.as_ref(), || {
        resnet_run::Network::load(&named, 1, weights, |options| {
            let file = resolve(&path, &mut |_| ()).map_err(Refused::Weights)?;
            resnet_formats::open(file, options).map_err(Refused::Weights)
        })
    });
    let network = network.map_err(refused)?;
    let labels = network.labels(options.labels.as_deref()).map_err(refused)?;
    let features = network.model.graph.value_of(Role::Features);
    let features = features.map_err(|error| library(&error))?.shape;
    let mut reader = Reader::default();
    reader.truncated = options.allow_truncated;
    reader.fast = options.fast_decode;
    Ok(Network {
        inspection: json(
            &network
                .inspection(labels.as_ref())
                .map_err(|e| library(&e))?,
        )?,
        assumed: network.model.decisions.assumed().map(guess).collect(),
        widths: (network.model.classes, features.c * features.h * features.w),
        engine: Engine::new(network, device, threads, batch, reader),
        labels,
    })
}

fn parsed<T: std::str::FromStr<Err = resnet_wgpu::Error>>(
    text: Option<String>,
) -> PyResult<Option<T>> {
    let parsed = text.as_deref().map(str::parse).transpose();
    parsed.map_err(|error: resnet_wgpu::Error| PyValueError::new_err(error.to_string()))
}

/// Adds the values of some images to those of the images before them.
fn append(all: &mut Vec<Values>, more: Vec<Values>) -> Result<(), Refused> {
    if all.is_empty() {
        *all = more;
        return Ok(());
    }
    for (values, more) in all.iter_mut().zip(more) {
        if values.shape != more.shape {
            return Err(Refused::OwnSizes);
        }
        values.data.extend(more.data);
    }
    Ok(())
}

/// Arrays by name; values without rows and columns have a row for each image.
fn arrays(py: Python<'_>, all: Vec<Values>) -> PyResult<Bound<'_, PyDict>> {
    let arrays = PyDict::new(py);
    for Values {
        output,
        shape: [c, h, w],
        data,
    } in all
    {
        let images = data.len() / (c * h * w).max(1);
        let (name, data) = match output {
            Output::Logits(activation) => {
                let rows = data.chunks(c);
                let scores = activation.map(|a| rows.flat_map(|row| a.scores(row)).collect());
                ("logits", scores.unwrap_or(data))
            }
            Output::Probabilities => ("probabilities", data),
            Output::Features => ("features", data),
            Output::Tap => ("tap", data),
        };
        let array = PyArray1::from_vec(py, data);
        match output {
            Output::Tap => arrays.set_item(name, array.reshape([images, c, h, w])?)?,
            _ => arrays.set_item(name, array.reshape([images, c * h * w])?)?,
        }
    }
    Ok(arrays)
}

/// A value as JSON.
pub(crate) fn json(value: &impl serde::Serialize) -> PyResult<String> {
    serde_json::to_string(value).map_err(|error| PyValueError::new_err(error.to_string()))
}
