//! The decisions made about a network, and their evidence.
//!
//! Different networks can have the same tensor names, and weight files do not state the
//! preprocessing. Every fact that the shapes of the weights do not prove is therefore recorded as a
//! [`Decision`]. `resnet inspect` prints the record; callers that want no guesses check
//! [`Decisions::assumed`].

use std::fmt;

use serde::Serialize;

/// The confidence of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Confidence {
    /// The file or the caller states it, or the shapes of the weights allow no other reading.
    Certain,
    /// It holds for every published network with this evidence.
    Inferred,
    /// Networks with this evidence differ; the most common choice was made.
    Assumed,
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certain => "certain",
            Self::Inferred => "inferred",
            Self::Assumed => "assumed",
        })
    }
}

/// One fact about a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Decision {
    /// The question, such as `stride`.
    pub what: &'static str,
    /// The answer.
    pub value: String,
    /// The evidence for it.
    pub evidence: String,
    /// Its confidence.
    pub confidence: Confidence,
}

#[doc(hidden)]
impl Decision {
    /// A fact that was stated or proved.
    pub fn certain(
        what: &'static str,
        value: impl Into<String>,
        evidence: impl Into<String>,
    ) -> Self {
        Self::new(what, value, evidence, Confidence::Certain)
    }

    /// A fact that all known networks with the same evidence share.
    pub fn inferred(
        what: &'static str,
        value: impl Into<String>,
        evidence: impl Into<String>,
    ) -> Self {
        Self::new(what, value, evidence, Confidence::Inferred)
    }

    /// A guess.
    pub fn assumed(
        what: &'static str,
        value: impl Into<String>,
        evidence: impl Into<String>,
    ) -> Self {
        Self::new(what, value, evidence, Confidence::Assumed)
    }

    /// A fact of any confidence.
    pub fn new(
        what: &'static str,
        value: impl Into<String>,
        evidence: impl Into<String>,
        confidence: Confidence,
    ) -> Self {
        Self {
            what,
            value: value.into(),
            evidence: evidence.into(),
            confidence,
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            value,
            evidence,
            confidence,
        } = self;
        write!(f, "{what:<14} {value}  ({confidence}: {evidence})")
    }
}

/// The record of all decisions about a model, in the order in which they were made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Decisions(Vec<Decision>);

impl Decisions {
    /// Updates the value of a decision, if the question was decided.
    pub(super) fn restate(&mut self, what: &str, value: String) {
        if let Some(decision) = self.0.iter_mut().find(|decision| decision.what == what) {
            decision.value = value;
        }
    }

    /// The decisions that are guesses.
    #[doc(hidden)]
    pub fn assumed(&self) -> impl Iterator<Item = &Decision> {
        let guess = |decision: &&Decision| decision.confidence == Confidence::Assumed;
        self.0.iter().filter(guess)
    }
}

#[doc(hidden)]
impl Decisions {
    /// All decisions.
    pub fn iter(&self) -> std::slice::Iter<'_, Decision> {
        self.0.iter()
    }

    /// Records a decision. It replaces an earlier one on the same question.
    pub fn record(&mut self, decision: Decision) {
        match self.0.iter_mut().find(|d| d.what == decision.what) {
            Some(earlier) => *earlier = decision,
            None => self.0.push(decision),
        }
    }

    /// The decision on a question.
    pub fn get(&self, what: &str) -> Option<&Decision> {
        self.0.iter().find(|decision| decision.what == what)
    }
}

impl<'a> IntoIterator for &'a Decisions {
    type Item = &'a Decision;
    type IntoIter = std::slice::Iter<'a, Decision>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<Decision> for Decisions {
    fn from_iter<T: IntoIterator<Item = Decision>>(decisions: T) -> Self {
        let mut record = Self::default();
        for decision in decisions {
            record.record(decision);
        }
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_decision_replaces_the_earlier_in_its_place() {
        let mut record = Decisions::default();
        record.record(Decision::assumed("stride", "3x3", "most are"));
        record.record(Decision::certain("classes", "10", "shapes"));
        assert_eq!(record.assumed().count(), 1, "a guess");
        record.record(Decision::certain("stride", "1x1", "the caller"));
        let values: Vec<&str> = record.iter().map(|d| &d.value[..]).collect();
        assert_eq!(values, ["1x1", "10"], "order");
        assert_eq!(record.assumed().count(), 0, "no guess is left");
    }

    #[test]
    fn json_has_the_four_fields() {
        let record: Decisions = [Decision::inferred("epsilon", "1e-5", "names")]
            .into_iter()
            .collect();
        assert_eq!(
            serde_json::to_string(&record).expect("plain data"),
            r#"[{"what":"epsilon","value":"1e-5","evidence":"names","confidence":"inferred"}]"#
        );
    }
}
