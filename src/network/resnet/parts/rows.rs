//! Several convolutions with their batch normalisations whose output channels are stacked in one of a file.

use super::{Bench, Conv, unexplained};
use crate::error::Error;
use crate::graph::ValueId;
use crate::network::resnet::naming::{Part, Unit};
use crate::network::resnet::plan::Norm;
use crate::network::{Operation, Parameter};
use crate::tensor::Tensor;

const NORM: [Parameter; 4] = [
    Parameter::Gamma,
    Parameter::Beta,
    Parameter::Mean,
    Parameter::Variance,
];

/// The tensors of such a stack.
pub(super) struct Rows {
    kernel: Tensor,
    norm: Vec<Tensor>,
}

impl Rows {
    /// Takes those of a unit.
    pub(super) fn taken(
        bench: &mut Bench<'_>,
        unit: Unit,
        kernel: [usize; 4],
    ) -> Result<Self, Error> {
        if bench.plan.norm != Norm::Batch {
            let reason = "its kernels are normalised in another way than by batches";
            return Err(unexplained(bench.plan, reason));
        }
        let channels = [kernel[0]];
        let kernel = bench.taken(unit, Part::Conv, Parameter::Weight, &kernel)?;
        let norm = NORM.map(|parameter| bench.taken(unit, Part::Norm, parameter, &channels));
        let norm = norm.into_iter().collect::<Result<_, _>>()?;
        Ok(Self { kernel, norm })
    }

    /// The kernel of one of several convolutions, and the channels that it reads.
    pub(super) fn kernel(&self, number: usize, count: usize) -> Result<Tensor, Error> {
        let (mut dims, data) = of(&self.kernel, number, count);
        dims[0] /= count;
        Tensor::new(&dims, data)
    }

    /// Lays one of several convolutions out, with its kernel, its normalisation and a ReLU.
    pub(super) fn build(
        &self,
        bench: &mut Bench<'_>,
        (unit, conv): (Unit, Conv),
        (number, count): (usize, usize),
        (x, kernel): (ValueId, Tensor),
    ) -> Result<ValueId, Error> {
        let weight = bench.constant(unit, Parameter::Weight, kernel)?;
        let x = bench.convolve(unit, x, conv, weight)?;
        let layer = bench.layer(unit, Part::Norm);
        let mut names = Vec::new();
        for (parameter, tensor) in NORM.into_iter().zip(&self.norm) {
            let (_, data) = of(tensor, number, count);
            let name = format!("{layer}.{}", parameter.name());
            bench
                .draft
                .tensor(&name, Tensor::new(&[data.len()], data)?)?;
            names.push(name);
        }
        let Ok([gamma, beta, mean, variance]) = <[String; 4]>::try_from(names) else {
            unreachable!("there are four parameters");
        };
        let norm = Operation::BatchNorm {
            gamma,
            beta,
            mean,
            variance,
            epsilon: bench.plan.epsilon,
            of_batch: false,
        };
        let x = bench.add(unit, Part::Norm, norm, &[x])?;
        bench.relu(unit, x)
    }
}

/// The sizes of a tensor, and one of several equal parts of its rows.
fn of(tensor: &Tensor, number: usize, count: usize) -> (Vec<usize>, &[f32]) {
    let len = tensor.len() / count;
    (
        tensor.dims().to_vec(),
        &tensor.data()[number * len..][..len],
    )
}
