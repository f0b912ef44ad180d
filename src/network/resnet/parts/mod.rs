//! The parts of a residual network, one file each: how the part shows in the names and shapes of
//! tensors, its layers, and what `inspect` says about it.
//!
//! A part infers its entries of the plan from a [`Sight`] of the tensors, and adds its layers to a
//! [`Bench`].

pub(super) mod anti_alias;
pub(super) mod attention_pool;
pub(super) mod block;
pub(super) mod channel_attention;
pub(super) mod head;
pub(super) mod norm;
pub(super) mod preprocess;
pub(super) mod refused;
mod rows;
pub(super) mod scales;
pub(super) mod selective;
pub(super) mod shortcut;
pub(super) mod squeeze_excite;
pub(super) mod stem;

use super::naming::{Naming, Part, Place, Unit};
use super::plan::{Bias, Norm, Plan};
use crate::error::Error;
use crate::graph::ValueId;
use crate::network::{Draft, Operation, PaddingRule, Parameter, TensorSource};
use crate::tensor::Tensor;

/// The tensor shapes of a file.
pub(super) struct Sight<'a> {
    pub(super) source: &'a dyn TensorSource,
    pub(super) naming: &'a Naming,
}

impl Sight<'_> {
    pub(super) fn dims(
        &self,
        plan: &Plan,
        unit: Unit,
        part: Part,
        parameter: Parameter,
    ) -> Option<Vec<usize>> {
        let name = self.naming.tensor(plan, unit, part, parameter);
        self.source.dims(&name)
    }

    /// Whether a convolution exists in the file.
    pub(super) fn has(&self, plan: &Plan, unit: Unit) -> bool {
        self.dims(plan, unit, Part::Conv, Parameter::Weight)
            .is_some()
    }

    /// The output and input channels of a convolution.
    pub(super) fn conv(&self, plan: &Plan, unit: Unit) -> Result<[usize; 2], Error> {
        let [out_c, in_c, _, _] = self.kernel(plan, unit)?;
        Ok([out_c, in_c])
    }

    /// The kernel shape of a convolution, OIHW.
    pub(super) fn kernel(&self, plan: &Plan, unit: Unit) -> Result<[usize; 4], Error> {
        let dims = self.dims(plan, unit, Part::Conv, Parameter::Weight);
        match dims.as_deref() {
            Some(&[out_c, in_c, h, w]) => Ok([out_c, in_c, h, w]),
            other => Err(unexplained(
                plan,
                format!(
                    "the convolution '{}' must have four dimensions, the file has {other:?}",
                    plan.layer(unit, Part::Conv)
                ),
            )),
        }
    }
}

/// The error for shapes that no plan explains.
pub(super) fn unexplained(plan: &Plan, reason: impl Into<String>) -> Error {
    Error::Model {
        model: plan.style.name().to_owned(),
        reason: reason.into(),
    }
}

/// A network under construction: its plan, the source of its tensors, and the layers so far.
pub(super) struct Bench<'a> {
    pub(super) plan: &'a Plan,
    pub(super) naming: &'a Naming,
    pub(super) source: &'a mut dyn TensorSource,
    pub(super) draft: &'a mut Draft,
    /// The prefix of layer names.
    pub(super) scope: &'a str,
}

/// A block, with everything that differs between the blocks of a network.
#[derive(Clone, Copy)]
pub(super) struct BlockSite {
    pub(super) place: Place,
    /// The channels inside the block.
    pub(super) width: usize,
    /// The channels of its output.
    pub(super) out_c: usize,
    pub(super) stride: usize,
    /// Dilation of its first 3×3 convolution, and of a second one.
    pub(super) dilations: [usize; 2],
    /// Whether its shortcut has a convolution in any case.
    pub(super) projects: bool,
}

/// A convolution, apart from its name, input and weights.
#[derive(Clone, Copy)]
pub(super) struct Conv {
    out_c: usize,
    kernel: usize,
    stride: usize,
    padding: PaddingRule,
    dilation: usize,
    groups: usize,
    normalised: bool,
    biased: bool,
}

