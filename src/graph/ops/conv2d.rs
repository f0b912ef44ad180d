//! Convolution, and the operations fused into it.

use super::operation::{Arity, Backward, Check, Operation, Placement, Summary};
use super::{Dilate, Op};
use crate::error::Error;
use crate::graph::{Graph, Node, Padding, ParamId, ValueId, Window};
use crate::tensor::{Shape, Tensor};

/// A convolution, with the kernel size of its weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conv2d {
    /// Weight, OIHW: `[out, in / groups, kernel height, kernel width]`.
    pub weight: ParamId,
    /// Bias, `[out]`.
    pub bias: Option<ParamId>,
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Zeros around the image.
    pub padding: Padding,
    /// Vertical and horizontal dilation.
    pub dilation: [usize; 2],
    /// The number of independent channel groups.
    pub groups: usize,
    /// Whether a ReLU is applied after adding the residual.
    pub relu: bool,
}

impl Conv2d {
    /// A convolution of stride 1, without padding, bias, groups or ReLU.
    pub const fn new(weight: ParamId) -> Self {
        Self {
            weight,
            bias: None,
            stride: [1, 1],
            padding: Padding::all(0),
            dilation: [1, 1],
            groups: 1,
            relu: false,
        }
    }

    /// With a bias.
    #[must_use]
    pub const fn bias(self, bias: Option<ParamId>) -> Self {
        Self { bias, ..self }
    }

    /// With the same stride vertically and horizontally.
    #[must_use]
    pub const fn stride(self, stride: usize) -> Self {
        Self {
            stride: [stride, stride],
            ..self
        }
    }

    /// With the same padding on all four sides.
    #[must_use]
    pub const fn padding(self, padding: usize) -> Self {
        Self {
            padding: Padding::all(padding),
            ..self
        }
    }

    /// With this number of channel groups.
    #[must_use]
    pub const fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// The window for a kernel of this size.
    fn window_of(&self, kernel: [usize; 2]) -> Window {
        Window {
            kernel: dilated(kernel, self.dilation),
            stride: self.stride,
            padding: self.padding,
        }
    }

    /// The window of its weight, which must belong to this graph.
    fn window_in(&self, graph: &Graph) -> Window {
        let dims = graph.tensor(self.weight).dims();
        self.window_of([dims[2], dims[3]])
    }
}

/// Height and width that a dilated kernel covers.
pub(crate) fn dilated(kernel: [usize; 2], dilation: [usize; 2]) -> [usize; 2] {
    let side = |axis: usize| match kernel[axis] {
        0 => 0,
        taps => (taps - 1).saturating_mul(dilation[axis]).saturating_add(1),
    };
    [side(0), side(1)]
}

impl Operation for Conv2d {
    fn summary(&self) -> Summary {
        Summary {
            kind: "conv2d",
            arity: Arity::OneOrTwo,
            trained: [Some(self.weight), self.bias],
            multiplies: Some(self.weight),
            clamps: self.relu,
        }
    }

    fn map_params(&self, map: &mut dyn FnMut(ParamId) -> ParamId) -> Option<Op> {
        Some(Op::Conv2d(Self {
            weight: map(self.weight),
            bias: self.bias.map(map),
            ..*self
        }))
    }

    fn shape(&self, check: &Check<'_>, inputs: &[Shape]) -> Result<Shape, Error> {
        let x = inputs[0];
        let dims = check.dims(self.weight)?;
        let &[out_c, in_c, kernel_h, kernel_w] = dims else {
            return Err(check.refuse(format!("the weight must be OIHW, got shape {dims:?}")));
        };
        let groups = self.groups;
        if groups == 0 || !x.c.is_multiple_of(groups) || !out_c.is_multiple_of(groups) {
            return Err(check.refuse(format!(
                "{groups} groups do not divide {} input and {out_c} output channels",
                x.c
            )));
        }
        if in_c != x.c / groups {
            let expected = [out_c, x.c / groups, kernel_h, kernel_w];
            check.param("weight", self.weight, &expected)?;
        }
        if let Some(bias) = self.bias {
            check.param("bias", bias, &[out_c])?;
        }
        if self.dilation.contains(&0) {
            return Err(check.refuse("the dilation must be at least 1".to_owned()));
        }
        let [h, w] = check.slide(&self.window_of([kernel_h, kernel_w]), x)?;
        let out = Shape::new(x.n, out_c, h, w);
        match inputs.get(1) {
            Some(&residual) => check.same_shape(out, residual),
            None => Ok(out),
        }
    }

