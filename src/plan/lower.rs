//! What a back end tells the planner: the dispatches that compute a node, and how its values are
//! represented.
//!
//! A back end is chosen once for a plan. Each is a folder with a table of the operations, which the
//! compiler keeps complete, and its own candidates, defaults and dispatches for convolutions.

use super::allocation::ParametersKey;
use super::buffers::Buffers;
use super::candidate::{Candidate, ConvShape};
use super::capabilities::DeviceClass;
use super::memory;
use super::options::{KernelPath, PlanOptions};
use super::textures::Textures;
use crate::error::Error;
use crate::graph::{Graph, Node};
use crate::kernels::conv2d::{Geometry, Residual};
use crate::kernels::{Launch, Packing, Precision, Storage};
use crate::picture::Normalization;
use crate::tensor::Shape;

/// How a value is represented in memory. A plan uses at most these two representations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Representation {
    /// In a buffer in single precision, as callers see it.
    Plain,
    /// In the form that the back end's kernels use for feature maps.
    Native,
}

impl Representation {
    /// All representations, in the order of their indices.
    pub(super) const ALL: [Self; 2] = [Self::Plain, Self::Native];
}

/// The native representation of a back end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Native {
    pub(super) storage: Storage,
    pub(super) precision: Precision,
}

impl Native {
    /// The size of `count` consecutive activations of one shape, without the row of zeros at the
    /// start of a texture, of which there is only one.
    pub(super) const fn size(
        self,
        representation: Representation,
        shape: Shape,
        count: usize,
    ) -> memory::Footprint {
        let (storage, precision) = match representation {
            Representation::Plain => (Storage::Buffer, Precision::F32),
            Representation::Native => (self.storage, self.precision),
        };
        memory::Footprint {
            bytes: (shape.packed_len() * precision.bytes()) as u64 * count as u64,
            storage,
        }
    }
}

/// A resource bound by a launch; operands are listed in the order of the kernel's bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    /// One of its inputs.
    Input(usize),
    /// One of its parameters.
    Parameters(usize),
    /// Its result.
    Output,
}

