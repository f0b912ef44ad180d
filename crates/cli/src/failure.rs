//! How the program ends when it fails: one line on stderr and an exit code.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use resnet_run::{LARGEST_HALF, Refused};
use resnet_wgpu::network::Decision;
use resnet_wgpu::picture::Preprocess;
use resnet_wgpu::{Error, Hint, Kind};

use crate::escape::one_line;

/// Something failed while running.
const RUNTIME: u8 = 1;
/// The command line is invalid.
pub(crate) const USAGE: u8 = 2;
/// Weights are unreadable, unsupported or ambiguous.
const WEIGHTS: u8 = 3;
/// There is no suitable adapter.
const ADAPTER: u8 = 4;
/// A comparison is outside its tolerance.
const OUTSIDE: u8 = 5;
/// A benchmark became slower.
const SLOWER: u8 = 6;

/// What every `--help` ends with.
pub(crate) const EXIT_CODES: &str = "Exit codes: 0 ok, 1 runtime error, 2 usage, 3 weights \
    unreadable, unsupported or ambiguous, 4 no suitable adapter, 5 results outside the tolerance, \
    6 benchmark became slower";

/// A failure that ends the program.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    /// `None` if everything has already been reported.
    message: Option<String>,
}

impl Failure {
    fn new(code: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            message: Some(message.into()),
        }
    }

    /// Something failed while running.
    pub(crate) fn runtime(message: impl Into<String>) -> Self {
        Self::new(RUNTIME, message)
    }

    /// The flags are invalid.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(USAGE, message)
    }

    /// There is no adapter of the requested kind.
    pub(crate) fn adapter(message: impl Into<String>) -> Self {
        Self::new(ADAPTER, message)
    }

    /// Results differ from their expected values.
    pub(crate) fn outside(message: impl Into<String>) -> Self {
        Self::new(OUTSIDE, message)
    }

    /// A benchmark is slower than an earlier one.
    pub(crate) fn slower(message: impl Into<String>) -> Self {
        Self::new(SLOWER, message)
    }

    /// Something failed while running, and has already been reported.
    pub(crate) const fn silent() -> Self {
        Self {
            code: RUNTIME,
            message: None,
        }
    }

    /// A weight file leaves something open that must not be guessed.
    pub(crate) fn unsure(message: impl Into<String>) -> Self {
        Self::new(WEIGHTS, message)
    }

    /// An error while reading a weight file or building its network.
    pub(crate) fn weights(error: &Error) -> Self {
        let code = match error {
            Error::Setting { .. } => USAGE,
            _ => WEIGHTS,
        };
        Self::new(code, advised(error))
    }

    /// The same for a file, which is named where the error does not name it.
    pub(crate) fn weights_in(path: &Path, error: &Error) -> Self {
        let mut failure = Self::weights(error);
        let path = path.display().to_string();
        if let Some(message) = &mut failure.message
            && !message.contains(&path)
        {
            *message = format!("'{path}': {message}");
        }
        failure
    }

    /// What is to be said of it; nothing if everything has already been reported.
    pub(crate) fn into_message(self) -> Option<String> {
        self.message
    }

    /// Prints the message and returns the exit code.
    pub(crate) fn report(self) -> ExitCode {
        if let Some(message) = self.message {
            complain(&message);
        }
        ExitCode::from(self.code)
    }
}

