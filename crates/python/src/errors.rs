//! The exceptions, and what they say: the program's sentences, with arguments instead of flags.

use pyo3::PyErr;
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyValueError};
use resnet_run::{LARGEST_HALF, Refused};
use resnet_wgpu::network::Decision;
use resnet_wgpu::picture::Preprocess;
use resnet_wgpu::{Error, Hint, Kind};

create_exception!(
    resnet_wgpu,
    ResnetError,
    PyException,
    "Whatever this package refuses or fails to do; its message says what to do about it."
);
create_exception!(
    resnet_wgpu,
    WeightsError,
    ResnetError,
    "Weights are unreadable, unsupported or ambiguous, or cannot be obtained."
);
create_exception!(
    resnet_wgpu,
    AdapterError,
    ResnetError,
    "There is no adapter of the kind that was asked for."
);
create_exception!(
    resnet_wgpu,
    DeviceError,
    ResnetError,
    "The device cannot run the network, has too little memory, or is lost."
);
create_exception!(
    resnet_wgpu,
    AnswerError,
    ResnetError,
    "What was computed is no answer: numbers that are not finite, or no probabilities."
);
create_exception!(
    resnet_wgpu,
    ImageError,
    ResnetError,
    "An image cannot be read. `index` is its place among the images, from 0."
);

/// The message of an error, with what helps in Python.
fn advised(error: &Error) -> String {
    let advice = match error.hint() {
        Some(Hint::ListValues) => "; `inspect()` lists the names",
        Some(Hint::Convert) => {
            "; the program's `resnet convert` turns those into a file that describes itself"
        }
        Some(Hint::Truncated) => "; allow_truncated=True decodes what there is of it",
        Some(Hint::Compare) => {
            "; the program's `resnet compare` shows the first layer that is wrong"
        }
        Some(Hint::NameFile) => "; download the one that you want and open it by its path",
        Some(Hint::Entry) => "; choose one with entry=",
        _ => "",
    };
    format!("{error}{advice}")
}

/// An error of the library.
pub(crate) fn library(error: &Error) -> PyErr {
    let text = advised(error);
    match error.kind() {
        Kind::Weights => WeightsError::new_err(text),
        Kind::Adapter => AdapterError::new_err(text),
        Kind::Gpu if matches!(error, Error::Input { .. }) => PyValueError::new_err(text),
        Kind::Gpu | Kind::Plan => DeviceError::new_err(text),
        Kind::Answer => AnswerError::new_err(text),
        Kind::Picture if matches!(error, Error::Image { .. }) => ImageError::new_err(text),
        _ => ResnetError::new_err(text),
    }
}

/// An image that cannot be read, and its place among the images.
pub(crate) fn image(error: &Error) -> PyErr {
    match error {
        Error::Preprocess { .. } => library(error),
        _ => ImageError::new_err(advised(error)),
    }
}

/// A guess, and the argument that replaces it with a fact.
pub(crate) fn guess(decision: &Decision) -> String {
    let argument = match decision.what {
        "preprocessing" => "; state it with preprocess=",
        "size" => "; state it with size=",
        "entry" => "; choose it with entry=",
        "activation" => "; state it with activation=",
        "stride" | "variant" => "; state it with variant=",
        "max pool" => "; state it with settings={'stem_pool': 'none'} or 'max'",
        _ => "",
    };
    let Decision {
        what,
        value,
        evidence,
        ..
    } = decision;
    format!("nothing says the {what}, taken to be '{value}' ({evidence}){argument}")
}

/// What a network or a device is refused for.
pub(crate) fn refused(refused: Refused) -> PyErr {
    match refused {
        Refused::Library(error) => library(&error),
        Refused::Weights(error) => WeightsError::new_err(advised(&error)),
        Refused::Assumed(guesses) => {
            let guesses: Vec<String> = guesses.iter().map(guess).collect();
            WeightsError::new_err(format!("strict=True: {}", guesses.join("; ")))
        }
        Refused::NoClassifier { network, remark } => WeightsError::new_err(format!(
            "{network}: it has no classifier{remark}; use `embed`"
        )),
        Refused::OwnSizes => WeightsError::new_err(
            "its preprocessing gives every image a size of its own; state one with size=",
        ),
        Refused::UnknownPreprocess(text) => PyValueError::new_err(format!(
            "preprocess='{text}' is neither a known name nor a JSON file; the names are {}",
            Preprocess::NAMES.join(", ")
        )),
        Refused::File { path, reason } => {
            ResnetError::new_err(format!("cannot read '{path}': {reason}"))
        }
        Refused::Labels { given, error } => {
            ResnetError::new_err(format!("labels='{given}': {error}"))
        }
        Refused::Size {
            size: [height, width],
            error,
        } => ResnetError::new_err(format!(
            "size=({height}, {width}) does not suit the network: {error}"
        )),
        Refused::Class { text, reason } => {
            PyValueError::new_err(format!("label='{text}': {reason}"))
        }
        Refused::AdapterOnCpu => PyValueError::new_err(
            "device= names an adapter, which backend='cpu' does without; give one of them",
        ),
        Refused::UnknownBackends(list) => PyValueError::new_err(format!(
            "WGPU_BACKEND is '{list}', not a list of back ends; they are vulkan, metal, dx12, gl"
        )),
        Refused::NothingAskedFor(asked) => AdapterError::new_err(format!(
            "there is no adapter for {asked} here; `adapters()` lists those that there are, \
             backend='cpu' needs none"
        )),
        Refused::HalvesOnCpu => PyValueError::new_err(
            "precision='f16' needs an adapter, the CPU stores f32; leave it out, or see `adapters()`",
        ),
        Refused::KernelsOnCpu(option) => PyValueError::new_err(format!(
            "{option}= chooses between kernels of adapters, and the CPU has none; leave it out, or see \
             `adapters()`"
        )),
        Refused::Overflow { value, largest } => PyValueError::new_err(format!(
            "'{value}' reaches {largest:.0}, and half precision ends at {LARGEST_HALF}; leave out \
             precision=\"f16\""
        )),
        Refused::MatricesWithoutHalves => {
            PyValueError::new_err("cooperative matrices multiply halves: ask for precision='f16'")
        }
    }
}
