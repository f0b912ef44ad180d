//! The shape that each operation gives, and what its inputs and parameters must be for that.

use super::{
    AvgPool, AvgPoolGradient, BatchNorm, ClassGradient, Conv2d, Dilate, Graph, Linear, MaxPool, Op,
    Padding, ParamId, ValueId, Window,
};
use crate::error::Error;
use crate::tensor::Shape;

impl Graph {
    /// The shape of what an operation computes from these values.
    pub(super) fn infer_shape(
        &self,
        name: &str,
        op: &Op,
        inputs: &[ValueId],
    ) -> Result<Shape, Error> {
        let (expected, fits) = match op {
            Op::Conv2d(_) => ("1 or 2", matches!(inputs.len(), 1 | 2)),
            Op::Add(_) | Op::ReluGradient(_) | Op::ChannelDot(_) => ("2", inputs.len() == 2),
            _ => ("1", inputs.len() == 1),
        };
        if !fits {
            return Err(Error::InputCount {
                node: name.to_owned(),
                expected,
                got: inputs.len(),
            });
        }
        if let Some(index) = inputs.iter().position(|v| v.0 >= self.values.len()) {
            return Err(Error::UnknownInput {
                node: name.to_owned(),
                index,
            });
        }
        let check = Check { graph: self, name };
        let x = self.shape(inputs[0]);
        match op {
            Op::Conv2d(conv) => {
                let out = check.conv2d(conv, x)?;
                if let Some(&residual) = inputs.get(1) {
                    check.same_shape(out, self.shape(residual))?;
                }
                Ok(out)
            }
            Op::BatchNorm(norm) => check.batch_norm(norm, x),
            Op::Relu(_) => Ok(x),
            Op::Add(_) => check.same_shape(x, self.shape(inputs[1])),
            Op::MaxPool(MaxPool { window, .. }) | Op::AvgPool(AvgPool { window, .. }) => {
                check.pool(window, x)
            }
            Op::GlobalAvgPool(_) => Ok(Shape::new(x.n, x.c, 1, 1)),
            Op::Flatten(_) => Ok(Shape::new(x.n, x.c * x.h * x.w, 1, 1)),
            Op::Linear(Linear { weight, bias }) => check.linear(*weight, *bias, x),
            Op::Softmax(_) => check.same_shape(Shape::new(x.n, x.c, 1, 1), x),
            Op::ClassGradient(ClassGradient { weight, class }) => {
                check.class_gradient(*weight, *class, x)
            }
            Op::ReluGradient(_) => check.same_shape(x, self.shape(inputs[1])),
            Op::AvgPoolGradient(AvgPoolGradient { window, size }) => {
                check.avg_pool_gradient(window, *size, x)
            }
            Op::Dilate(Dilate { stride, size }) => check.dilate(*stride, *size, x),
            Op::ChannelDot(_) => {
                let Shape { n, h, w, .. } = check.same_shape(x, self.shape(inputs[1]))?;
                Ok(Shape::new(n, 1, h, w))
            }
        }
    }
}

/// Shape rules of one node that is about to be added.
struct Check<'a> {
    graph: &'a Graph,
    name: &'a str,
}

