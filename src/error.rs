//! Every way in which this crate can fail, grouped by the stage that fails.
//!
//! An [`Error`] says what is wrong and which numbers to change. [`Error::kind`] suffices to decide
//! how to react; a [`Hint`] is advice that each program expresses in its own flags and menus.

mod advice;

use std::path::PathBuf;

use crate::shape::Shape;
use crate::words::gibibytes;

pub use advice::{Hint, Kind};

/// An error from any stage, with the names and numbers that show what to change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // === Tensors ===
    /// The data does not match the dimensions of its tensor.
    #[error("a tensor of shape {dims:?} cannot hold {got} scalars")]
    TensorLength {
        /// The dimensions of the tensor.
        dims: Vec<usize>,
        /// The number of scalars given.
        got: usize,
    },
    /// A tensor has the wrong number of dimensions.
    #[error("expected a tensor of {expected} dimensions, got {dims:?}")]
    TensorRank {
        /// The expected number of dimensions.
        expected: usize,
        /// The dimensions of the given tensor.
        dims: Vec<usize>,
    },

    // === Weights ===
    /// A file cannot be opened or read.
    #[error("cannot read '{path}': {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write '{path}': {reason}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Weights cannot be downloaded.
    #[error("'{repository}': {reason}")]
    Fetch {
        /// The name of the repository.
        repository: String,
        /// What is wrong, and what to do about it.
        reason: String,
        /// What would help.
        hint: Option<Hint>,
    },
    /// A weight file is damaged, or not in the format that it appears to be in.
    #[error("weights '{path}': {reason}")]
    WeightsUnreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do about it.
        reason: String,
    },
    /// A pickle asks for a Python object that is not one of the few that hold tensors.
    #[error(
        "weights '{path}': the file asks for the Python object '{global}', which is refused: only \
         tensors are read and no code of a file is ever run; save `model.state_dict()` instead"
    )]
    WeightsForbidden {
        /// The file.
        path: PathBuf,
        /// Module and name, such as `os.system`.
        global: String,
    },
    /// The tensor names belong to no known network family, or to several.
    #[error("weights: {reason}")]
    WeightsUnrecognised {
        /// The names that were looked for and those that were found.
        reason: String,
        /// What helps.
        hint: Option<Hint>,
    },
    /// Several networks have such tensors, and nothing says which one the file belongs to.
    #[error("{model}: {reason}; say which variant it is: {}", variants.join(", "))]
    WeightsAmbiguous {
        /// What is certain about the network.
        model: String,
        /// What cannot be determined.
        reason: String,
        /// Names of the [variants](crate::network::Variant) to choose from.
        variants: Vec<&'static str>,
    },
    /// The network needs a tensor that the file does not have.
    #[error("weight '{name}' is missing: the network expects shape {expected:?}")]
    WeightMissing {
        /// The name in the file.
        name: String,
        /// The expected shape, in the layout of the file.
        expected: Vec<usize>,
    },
    /// A tensor does not have the shape that the network expects.
    #[error("weight '{name}': expected shape {expected:?}, got {got:?}")]
    WeightShape {
        /// The name in the file.
        name: String,
        /// The expected shape, in the layout of the file.
        expected: Vec<usize>,
        /// The shape in the file.
        got: Vec<usize>,
    },
    /// A tensor has a type that is not a supported float.
    #[error("weight '{name}': element type {got} is not supported; convert it to f32")]
    WeightType {
        /// The name in the file.
        name: String,
        /// The element type in the file.
        got: String,
    },
    /// A tensor has a NaN or infinite element, or a variance is negative.
    #[error(
        "weight '{name}': element {index} is {value}; the file is damaged or training diverged"
    )]
    WeightNotFinite {
        /// The name in the file.
        name: String,
        /// Flat index of the first such element.
        index: usize,
        /// The element.
        value: f32,
    },
    /// The file holds tensors that the network does not use.
    #[error("weights: {count} tensors are not part of the network, the first is '{first}'")]
    WeightsUnused {
        /// How many there are.
        count: usize,
        /// The first one in alphabetical order.
        first: String,
    },

    // === Graph ===
    /// Two values would have the same name.
    #[error("node '{node}': the name is taken")]
    DuplicateName {
        /// Name of the node being added.
        node: String,
    },
    /// A node got the wrong number of inputs.
    #[error("node '{node}': expected {expected} inputs, got {got}")]
    InputCount {
        /// Name of the node.
        node: String,
        /// The numbers of inputs that the op takes, such as `1` or `1 or 2`.
        expected: &'static str,
        /// The number of inputs given.
        got: usize,
    },
    /// A node refers to a value or a parameter of another graph.
    #[error("node '{node}': input {index} does not belong to this graph")]
    UnknownInput {
        /// Name of the node.
        node: String,
        /// Position of the input.
        index: usize,
    },
    /// A value, parameter or node belongs to another graph than the one that was asked about it.
    #[error("the {what} belongs to another graph; look it up in this one by name or by role")]
    ForeignId {
        /// `value`, `parameter` or `node`.
        what: &'static str,
    },
    /// A parameter of a node has the wrong shape.
    #[error("node '{node}': {parameter} must have shape {expected:?}, got {got:?}")]
    ParameterShape {
        /// Name of the node.
        node: String,
        /// Role of the parameter, such as `weight`.
        parameter: &'static str,
        /// The expected dimensions.
        expected: Vec<usize>,
        /// The given dimensions.
        got: Vec<usize>,
    },
    /// Two activations that must have the same shape do not.
    #[error("node '{node}': expected an input of shape {expected}, got {got}")]
    InputShape {
        /// Name of the node.
        node: String,
        /// Expected shape.
        expected: Shape,
        /// Shape given.
        got: Shape,
    },
    /// The geometry of a node is impossible for its input.
    #[error("node '{node}': {reason}")]
    Geometry {
        /// Name of the node.
        node: String,
        /// What does not fit, in numbers.
        reason: String,
    },
    /// No value has this name.
    #[error("no value is called '{name}'{}{known}", if known.is_empty() { "" } else { "; " })]
    UnknownValue {
        /// The name asked for.
        name: String,
        /// A sentence that lists names that exist; empty if none resembles the requested one.
        known: String,
    },
    /// No readable value has this role.
    #[error("there are no {role}; {hint}")]
    NoRole {
        /// The role asked for.
        role: String,
        /// Names that exist.
        hint: String,
    },
    /// A model cannot be built as requested.
    #[error("{model}: {reason}")]
    Model {
        /// The requested model.
        model: String,
        /// What is wrong, and what to do about it.
        reason: String,
    },
    /// A setting that does not exist, has no such value, or is not for the network.
    #[error("setting '{name}': {reason}")]
    Setting {
        /// The name of the setting.
        name: String,
        /// What is wrong, and what there is instead.
        reason: String,
    },
    /// A node of a file makes no sense, or is not supported.
    #[error("node '{node}' ({op}): {reason}")]
    Operator {
        /// The name of the node, or of its result if the node has none.
        node: String,
        /// The operator, as named in the file.
        op: String,
        /// What is wrong or unsupported.
        reason: String,
    },

    // === Plan ===
    /// A layer needs more than the adapter allows.
    #[error("node '{node}': needs {what} of {needed}, the device allows {allowed}; {hint}")]
    LimitExceeded {
        /// Name of the node.
        node: String,
        /// Name of the limit.
        what: &'static str,
        /// The amount needed.
        needed: u64,
        /// The amount allowed.
        allowed: u64,
        /// What to do.
        hint: &'static str,
    },
    /// The kernels that the caller requested cannot run on this device.
    #[error("the path '{path}' is not available: {reason}; use the path 'auto'")]
    PathUnavailable {
        /// The path asked for.
        path: &'static str,
        /// What the device lacks.
        reason: String,
    },
    /// A kernel computes wrongly on this device, and nothing can take its place.
    #[error(
        "node '{node}': kernel '{kernel}' is wrong on this device; update its driver or use a CPU"
    )]
    WrongKernel {
        /// Name of the node.
        node: String,
        /// Name of the kernel, or of the way to compute a convolution.
        kernel: String,
    },
    /// A shader cannot be specialised as requested.
    #[error("kernel '{kernel}': {reason}")]
    Specialise {
        /// Name of the kernel.
        kernel: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Work needs more memory than this process can have.
    #[error(
        "{what} needs {} of memory, but only {} is available; use a smaller batch or image",
        gibibytes(*needed), gibibytes(*available)
    )]
    Memory {
        /// What needs the memory.
        what: String,
        /// The estimated need in bytes.
        needed: u64,
        /// What is left on this machine and allowed to this process, in bytes.
        available: u64,
    },

    // === GPU ===
    /// There is no adapter of the requested kind.
    #[error("no suitable GPU adapter: {reason}")]
    NoAdapter {
        /// What was requested, and what there is.
        reason: String,
    },
    /// The adapter refuses to create a device.
    #[error("the adapter '{adapter}' gave no device: {reason}")]
    NoDevice {
        /// Name of the adapter.
        adapter: String,
        /// The adapter's reason.
        reason: String,
    },
    /// The driver rejected a pipeline, a buffer or a command.
    #[error("{what}: {reason}")]
    Gpu {
        /// What was being created or run.
        what: String,
        /// The message of wgpu or the driver.
        reason: String,
    },
    /// The device is lost: it was removed or reset, or its driver gave up.
    #[error("the GPU device is lost ({reason}); open it again, or use another one")]
    DeviceLost {
        /// What is known about it.
        reason: String,
    },
    /// The device ran out of memory.
    #[error("{what}: out of GPU memory; try a smaller batch or image")]
    OutOfMemory {
        /// What was being created.
        what: String,
    },
    /// A texture of the host cannot be read or written as requested.
    #[error("texture: {reason}")]
    Texture {
        /// What is wrong, and what to do about it.
        reason: String,
    },
    /// Objects that do not belong together were recorded, or recorded at the wrong time.
    #[error("recording: {reason}")]
    Recording {
        /// What is wrong, and what to do about it.
        reason: String,
    },
    /// An input does not match the network.
    #[error("input: expected shape {expected}, got {got}")]
    Input {
        /// The shape that the plan was made for.
        expected: String,
        /// The shape given.
        got: String,
    },

    // === Results ===
    /// The computed results make no sense.
    #[error(
        "the output '{output}' is no answer: {reason}; the weights overflow, or the device computes \
         wrongly"
    )]
    NoAnswer {
        /// Name of the output.
        output: String,
        /// What is wrong with it.
        reason: String,
    },

    // === Caches ===
    /// A cache file cannot be used; everything works without it.
    #[error("cache '{path}': {reason}")]
    Cache {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },

    // === Images and labels ===
    /// An image cannot be decoded.
    #[error("image '{path}': {reason}")]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
        /// What would help.
        hint: Option<Hint>,
    },
    /// Preprocessing rules cannot be read or carried out.
    #[error("preprocessing: {reason}")]
    Preprocess {
        /// What is wrong.
        reason: String,
    },
    /// Labels do not match the network.
    #[error("labels: {reason}")]
    Labels {
        /// What is wrong, and what to do about it.
        reason: String,
    },
}