/// Prints an error line. `eprintln!` would panic if stderr is closed.
pub(crate) fn complain(message: impl std::fmt::Display) {
    let style = anstyle::AnsiColor::Red.on_default().bold();
    let message = one_line(&message.to_string());
    let _ = writeln!(anstream::stderr(), "{style}error{style:#}: {message}");
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match error.kind() {
            _ if matches!(error, Error::Setting { .. }) => USAGE,
            Kind::Weights => WEIGHTS,
            Kind::Adapter => ADAPTER,
            _ => RUNTIME,
        };
        Self::new(code, advised(&error))
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Library(error) => error.into(),
            Refused::Weights(error) => Self::weights(&error),
            Refused::Assumed(guesses) => {
                let guesses: Vec<String> = guesses.iter().map(guess).collect();
                Self::unsure(format!(
                    "--strict: nothing says the {}",
                    guesses.join("; nothing says the ")
                ))
            }
            Refused::NoClassifier { network, remark } => Self::unsure(format!(
                "{network}: it has no classifier{remark}; use `embed`"
            )),
            Refused::OwnSizes => Self::unsure(
                "its preprocessing gives every image a size of its own, which only `classify` \
                 follows; state one with --size",
            ),
            Refused::UnknownPreprocess(text) => Self::usage(format!(
                "--preprocess '{text}' is neither a known name nor a JSON file; the names are {}",
                Preprocess::NAMES.join(", ")
            )),
            Refused::File { path, reason } => {
                Self::runtime(format!("cannot read '{path}': {reason}"))
            }
            Refused::Labels { given, error } => Self::usage(format!("--labels {given}: {error}")),
            Refused::Size {
                size: [height, width],
                error,
            } => Self::usage(format!(
                "--size {height}x{width} does not suit the network: {error}"
            )),
            Refused::Class { text, reason } => Self::usage(format!("--class '{text}': {reason}")),
            Refused::AdapterOnCpu => Self::usage(
                "--device names an adapter, which --backend cpu does without; give one of them",
            ),
            Refused::UnknownBackends(list) => Self::usage(format!(
                "WGPU_BACKEND is '{list}', not a list of back ends; they are vulkan, metal, dx12, gl"
            )),
            Refused::NothingAskedFor(asked) => Self::adapter(format!(
                "there is no adapter for {asked} here; `resnet devices` lists those that there are, \
                 `--backend cpu` needs none"
            )),
            Refused::HalvesOnCpu => Self::usage(
                "--precision f16 needs an adapter, the CPU stores f32; leave it out, or see \
                 `resnet devices`",
            ),
            Refused::KernelsOnCpu(option) => Self::usage(format!(
                "--{option} chooses between kernels of adapters, and the CPU has none; leave it out, or \
                 see `resnet devices`"
            )),
            Refused::Overflow { value, largest } => Self::runtime(format!(
                "'{value}' reaches {largest:.0}, and half precision ends at {LARGEST_HALF}; leave out \
                 --precision f16, or go on with --allow-overflow"
            )),
            Refused::MatricesWithoutHalves => {
                Self::usage("--cooperative-matrix multiplies halves: add --precision f16")
            }
        }
    }
}

/// The message of an error, followed by the command that helps.
pub(crate) fn advised(error: &Error) -> String {
    let advice = match error.hint() {
        Some(Hint::ListValues) => "; `resnet inspect` lists the names",
        Some(Hint::Convert) => "; `resnet convert` turns those into a file that describes itself",
        Some(Hint::Truncated) => "; --allow-truncated decodes what there is of it",
        Some(Hint::Compare) => "; `resnet compare` shows the first layer that is wrong",
        Some(Hint::NameFile) => "; download the one that you want and name it with --weights",
        Some(Hint::Entry) => "; choose one with --entry NAME",
        _ => "",
    };
    format!("{error}{advice}")
}

impl From<io::Error> for Failure {
    /// Only writing to stdout gives bare I/O errors. If the reader has seen enough, as `head` does,
    /// that is not a failure.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self {
                code: 0,
                message: None,
            };
        }
        Self::runtime(format!("cannot write the results: {error}"))
    }
}

/// A guess, and the flag that replaces it with a fact.
pub(crate) fn guess(decision: &Decision) -> String {
    let Decision {
        what,
        value,
        evidence,
        ..
    } = decision;
    let flag = match *what {
        "preprocessing" => "; state it with --preprocess",
        "size" => "; state it with --size",
        "entry" => "; choose it with --entry",
        "activation" => "; state it with --activation",
        "stride" | "variant" => "; state it with --variant",
        "max pool" => "; state it with --set stem_pool=none or max",
        _ => "",
    };
    format!("{what}, taken to be '{value}' ({evidence}){flag}")
}