impl Check<'_> {
    fn geometry(&self, reason: String) -> Error {
        Error::Geometry {
            node: self.name.to_owned(),
            reason,
        }
    }

    fn same_shape(&self, expected: Shape, got: Shape) -> Result<Shape, Error> {
        if expected == got {
            return Ok(got);
        }
        Err(Error::InputShape {
            node: self.name.to_owned(),
            expected,
            got,
        })
    }

    fn dims(&self, param: ParamId) -> Result<&[usize], Error> {
        self.graph
            .params
            .get(param.0)
            .map(|p| p.tensor.dims())
            .ok_or_else(|| self.geometry("a parameter does not belong to this graph".to_owned()))
    }

    fn param(&self, role: &'static str, param: ParamId, expected: &[usize]) -> Result<(), Error> {
        let got = self.dims(param)?;
        if got == expected {
            return Ok(());
        }
        Err(Error::ParameterShape {
            node: self.name.to_owned(),
            parameter: role,
            expected: expected.to_vec(),
            got: got.to_vec(),
        })
    }

    fn conv2d(&self, conv: &Conv2d, x: Shape) -> Result<Shape, Error> {
        let dims = self.dims(conv.weight)?;
        let &[out_c, in_c, kernel_h, kernel_w] = dims else {
            return Err(self.geometry(format!("the weight must be OIHW, got sizes {dims:?}")));
        };
        let groups = conv.groups;
        if groups == 0 || !x.c.is_multiple_of(groups) || !out_c.is_multiple_of(groups) {
            return Err(self.geometry(format!(
                "{groups} groups do not divide {} input and {out_c} output channels",
                x.c
            )));
        }
        let expected = [out_c, x.c / groups, kernel_h, kernel_w];
        if in_c != x.c / groups {
            self.param("weight", conv.weight, &expected)?;
        }
        if let Some(bias) = conv.bias {
            self.param("bias", bias, &[out_c])?;
        }
        let window = Window {
            kernel: [kernel_h, kernel_w],
            stride: conv.stride,
            padding: conv.padding,
        };
        let [h, w] = window.output_size(x.h, x.w).map_err(|r| self.geometry(r))?;
        Ok(Shape::new(x.n, out_c, h, w))
    }

    fn batch_norm(&self, norm: &BatchNorm, x: Shape) -> Result<Shape, Error> {
        self.param("gamma", norm.gamma, &[x.c])?;
        self.param("beta", norm.beta, &[x.c])?;
        self.param("mean", norm.mean, &[x.c])?;
        self.param("variance", norm.variance, &[x.c])?;
        if !(norm.epsilon.is_finite() && norm.epsilon >= 0.0) {
            return Err(self.geometry(format!("epsilon is {}", norm.epsilon)));
        }
        Ok(x)
    }

    fn pool(&self, window: &Window, x: Shape) -> Result<Shape, Error> {
        let [h, w] = window.output_size(x.h, x.w).map_err(|r| self.geometry(r))?;
        let Padding {
            top,
            bottom,
            left,
            right,
        } = window.padding;
        if top.max(bottom) >= window.kernel[0] || left.max(right) >= window.kernel[1] {
            return Err(self.geometry(format!(
                "padding {:?} must be smaller than the window {:?}: a window would see no pixel",
                window.padding, window.kernel
            )));
        }
        Ok(Shape::new(x.n, x.c, h, w))
    }

    fn class_gradient(&self, weight: ParamId, class: ParamId, x: Shape) -> Result<Shape, Error> {
        self.same_shape(Shape::new(x.n, x.c, 1, 1), x)?;
        self.param("class", class, &[1])?;
        let dims = self.dims(weight)?;
        let &[classes, c, h, w] = dims else {
            return Err(self.geometry(format!(
                "the weight must be [class, c, h, w], got sizes {dims:?}"
            )));
        };
        if classes != x.c {
            self.param("weight", weight, &[x.c, c, h, w])?;
        }
        Ok(Shape::new(x.n, c, h, w))
    }

    fn avg_pool_gradient(
        &self,
        window: &Window,
        size: [usize; 2],
        x: Shape,
    ) -> Result<Shape, Error> {
        let out = Shape::new(x.n, x.c, size[0], size[1]);
        let pooled = window
            .output_size(out.h, out.w)
            .map_err(|r| self.geometry(r))?;
        if window.padding != Padding::default() || pooled != [x.h, x.w] {
            return Err(self.geometry(format!(
                "a mean over {window:?} of {size:?} pixels has not {}x{}",
                x.h, x.w
            )));
        }
        Ok(out)
    }

    fn dilate(&self, stride: [usize; 2], size: [usize; 2], x: Shape) -> Result<Shape, Error> {
        let fits = |pixels: usize, stride: usize, size: usize| {
            let end = (pixels - 1).checked_mul(stride);
            stride > 0 && end.is_some_and(|end| end < size)
        };
        if fits(x.h, stride[0], size[0]) && fits(x.w, stride[1], size[1]) {
            return Ok(Shape::new(x.n, x.c, size[0], size[1]));
        }
        Err(self.geometry(format!(
            "{}x{} pixels, {stride:?} apart, do not fit {size:?}",
            x.h, x.w
        )))
    }

    fn linear(&self, weight: ParamId, bias: Option<ParamId>, x: Shape) -> Result<Shape, Error> {
        self.same_shape(Shape::new(x.n, x.c, 1, 1), x)?;
        let dims = self.dims(weight)?;
        let &[out, _] = dims else {
            return Err(self.geometry(format!("the weight must be [out, in], got sizes {dims:?}")));
        };
        self.param("weight", weight, &[out, x.c])?;
        if let Some(bias) = bias {
            self.param("bias", bias, &[out])?;
        }
        Ok(Shape::new(x.n, out, 1, 1))
    }
}
