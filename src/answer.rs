//! Whether results are an answer: numbers that are finite, and probabilities that sum to one. A broken
//! driver, and weights that overflow, give others without a word.

use crate::error::Error;
use crate::graph::Role;
use crate::tensor::Tensor;

/// How far from one the probabilities of an image may sum up; halves are off by less than a thousandth.
const SLACK: f64 = 0.01;

/// Refuses the values of an output that are no answer.
pub(crate) fn check(output: &str, roles: &[Role], tensor: &Tensor) -> Result<(), Error> {
    let refuse = |reason: String| {
        Err(Error::NoAnswer {
            output: output.to_owned(),
            reason,
        })
    };
    let data = tensor.data();
    if let Some(index) = data.iter().position(|value| !value.is_finite()) {
        return refuse(format!("element {index} is {}", data[index]));
    }
    if roles.contains(&Role::Probabilities) {
        let classes: usize = tensor.dims().iter().skip(1).product();
        for (image, row) in data.chunks(classes.max(1)).enumerate() {
            let sum: f64 = row.iter().copied().map(f64::from).sum();
            if (sum - 1.0).abs() > SLACK {
                return refuse(format!("the probabilities of image {image} sum to {sum}"));
            }
        }
    }
    Ok(())
}
