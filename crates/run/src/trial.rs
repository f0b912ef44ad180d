//! Whether an adapter computes at all, before it is preferred to others.

use resnet_wgpu::Error;
use resnet_wgpu::graph::Graph;
use resnet_wgpu::internals::graph::{Conv2d, GlobalAvgPool, Linear, Op};
use resnet_wgpu::plan::InputFormat;
use resnet_wgpu::tensor::{Shape, Tensor};

use crate::Gpu;

/// What came of trying adapters.
#[derive(Debug)]
pub struct Tried<T> {
    /// The first that works, with its number.
    pub chosen: Option<(usize, T)>,
    /// Those before it.
    pub failed: Vec<(usize, Error)>,
}

impl<T> Tried<T> {
    /// The chosen one, or why the best one was not chosen.
    ///
    /// # Errors
    /// That of the first that failed.
    pub fn into_chosen(self) -> Result<T, Error> {
        let failed = self.failed.into_iter().next();
        let none = || Error::NoAdapter {
            reason: "none was tried".to_owned(),
        };
        match self.chosen {
            Some((_, opened)) => Ok(opened),
            None => Err(failed.map_or_else(none, |(_, error)| error)),
        }
    }
}

/// The first adapter that opens.
pub(crate) fn first<T>(
    numbers: impl IntoIterator<Item = usize>,
    mut open: impl FnMut(usize) -> Result<T, Error>,
) -> Tried<T> {
    let mut failed = Vec::new();
    for number in numbers {
        match open(number) {
            Ok(opened) => {
                let chosen = Some((number, opened));
                return Tried { chosen, failed };
            }
            Err(error) => failed.push((number, error)),
        }
    }
    let chosen = None;
    Tried { chosen, failed }
}

/// Checks the kernels of a small network. A wrong one that another can replace is no reason to refuse.
pub(crate) fn run(gpu: &Gpu) -> Result<(), Error> {
    gpu.options(&network()?, InputFormat::default()).map(drop)
}

/// A convolution, an average and a linear layer. The numbers do not matter: a check has its own.
fn network() -> Result<Graph, Error> {
    let mut graph = Graph::new();
    let numbers = |dims: &[usize]| Tensor::from_fn(dims, |i| (i % 7) as f32 * 0.1 - 0.3);
    let input = graph.input("image", Shape::new(1, 8, 15, 13))?;
    let weight = graph.param("conv.weight", numbers(&[12, 8, 3, 3]));
    let conv = Op::Conv2d(Conv2d::new(weight).padding(1));
    let x = graph.add("conv", conv, &[input])?;
    let x = graph.add("average", Op::GlobalAvgPool(GlobalAvgPool), &[x])?;
    let weight = graph.param("fc.weight", numbers(&[5, 12]));
    let linear = Op::Linear(Linear { weight, bias: None });
    let logits = graph.add("fc", linear, &[x])?;
    graph.mark_output(logits)?;
    Ok(graph)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_works_is_chosen_and_those_before_it_are_named() {
        let refuse = |number: usize| Error::NoAdapter {
            reason: format!("{number} is wrong"),
        };
        let open = |number| {
            if number < 2 {
                Err(refuse(number))
            } else {
                Ok("opened")
            }
        };
        let tried = first([0, 1, 2, 3], open);
        assert_eq!(tried.chosen, Some((2, "opened")));
        let failed: Vec<usize> = tried.failed.iter().map(|(number, _)| *number).collect();
        assert_eq!(failed, [0, 1], "in their order");

        let tried = first([0, 1], open);
        assert_eq!(tried.chosen, None, "none of them works");
        assert_eq!(tried.failed.len(), 2);
    }
}
