//! What a graph asks of every operation. The compiler demands whatever could make a number wrong;
//! an operation that relies on defaults only loses descriptions or speed.

use super::super::{Graph, Node, Padding, ParamId, Role, ValueId, Window};
use super::Op;
use crate::error::Error;
use crate::tensor::Shape;

/// Everything that a graph, its passes and its plan know about an operation, except how to compute
/// it.
pub(crate) trait Operation {
    /// The properties that follow from its settings alone.
    fn summary(&self) -> Summary;

    /// Checks parameters and inputs, whose number its [`Arity`] allows, and returns the shape of
    /// the output.
    fn shape(&self, check: &Check<'_>, inputs: &[Shape]) -> Result<Shape, Error>;

    /// The positions of the output's pixels among those of an input.
    fn placement(&self, graph: &Graph, node: &Node) -> Placement;

    /// Adds nodes that compute the gradient of one input from that of the output before its ReLU.
    fn gradient(&self, back: &mut Backward<'_>, input: usize) -> Result<ValueId, Error>;

    /// The same operation with every parameter replaced; `None` if it has none. No graph accepts an
    /// operation whose parameters belong to another graph.
    fn map_params(&self, _map: &mut dyn FnMut(ParamId) -> ParamId) -> Option<Op> {
        None
    }

    /// The window that it slides over its input, if the operation determines the window's size.
    fn window(&self, _graph: &Graph) -> Option<Window> {
        None
    }

    /// The settings in words, such as `3×3, stride 2, padding 1`; empty if there are none.
    fn settings(&self, graph: &Graph) -> String {
        let window = self.window(graph);
        window.map_or_else(String::new, |window| window.to_string())
    }

    /// The same operation followed by a ReLU; `None` if it cannot include one.
    fn clamped(&self) -> Option<Op> {
        None
    }

    /// The parameter that may be written between runs, and the role of the value that depends on
    /// it.
    fn writable(&self) -> Option<(Role, &'static str)> {
        None
    }

    /// The input whose memory the output may take over, element by element.
    fn in_place_input(&self) -> Option<usize> {
        None
    }
}

/// The properties of an operation that follow from its settings alone.
pub(crate) struct Summary {
    /// The name in lower case, as kernels and tables use it.
    pub(crate) kind: &'static str,
    pub(crate) arity: Arity,
    /// The parameters that are trained by gradient descent.
    pub(crate) trained: [Option<ParamId>; 2],
    /// The weight, output channels first. Each output element takes as many multiplications as one
    /// of its rows has elements; as is customary, only convolutions and linear layers count.
    pub(crate) multiplies: Option<ParamId>,
    /// Whether the result is followed by a ReLU.
    pub(crate) clamps: bool,
}

/// The number of inputs that an operation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arity {
    One,
    OneOrTwo,
    Two,
}

impl Arity {
    /// Whether this number of inputs is allowed.
    pub(crate) const fn allows(self, inputs: usize) -> bool {
        match self {
            Self::One => inputs == 1,
            Self::OneOrTwo => inputs == 1 || inputs == 2,
            Self::Two => inputs == 2,
        }
    }

    /// The allowed numbers, in words.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::One => "1",
            Self::OneOrTwo => "1 or 2",
            Self::Two => "2",
        }
    }
}

/// The centres of an output's pixels, in pixel coordinates of one input, vertical axis first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Placement {
    /// The input.
    pub(crate) input: usize,
    /// The centre of the first pixel.
    pub(crate) first: [f64; 2],
    /// The distance from one centre to the next.
    pub(crate) step: [f64; 2],
}

impl Placement {
    /// Each pixel at the input pixel with the same index.
    pub(super) const fn on(input: usize) -> Self {
        Self {
            input,
            first: [0.0; 2],
            step: [1.0; 2],
        }
    }

    /// Each pixel at the centre of its window in the first input.
    pub(super) fn of_window(window: &Window) -> Self {
        let before = [window.padding.top, window.padding.left];
        Self {
            input: 0,
            first: [0, 1]
                .map(|axis| (window.kernel[axis] as f64 - 1.0) / 2.0 - before[axis] as f64),
            step: window.stride.map(|stride| stride as f64),
        }
    }

