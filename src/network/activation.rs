//! The activations that turn the scores of classes into probabilities.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::graph::{Op, Sigmoid, Softmax};

/// The activation that turns the scores of classes into probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activation {
    /// Exactly one class applies: the probabilities sum to one.
    Softmax,
    /// Softmax, for a network that itself outputs the logarithms of the probabilities.
    LogSoftmax,
    /// Classes apply independently of each other, as in multi-label classification.
    Sigmoid,
}

#[doc(hidden)]
impl Activation {
    /// All activations.
    pub const ALL: [Self; 3] = [Self::Softmax, Self::LogSoftmax, Self::Sigmoid];

    /// The name that [`FromStr`] reads.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Softmax => "softmax",
            Self::LogSoftmax => "log-softmax",
            Self::Sigmoid => "sigmoid",
        }
    }

    /// The network's own output for the logits of one image; it differs for `LogSoftmax` only.
    #[expect(clippy::cast_possible_truncation, reason = "rounding is what is meant")]
    pub fn scores(self, logits: &[f32]) -> Vec<f32> {
        match self {
            Self::Softmax | Self::Sigmoid => logits.to_vec(),
            Self::LogSoftmax => {
                let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let wide = logits.iter().map(|&x| f64::from(x) - f64::from(largest));
                let log_of_sum = wide.clone().map(f64::exp).sum::<f64>().ln();
                wide.map(|x| (x - log_of_sum) as f32).collect()
            }
        }
    }

    pub(super) const fn op(self) -> Op {
        match self {
            Self::Softmax | Self::LogSoftmax => Op::Softmax(Softmax),
            Self::Sigmoid => Op::Sigmoid(Sigmoid),
        }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Activation {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|known| known.name() == name);
        found.ok_or_else(|| Error::Model {
            model: format!("activation '{name}'"),
            reason: format!(
                "unknown; there are {}",
                Self::ALL.map(Self::name).join(", ")
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_a_log_softmax_are_logarithms_of_probabilities() {
        // Odds of 1 : 3, even where exponentials would overflow.
        for shift in [0.0, 1e4] {
            let scores = Activation::LogSoftmax.scores(&[shift, shift + 3.0f32.ln()]);
            for (score, want) in scores.iter().zip([0.25f32, 0.75]) {
                assert!((score - want.ln()).abs() < 1e-3, "{scores:?} of {shift}");
            }
        }
        assert_eq!(
            Activation::Sigmoid.scores(&[1.0, 2.0]),
            [1.0, 2.0],
            "as they are"
        );
    }

    #[test]
    fn names_are_read_back() {
        for activation in Activation::ALL {
            assert_eq!(activation.name().parse().ok(), Some(activation));
        }
        assert!("tanh".parse::<Activation>().is_err(), "unknown");
    }
}