    fn window(&self, graph: &Graph) -> Option<Window> {
        Some(self.window_in(graph))
    }

    fn settings(&self, graph: &Graph) -> String {
        let dims = graph.tensor(self.weight).dims();
        let plain = Self {
            dilation: [1, 1],
            ..*self
        };
        let mut text = plain.window_of([dims[2], dims[3]]).to_string();
        match self.dilation {
            [1, 1] => {}
            [y, x] if y == x => text.push_str(&format!(", dilation {y}")),
            [y, x] => text.push_str(&format!(", dilation {y}×{x}")),
        }
        if self.groups > 1 {
            text.push_str(&format!(", {} groups", self.groups));
        }
        if self.bias.is_some() {
            text.push_str(", bias");
        }
        text
    }

    fn placement(&self, graph: &Graph, _: &Node) -> Placement {
        Placement::of_window(&self.window_in(graph))
    }

    fn clamped(&self) -> Option<Op> {
        Some(Op::Conv2d(Self {
            relu: true,
            ..*self
        }))
    }

    fn in_place_input(&self) -> Option<usize> {
        Some(1)
    }

    fn gradient(&self, back: &mut Backward<'_>, input: usize) -> Result<ValueId, Error> {
        // The residual is a summand.
        if input == 1 {
            return Ok(back.gradient);
        }
        let [x, y] = [back.input(0), back.graph.shape(back.node.output)];
        let turned = turned(back.graph.tensor(self.weight), self.groups);
        let kernel = dilated([turned.dims()[2], turned.dims()[3]], self.dilation);
        let weight = back.name("gradient.weight");
        let weight = back.graph.param(weight, turned);
        let conv = Self {
            dilation: self.dilation,
            ..Self::new(weight).groups(self.groups)
        };
        if kernel == [1, 1] && self.padding == Padding::default() {
            // It is cheaper to insert zeros between the pixels of the result.
            let gradient = back.add("gradient", Op::Conv2d(conv), back.gradient)?;
            return dilate(back, gradient, self.stride, [x.h, x.w]);
        }
        let Padding { top, left, .. } = self.padding;
        let [h, w] = [
            (y.h - 1) * self.stride[0] + 1,
            (y.w - 1) * self.stride[1] + 1,
        ];
        let sides = [
            (kernel[0] - 1).checked_sub(top),
            (x.h + top).checked_sub(h),
            (kernel[1] - 1).checked_sub(left),
            (x.w + left).checked_sub(w),
        ];
        let [Some(top), Some(bottom), Some(left), Some(right)] = sides else {
            return Err(back.refuse("its padding is larger than its kernel"));
        };
        let gradient = dilate(back, back.gradient, self.stride, [h, w])?;
        let conv = Self {
            padding: Padding {
                top,
                bottom,
                left,
                right,
            },
            ..conv
        };
        back.add("gradient", Op::Conv2d(conv), gradient)
    }
}

/// Inserts zeros between the pixels of a gradient if the convolution is strided.
fn dilate(
    back: &mut Backward<'_>,
    gradient: ValueId,
    stride: [usize; 2],
    size: [usize; 2],
) -> Result<ValueId, Error> {
    let shape = back.graph.shape(gradient);
    if [shape.h, shape.w] == size && stride == [1, 1] {
        return Ok(gradient);
    }
    back.add("dilate", Op::Dilate(Dilate { stride, size }), gradient)
}

/// The weight for the gradient: kernels rotated by 180°, input and output channels of each group
/// swapped. `[out, in / groups, ky, kx]` becomes `[in, out / groups, ky, kx]`.
fn turned(weight: &Tensor, groups: usize) -> Tensor {
    let &[out_c, group_in, kernel_h, kernel_w] = weight.dims() else {
        unreachable!("the graph has checked that the weight is OIHW");
    };
    let group_out = out_c / groups;
    let plane = kernel_h * kernel_w;
    Tensor::from_fn(
        &[group_in * groups, group_out, kernel_h, kernel_w],
        |index| {
            let (ci, co, k) = (
                index / (group_out * plane),
                index / plane % group_out,
                index % plane,
            );
            let (group, ci) = (ci / group_in, ci % group_in);
            let from = (group * group_out + co) * group_in + ci;
            weight.data()[from * plane + plane - 1 - k]
        },
    )
}