    /// The positions of the input's pixels among those of the output.
    pub(super) fn inverse(self) -> Self {
        Self {
            input: self.input,
            first: [0, 1].map(|axis| -self.first[axis] / self.step[axis]),
            step: self.step.map(f64::recip),
        }
    }
}

/// A step of the backward pass, from the output of a node to its inputs.
pub(crate) struct Backward<'a> {
    /// The graph that the gradients are added to.
    pub(crate) graph: &'a mut Graph,
    /// The node whose inputs get gradients.
    pub(crate) node: &'a Node,
    /// The gradient of its output.
    pub(crate) gradient: ValueId,
}

impl Backward<'_> {
    /// The name for something added on behalf of the node.
    pub(crate) fn name(&self, what: &str) -> String {
        format!("{}.{what}", self.node.name)
    }

    /// The shape of one of the node's inputs.
    pub(super) fn input(&self, index: usize) -> Shape {
        self.graph.shape(self.node.inputs[index])
    }

    /// Adds an operation on one value.
    pub(super) fn add(&mut self, what: &str, op: Op, x: ValueId) -> Result<ValueId, Error> {
        let name = self.name(what);
        self.graph.add(&name, op, &[x])
    }

    /// The error of an operation that has no gradient.
    pub(super) fn no_gradient(&self) -> Error {
        self.refuse(&format!("{} has no gradient here", self.node.op.kind()))
    }

    pub(super) fn refuse(&self, reason: &str) -> Error {
        Error::Operator {
            node: self.node.name.clone(),
            op: self.node.op.kind().to_owned(),
            reason: format!("{reason}; ask for a map at a later value"),
        }
    }
}

/// The parameters and the name of a node that is about to be added.
pub(crate) struct Check<'a> {
    pub(in super::super) graph: &'a Graph,
    pub(in super::super) node: &'a str,
}

impl Check<'_> {
    pub(super) fn refuse(&self, reason: String) -> Error {
        Error::Geometry {
            node: self.node.to_owned(),
            reason,
        }
    }

    pub(super) fn same_shape(&self, expected: Shape, got: Shape) -> Result<Shape, Error> {
        if expected == got {
            return Ok(got);
        }
        Err(Error::InputShape {
            node: self.node.to_owned(),
            expected,
            got,
        })
    }

    /// Checks that images are 1×1, as vectors are.
    pub(super) fn vectors(&self, x: Shape) -> Result<Shape, Error> {
        self.same_shape(Shape::new(x.n, x.c, 1, 1), x)
    }

    /// Height and width of a window's output.
    pub(super) fn slide(&self, window: &Window, x: Shape) -> Result<[usize; 2], Error> {
        window
            .output_size([x.h, x.w])
            .map_err(|reason| self.refuse(reason))
    }

    /// The shape of a pool's output; every window must contain a pixel.
    pub(super) fn pool(&self, window: &Window, x: Shape) -> Result<Shape, Error> {
        let [h, w] = self.slide(window, x)?;
        let Padding {
            top,
            bottom,
            left,
            right,
        } = window.padding;
        if top.max(bottom) >= window.kernel[0] || left.max(right) >= window.kernel[1] {
            return Err(self.refuse(format!(
                "padding {:?} must be smaller than the window {:?}: a window would see no pixel",
                window.padding, window.kernel
            )));
        }
        Ok(Shape::new(x.n, x.c, h, w))
    }

    pub(super) fn dims(&self, param: ParamId) -> Result<&[usize], Error> {
        let own = self.graph.get_param(param);
        own.map(|param| param.tensor.dims())
            .map_err(|_| self.refuse("a parameter does not belong to this graph".to_owned()))
    }

    pub(super) fn param(
        &self,
        what: &'static str,
        param: ParamId,
        expected: &[usize],
    ) -> Result<(), Error> {
        let got = self.dims(param)?;
        if got == expected {
            return Ok(());
        }
        Err(Error::ParameterShape {
            node: self.node.to_owned(),
            parameter: what,
            expected: expected.to_vec(),
            got: got.to_vec(),
        })
    }
}
