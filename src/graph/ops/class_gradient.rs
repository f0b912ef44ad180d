//! The start of a backward pass, at the logit of a class.

use super::Op;
use super::operation::{Arity, Backward, Check, Operation, Placement, Summary};
use crate::error::Error;
use crate::graph::{Graph, Node, ParamId, Role, ValueId};
use crate::tensor::Shape;

/// The gradient of one logit of input 0 with respect to the classifier's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassGradient {
    /// The classifier's weight, `[class, c, h, w]`.
    pub weight: ParamId,
    /// The class, `[1]`; a negative number stands for the class with the largest logit.
    pub class: ParamId,
}

impl ClassGradient {
    /// The number that represents a class, or the class with the largest logit.
    pub(crate) const fn choice(class: Option<usize>) -> f32 {
        match class {
            // Floats represent many more integers exactly than there are classes.
            Some(class) => class as f32,
            None => -1.0,
        }
    }
}

impl Operation for ClassGradient {
    fn summary(&self) -> Summary {
        Summary {
            kind: "class_gradient",
            arity: Arity::One,
            trained: [None; 2],
            multiplies: None,
            clamps: false,
        }
    }

    fn map_params(&self, map: &mut dyn FnMut(ParamId) -> ParamId) -> Option<Op> {
        Some(Op::ClassGradient(Self {
            weight: map(self.weight),
            class: map(self.class),
        }))
    }

    fn shape(&self, check: &Check<'_>, inputs: &[Shape]) -> Result<Shape, Error> {
        let x = check.vectors(inputs[0])?;
        check.param("class", self.class, &[1])?;
        let dims = check.dims(self.weight)?;
        let &[classes, c, h, w] = dims else {
            return Err(check.refuse(format!(
                "the weight must be [class, c, h, w], got shape {dims:?}"
            )));
        };
        if classes != x.c {
            check.param("weight", self.weight, &[x.c, c, h, w])?;
        }
        Ok(Shape::new(x.n, c, h, w))
    }

    fn placement(&self, _: &Graph, _: &Node) -> Placement {
        Placement::on(0)
    }

    fn writable(&self) -> Option<(Role, &'static str)> {
        Some((Role::ClassMap, "class"))
    }

    fn gradient(&self, back: &mut Backward<'_>, _: usize) -> Result<ValueId, Error> {
        Err(back.no_gradient())
    }
}