/// A launch, and what is bound to it.
pub(super) struct Bound {
    pub(super) launch: Launch,
    /// Packed parameters, with their roles for labels.
    pub(super) parameters: Vec<(&'static str, Packing)>,
    pub(super) operands: Vec<Operand>,
}

impl Bound {
    pub(super) fn new<const N: usize>(
        launch: Launch,
        parameters: impl Into<Vec<(&'static str, Packing)>>,
        operands: [Operand; N],
    ) -> Self {
        Self {
            launch,
            parameters: parameters.into(),
            operands: operands.into(),
        }
    }

    /// One input and nothing else.
    pub(super) fn unary(launch: Launch) -> Self {
        Self::new(launch, [], [Operand::Input(0), Operand::Output])
    }

    /// Two inputs and nothing else.
    pub(super) fn binary(launch: Launch) -> Self {
        let operands = [Operand::Input(0), Operand::Input(1), Operand::Output];
        Self::new(launch, [], operands)
    }

    /// One input and two parameters.
    pub(super) fn with_two(launch: Launch, parameters: [(&'static str, Packing); 2]) -> Self {
        let operands = [
            Operand::Input(0),
            Operand::Parameters(0),
            Operand::Parameters(1),
            Operand::Output,
        ];
        Self::new(launch, parameters, operands)
    }

    /// The same, with data stored in this precision.
    pub(super) fn storing(self, precision: Precision) -> Self {
        Self {
            launch: self.launch.storing(precision),
            ..self
        }
    }

    /// The keys of its parameters if data is stored in this precision.
    fn parameters_keys(&self, stored: Precision) -> impl Iterator<Item = ParametersKey> {
        let parameters = self.parameters.iter().enumerate();
        parameters.map(move |(index, (_, packing))| {
            ParametersKey::new(packing, self.precision_of(index, stored))
        })
    }

    /// How many of the inputs it reads: those up to the last one that is bound.
    pub(super) fn inputs_read(&self) -> usize {
        let inputs = self.operands.iter().map(|operand| match operand {
            Operand::Input(index) => index + 1,
            Operand::Parameters(_) | Operand::Output => 0,
        });
        inputs.max().unwrap_or(0)
    }

    /// The precision that the kernel expects for a parameter if data is stored in this one, by its first
    /// binding; a later binding may be a placeholder that is not read.
    pub(super) fn precision_of(&self, index: usize, stored: Precision) -> Precision {
        let mut bound = self.launch.kernel.bindings.iter().zip(&self.operands);
        match bound.find(|(_, operand)| **operand == Operand::Parameters(index)) {
            Some((binding, _)) if binding.stored => stored,
            _ => Precision::F32,
        }
    }
}

/// One of the dispatches that compute a node.
pub(super) struct Dispatch {
    pub(super) bound: Bound,
    /// The variant for a result that overwrites the residual, element by element.
    pub(super) in_place: Option<Bound>,
    /// The intermediate result that the next dispatch reads in place of input 0, as a number of
    /// activations of one shape; `None` if this dispatch completes the node's value.
    pub(super) leaves: Option<(Shape, usize)>,
    /// Whether the node's multiply-accumulate operations are counted for it.
    pub(super) multiplies: bool,
}

impl Dispatch {
    /// A dispatch that completes the value of a convolution; `bind` makes it, given a geometry that
    /// states where the residual is.
    pub(super) fn completing(
        geometry: &Geometry,
        multiplies: bool,
        bind: impl Fn(&Geometry) -> Bound,
    ) -> Self {
        let in_place = Geometry {
            residual: Residual::InPlace,
            ..*geometry
        };
        Self {
            bound: bind(geometry),
            in_place: (geometry.residual == Residual::Buffer).then(|| bind(&in_place)),
            leaves: None,
            multiplies,
        }
    }

    /// A dispatch of a convolution that another one has to complete.
    pub(super) const fn leaving(
        activations: (Shape, usize),
        multiplies: bool,
        bound: Bound,
    ) -> Self {
        Self {
            bound,
            in_place: None,
            leaves: Some(activations),
            multiplies,
        }
    }
}

/// The operand to bind as the residual. If the shader does not read one, another operand fills the
/// binding.
pub(super) fn residual_or(other: Operand, geometry: &Geometry) -> Operand {
    match geometry.residual {
        Residual::Buffer | Residual::Folded => Operand::Input(1),
        Residual::None | Residual::InPlace => other,
    }
}

/// The outcome of lowering a node.
pub(super) struct Lowered {
    /// The representations of its inputs and of its output.
    pub(super) from_to: [Representation; 2],
    /// The precision of the data that its dispatches store.
    pub(super) precision: Precision,
    /// The candidate chosen for it, if it is a convolution.
    pub(super) candidate: Option<Candidate>,
    /// The dispatches in order; the last one completes the value.
    pub(super) dispatches: Vec<Dispatch>,
    /// Whether they also compute the projection that is its residual, and read the input of that one instead.
    pub(super) is_folded: bool,
}

impl Lowered {
    /// Whether all parameters that it reads are on the device, in its layout.
    pub(super) fn is_shared(&self, options: &PlanOptions) -> bool {
        let mut bound = self.dispatches.iter().map(|dispatch| &dispatch.bound);
        bound.all(|bound| {
            let mut keys = bound.parameters_keys(self.precision);
            keys.all(|key| options.is_shared(key))
        })
    }

    /// A node that takes one dispatch.
    pub(super) fn single(from_to: [Representation; 2], precision: Precision, bound: Bound) -> Self {
        Self {
            from_to,
            precision,
            candidate: None,
            dispatches: vec![Dispatch {
                bound,
                in_place: None,
                leaves: None,
                multiplies: true,
            }],
            is_folded: false,
        }
    }
}

/// A set of kernels and the representation of their activations.
pub(super) trait BackEnd {
    /// The representation of feature maps.
    fn native(&self) -> Native;

    /// The dispatches of a node.
    fn lower(&self, graph: &Graph, node: &Node) -> Lowered;

    /// The launch that converts pixels to the input tensor.
    fn pixels(&self, to: Representation, shape: Shape, how: &Normalization) -> Launch;

    /// The launch that converts a value from the other representation.
    fn convert(&self, to: Representation, shape: Shape) -> Launch;

    /// The candidates for a convolution, the default first, each once.
    fn candidates(&self, shape: &ConvShape) -> Vec<Candidate>;
}

/// The back end of a plan.
///
/// # Errors
/// [`Error::PathUnavailable`] if [`KernelPath::Textures`] is requested and the device cannot run
/// it.
pub(super) fn back_end(options: &PlanOptions) -> Result<Box<dyn BackEnd + '_>, Error> {
    let wants_textures = match options.path {
        KernelPath::Buffers => false,
        // The kernels on buffers need workgroup memory, which only GPUs have in hardware.
        KernelPath::Auto => options.capabilities.device.class == DeviceClass::Software,
        KernelPath::Textures => true,
    };
    let buffers = Buffers::new(options, options.precision);
    if !wants_textures {
        return Ok(Box::new(buffers));
    }
    match (Textures::new(options), options.path) {
        (Ok(textures), _) => Ok(Box::new(textures)),
        (Err(reason), KernelPath::Textures) => Err(Error::PathUnavailable {
            path: options.path.name(),
            reason,
        }),
        (Err(_), KernelPath::Auto | KernelPath::Buffers) => Ok(Box::new(buffers)),
    }
}
