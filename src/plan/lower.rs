//! What a back end tells the planner: which dispatches compute a node, and where its values lie.
//!
//! A back end is chosen once for a plan. Each is one folder with one table over the operations, which
//! the compiler keeps complete, and its own candidates, defaults and dispatches of a convolution.

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

/// How a value is represented in memory. A plan has these two representations at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Representation {
    /// A buffer of single precision: what callers see.
    Plain,
    /// What the back end's kernels for feature maps work on.
    Native,
}

impl Representation {
    /// All of them, in the order of their numbers.
    pub(super) const ALL: [Self; 2] = [Self::Plain, Self::Native];
}

/// What the native representation of a back end is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Native {
    pub(super) storage: Storage,
    pub(super) precision: Precision,
}

impl Native {
    /// Size of a number of activations of one shape, one after the other. A texture has the row of zeros in
    /// front of them once, whatever it holds: it is not counted.
    pub(super) const fn size(
        self,
        representation: Representation,
        shape: Shape,
        count: usize,
    ) -> memory::Place {
        let (storage, precision) = match representation {
            Representation::Plain => (Storage::Buffer, Precision::F32),
            Representation::Native => (self.storage, self.precision),
        };
        memory::Place {
            bytes: (shape.packed_len() * precision.bytes()) as u64 * count as u64,
            storage,
        }
    }
}

/// One resource of a launch, in the order of the kernel's bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    /// One of the values that it reads.
    Input(usize),
    /// One of its parameters.
    Parameters(usize),
    /// Its result.
    Output,
}

/// A launch and what is bound to it.
pub(super) struct Bound {
    pub(super) launch: Launch,
    /// Roles of parameters, for labels, and the parameters.
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

    /// The same on what is stored in this precision.
    pub(super) fn storing(self, precision: Precision) -> Self {
        Self {
            launch: self.launch.storing(precision),
            ..self
        }
    }

    /// The precision that the first binding of some parameters wants; they may also stand in for one that
    /// is not read.
    pub(super) fn precision_of(&self, index: usize) -> Precision {
        let mut bound = self.launch.kernel.bindings.iter().zip(&self.operands);
        match bound.find(|(_, operand)| **operand == Operand::Parameters(index)) {
            Some((binding, _)) if binding.stored => self.launch.precision,
            _ => Precision::F32,
        }
    }
}

/// One of the dispatches that compute a node.
pub(super) struct Dispatch {
    pub(super) bound: Bound,
    /// The same where the result takes over the memory of the residual, element by element.
    pub(super) in_place: Option<Bound>,
    /// What it leaves for the next one in place of input 0, as a number of activations of one shape; the
    /// dispatch without it completes the node's value.
    pub(super) leaves: Option<(Shape, usize)>,
    /// Whether it does what counts as the arithmetic of the node.
    pub(super) multiplies: bool,
}

impl Dispatch {
    /// A dispatch of a convolution that completes its value; `bind` says what it is for a geometry, in
    /// which the residual lies here or there.
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
            in_place: (geometry.residual != Residual::None).then(|| bind(&in_place)),
            leaves: None,
            multiplies,
        }
    }

    /// A dispatch of a convolution before the one that completes its value.
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

/// What to bind as the residual: something else where the shader does not read it, since the binding must
/// be filled.
pub(super) fn residual_or(other: Operand, geometry: &Geometry) -> Operand {
    match geometry.residual {
        Residual::Buffer => Operand::Input(1),
        Residual::None | Residual::InPlace => other,
    }
}

/// What a back end makes of a node.
pub(super) struct Lowered {
    /// How its inputs are represented, and its result.
    pub(super) from_to: [Representation; 2],
    /// The precision of what its dispatches call stored.
    pub(super) precision: Precision,
    /// What was chosen for it, if it is a convolution.
    pub(super) candidate: Option<Candidate>,
    /// The dispatches in their order; the last one completes its value.
    pub(super) dispatches: Vec<Dispatch>,
}

impl Lowered {
    /// A node of one dispatch.
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
        }
    }
}

/// A set of kernels and what their activations lie in.
pub(super) trait BackEnd {
    /// How feature maps are represented.
    fn native(&self) -> Native;

    /// The dispatches of a node.
    fn lower(&self, graph: &Graph, node: &Node) -> Lowered;

    /// What makes the input tensor of pixels.
    fn pixels(&self, to: Representation, shape: Shape, how: &Normalization) -> Launch;

    /// What copies a value from the other representation.
    fn convert(&self, to: Representation, shape: Shape) -> Launch;

    /// What can compute a convolution, the default first, each once.
    fn candidates(&self, shape: &ConvShape) -> Vec<Candidate>;
}

/// The back end of a plan.
///
/// # Errors
/// [`Error::PathUnavailable`] when [`KernelPath::Textures`] is asked for and the device is unable.
pub(super) fn back_end(options: &PlanOptions) -> Result<Box<dyn BackEnd + '_>, Error> {
    let wants_textures = match options.path {
        KernelPath::Buffers => false,
        // GPUs have memory shared by a workgroup, which the kernels on buffers use.
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
