//! Checks that results make sense: numbers are finite, and probabilities follow from the scores. A
//! broken driver, or weights that overflow, would otherwise give wrong results silently.

use crate::error::Error;
use crate::graph::Role;
use crate::tensor::Tensor;

/// Tolerance for the sum of an image's probabilities, which should be 1, and for a single one,
/// which should be the sigmoid of its score; in half precision the error is below a thousandth.
const SLACK: f64 = 0.01;

/// The values of an output, and its roles.
#[derive(Clone, Copy)]
pub(crate) struct Values<'a> {
    pub(crate) output: &'a str,
    pub(crate) roles: &'a [Role],
    pub(crate) tensor: &'a Tensor,
}

/// Refuses outputs that make no sense.
pub(crate) fn check(outputs: &[Values<'_>]) -> Result<(), Error> {
    let logits = outputs.iter().find(|of| of.roles.contains(&Role::Logits));
    for &Values {
        output,
        roles,
        tensor,
    } in outputs
    {
        let refuse = |reason: String| Error::NoAnswer {
            output: output.to_owned(),
            reason,
        };
        let data = tensor.data();
        if let Some(index) = data.iter().position(|value| !value.is_finite()) {
            return Err(refuse(format!("element {index} is {}", data[index])));
        }
        if roles.contains(&Role::Probabilities) {
            let classes: usize = tensor.dims().iter().skip(1).product();
            let logits = logits.map(|of| of.tensor.data());
            let logits = logits.filter(|logits| logits.len() == data.len());
            for (image, row) in data.chunks(classes.max(1)).enumerate() {
                let scores = logits.map(|logits| &logits[image * classes..][..row.len()]);
                if let Some(sum) = wrong_sum(row, scores) {
                    let what = format!("the probabilities of image {image} sum to {sum}");
                    return Err(refuse(what));
                }
            }
        }
    }
    Ok(())
}

/// The sum of probabilities that are neither a distribution nor the sigmoids of their scores.
/// Without scores, only probabilities that are all zero are certain to be wrong.
fn wrong_sum(row: &[f32], scores: Option<&[f32]>) -> Option<f64> {
    let sum: f64 = row.iter().copied().map(f64::from).sum();
    let sigmoids = match scores {
        None => sum > 0.0,
        Some(scores) => row.iter().zip(scores).all(|(&p, &score)| {
            let sigmoid = 1.0 / (1.0 + f64::from(-score).exp());
            (f64::from(p) - sigmoid).abs() <= SLACK
        }),
    };
    ((sum - 1.0).abs() > SLACK && !sigmoids).then_some(sum)
}