impl Conv {
    /// A square kernel at stride 1, without groups, padded to keep the image size.
    pub(super) const fn new(out_c: usize, kernel: usize) -> Self {
        Self {
            out_c,
            kernel,
            stride: 1,
            padding: PaddingRule::all(kernel / 2),
            dilation: 1,
            groups: 1,
            normalised: true,
            biased: false,
        }
    }

    pub(super) const fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// Sets the dilation, and the padding to match.
    pub(super) const fn dilation(self, dilation: usize) -> Self {
        Self {
            dilation,
            padding: PaddingRule::all(self.kernel / 2 * dilation),
            ..self
        }
    }

    pub(super) const fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    pub(super) const fn padding(self, padding: PaddingRule) -> Self {
        Self { padding, ..self }
    }

    /// Sets whether a normalisation follows directly.
    pub(super) const fn normalised(self, normalised: bool) -> Self {
        Self { normalised, ..self }
    }

    /// Adds a bias, whatever the plan says about other convolutions.
    pub(super) const fn biased(self) -> Self {
        Self {
            biased: true,
            ..self
        }
    }
}

impl Bench<'_> {
    /// The name of a layer.
    fn layer(&self, unit: Unit, part: Part) -> String {
        self.scope.to_owned() + &self.plan.layer(unit, part)
    }

    /// Adds a layer without parameters.
    pub(super) fn add(
        &mut self,
        unit: Unit,
        part: Part,
        operation: Operation,
        inputs: &[ValueId],
    ) -> Result<ValueId, Error> {
        let name = self.layer(unit, part);
        self.draft.add(&name, operation, inputs)
    }

    pub(super) fn conv(&mut self, unit: Unit, x: ValueId, conv: Conv) -> Result<ValueId, Error> {
        let Conv {
            out_c,
            kernel,
            groups,
            ..
        } = conv;
        let in_c = self.draft.shape(x).c / groups.max(1);
        let weight = self.kernel(unit, [out_c, in_c, kernel])?;
        self.convolve(unit, x, conv, weight)
    }

    /// Adds a convolution with a kernel that is already registered.
    pub(super) fn convolve(
        &mut self,
        unit: Unit,
        x: ValueId,
        conv: Conv,
        weight: String,
    ) -> Result<ValueId, Error> {
        let Conv {
            out_c,
            stride,
            padding,
            dilation,
            groups,
            normalised,
            biased,
            ..
        } = conv;
        let biased = match self.plan.bias {
            // Where normalisations were merged into the convolutions, these have biases.
            Bias::None => biased || self.has(unit, Part::Conv, Parameter::Bias),
            Bias::Unnormalised => biased || !normalised,
            Bias::All => true,
        };
        let bias = if biased {
            Some(self.parameter(unit, Part::Conv, Parameter::Bias, &[out_c])?)
        } else {
            None
        };
        let operation = Operation::Conv2d {
            weight,
            bias,
            stride: [stride; 2],
            padding,
            dilation: [dilation; 2],
            groups,
        };
        self.add(unit, Part::Conv, operation, &[x])
    }

    /// Takes a kernel in the form in which it is used. For grey images it is widened with zeros for
    /// green and blue, as all three channels are equal.
    fn kernel(&mut self, unit: Unit, [out_c, in_c, side]: [usize; 3]) -> Result<String, Error> {
        let grey = self.plan.image_c == 1 && unit == Unit::Stem(0);
        let dims = [out_c, if grey { 1 } else { in_c }, side, side];
        if !grey && !self.plan.standardised {
            return self.parameter(unit, Part::Conv, Parameter::Weight, &dims);
        }
        let mut kernel = self.taken(unit, Part::Conv, Parameter::Weight, &dims)?;
        if self.plan.standardised {
            kernel = norm::standardised(&kernel);
        }
        if grey {
            let plane = side * side;
            kernel = Tensor::from_fn(&[out_c, in_c, side, side], |i| {
                let (co, ci) = (i / (in_c * plane), i / plane % in_c);
                if ci == 0 {
                    kernel.data()[co * plane + i % plane]
                } else {
                    0.0
                }
            });
        }
        self.constant(unit, Parameter::Weight, kernel)
    }

    /// Takes a tensor from the file.
    pub(super) fn taken(
        &mut self,
        unit: Unit,
        part: Part,
        parameter: Parameter,
        dims: &[usize],
    ) -> Result<Tensor, Error> {
        let in_file = self.naming.tensor(self.plan, unit, part, parameter);
        self.source.take(&in_file, dims)
    }

    /// Registers a computed parameter of a convolution, and returns its name.
    pub(super) fn constant(
        &mut self,
        unit: Unit,
        parameter: Parameter,
        tensor: Tensor,
    ) -> Result<String, Error> {
        let name = format!("{}.{}", self.layer(unit, Part::Conv), parameter.name());
        self.draft.tensor(&name, tensor)?;
        Ok(name)
    }

    /// Adds a normalisation, unless the file has none there: it may have been merged into the convolution
    /// before it, which then has a bias.
    pub(super) fn norm(&mut self, unit: Unit, x: ValueId) -> Result<ValueId, Error> {
        let is_merged = !self.plan.pre_activation
            && self.has(unit, Part::Conv, Parameter::Bias)
            && !self.has(unit, Part::Norm, Parameter::Gamma);
        if is_merged {
            return Ok(x);
        }
        let dims = [self.draft.shape(x).c];
        let epsilon = self.plan.epsilon;
        let norm = self.plan.norm;
        let mut parameter = |parameter| self.parameter(unit, Part::Norm, parameter, &dims);
        let (gamma, beta) = (parameter(Parameter::Gamma)?, parameter(Parameter::Beta)?);
        let operation = match norm {
            Norm::Batch => Operation::BatchNorm {
                gamma,
                beta,
                mean: parameter(Parameter::Mean)?,
                variance: parameter(Parameter::Variance)?,
                epsilon,
                of_batch: false,
            },
            Norm::Group(groups) => Operation::GroupNorm {
                gamma,
                beta,
                groups,
                epsilon,
            },
        };
        self.add(unit, Part::Norm, operation, &[x])
    }

    pub(super) fn relu(&mut self, unit: Unit, x: ValueId) -> Result<ValueId, Error> {
        self.add(unit, Part::Relu, Operation::Relu, &[x])
    }

    /// Adds a normalisation and a ReLU.
    pub(super) fn activate(&mut self, unit: Unit, x: ValueId) -> Result<ValueId, Error> {
        let y = self.norm(unit, x)?;
        self.relu(unit, y)
    }

    /// Whether the source lists a tensor; a source of random tensors lists none.
    fn has(&self, unit: Unit, part: Part, parameter: Parameter) -> bool {
        let name = self.naming.tensor(self.plan, unit, part, parameter);
        self.source.dims(&name).is_some()
    }

    /// Takes and discards a tensor, if the file has it.
    pub(super) fn skip(
        &mut self,
        unit: Unit,
        part: Part,
        parameter: Parameter,
    ) -> Result<(), Error> {
        let name = self.naming.tensor(self.plan, unit, part, parameter);
        if let Some(dims) = self.source.dims(&name) {
            self.source.take(&name, &dims)?;
        }
        Ok(())
    }

    /// Takes a parameter of a layer, registers it and returns its name.
    pub(super) fn parameter(
        &mut self,
        unit: Unit,
        part: Part,
        parameter: Parameter,
        dims: &[usize],
    ) -> Result<String, Error> {
        let layer = self.layer(unit, part);
        let name = format!("{layer}.{}", parameter.name());
        let tensor = self.taken(unit, part, parameter, dims)?;
        self.draft.tensor(&name, tensor)?;
        Ok(name)
    }
}

/// The numbers, one per stage, as text for `inspect`.
fn listed(numbers: &[usize]) -> String {
    let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
    numbers.join(", ")
}
