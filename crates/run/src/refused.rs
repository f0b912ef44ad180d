//! Why something cannot be done: plain data, worded by each front end.

use resnet_wgpu::Error;
use resnet_wgpu::network::Decision;

/// Why a network or a device is refused. All variants can be matched: a front end must word each.
#[derive(Debug)]
pub enum Refused {
    /// The library or a reader of files says why.
    Library(Error),
    /// Likewise, while a weight file was read or its network was built.
    Weights(Error),
    /// Nothing may be assumed, and these decisions are guesses.
    Assumed(Vec<Decision>),
    /// There is no classifier.
    NoClassifier {
        /// The network.
        network: String,
        /// What is known about it, as an end of the sentence; may be empty.
        remark: String,
    },
    /// The network runs every image in a size of its own, and all must have one.
    OwnSizes,
    /// The preparation is neither a name nor a JSON file.
    UnknownPreprocess(String),
    /// A file with rules or labels cannot be used.
    File {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// Labels do not fit the network.
    Labels {
        /// What was given as labels.
        given: String,
        /// What is wrong.
        error: Error,
    },
    /// The network cannot have an image of this size.
    Size {
        /// Height and width.
        size: [usize; 2],
        /// What is wrong.
        error: Error,
    },
    /// No class or several have this name or number.
    Class {
        /// What was asked for.
        text: String,
        /// What is wrong, and what to do about it.
        reason: String,
    },
    /// An adapter is named, and none is to be used.
    AdapterOnCpu,
    /// The environment names no back end, or one that there is not.
    UnknownBackends(String),
    /// There is no adapter on the back ends that were asked for, named here.
    NothingAskedFor(String),
    /// The CPU does not store halves.
    HalvesOnCpu,
    /// This option, named here, chooses between kernels of adapters, and the CPU computes.
    KernelsOnCpu(&'static str),
    /// Halves cannot hold a number of the network.
    Overflow {
        /// The parameter or layer that reaches it.
        value: String,
        /// The number.
        largest: f32,
    },
    /// Cooperative matrices multiply halves, which were not asked for.
    MatricesWithoutHalves,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Library(error)
    }
}