impl Error {
    /// The stage that failed.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::TensorLength { .. } | Self::TensorRank { .. } => Kind::Tensor,
            Self::Io { .. } | Self::Write { .. } => Kind::File,
            Self::Fetch { .. }
            | Self::WeightsUnreadable { .. }
            | Self::WeightsForbidden { .. }
            | Self::WeightsUnrecognised { .. }
            | Self::WeightsAmbiguous { .. }
            | Self::WeightMissing { .. }
            | Self::WeightShape { .. }
            | Self::WeightType { .. }
            | Self::WeightNotFinite { .. }
            | Self::WeightsUnused { .. } => Kind::Weights,
            Self::DuplicateName { .. }
            | Self::InputCount { .. }
            | Self::UnknownInput { .. }
            | Self::ParameterShape { .. }
            | Self::InputShape { .. }
            | Self::Geometry { .. }
            | Self::UnknownValue { .. }
            | Self::NoRole { .. }
            | Self::ForeignId { .. } => Kind::Graph,
            Self::Model { .. } | Self::Setting { .. } | Self::Operator { .. } => Kind::Model,
            Self::LimitExceeded { .. }
            | Self::PathUnavailable { .. }
            | Self::WrongKernel { .. }
            | Self::Specialise { .. }
            | Self::Memory { .. } => Kind::Plan,
            Self::NoAdapter { .. } | Self::NoDevice { .. } => Kind::Adapter,
            Self::Gpu { .. }
            | Self::DeviceLost { .. }
            | Self::OutOfMemory { .. }
            | Self::Texture { .. }
            | Self::Recording { .. }
            | Self::Input { .. } => Kind::Gpu,
            Self::NoAnswer { .. } => Kind::Answer,
            Self::Cache { .. } => Kind::Cache,
            Self::Image { .. } | Self::Preprocess { .. } | Self::Labels { .. } => Kind::Picture,
        }
    }

    /// Advice to the user, if the message does not contain it.
    pub const fn hint(&self) -> Option<Hint> {
        match self {
            Self::Fetch { hint, .. }
            | Self::WeightsUnrecognised { hint, .. }
            | Self::Image { hint, .. } => *hint,
            Self::UnknownValue { known, .. } if known.is_empty() => Some(Hint::ListValues),
            Self::NoAnswer { .. } => Some(Hint::Compare),
            _ => None,
        }
    }
}
