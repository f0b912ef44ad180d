//! The names of a network's classes.

use std::path::Path;

use serde_json::Value;

use crate::error::Error;
use crate::internals::files::read_at_most;

/// A file with the names of 21,841 classes has 2 MB.
const MAX_BYTES: u64 = 16 << 20;

/// Class names, indexed by class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels(Vec<String>);

impl Labels {
    /// Labels from names in class order.
    pub fn new(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }

    /// Short English names of the 1000 classes of ImageNet (ILSVRC 2012).
    pub fn imagenet1k() -> Self {
        Self::new(include_str!("../../assets/imagenet1k.txt").lines())
    }

    /// Reads a file: text with one name per line, or JSON as accepted by [`Self::parse`].
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Labels`] as [`Self::parse`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let bytes = read_at_most(path, MAX_BYTES).map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })?;
        let text = String::from_utf8(bytes)
            .map_err(|_| refuse(format!("'{}' is not UTF-8 text", path.display())))?;
        Self::parse(&text)
    }

    /// The name of a class.
    pub fn get(&self, class: usize) -> Option<&str> {
        self.0.get(class).map(String::as_str)
    }
}

#[doc(hidden)]
impl Labels {
    /// Parses text with one name per line, or JSON: a list of names, an object that maps class
    /// numbers to names (Hugging Face's `id2label`, or a `config.json` that contains it), or one
    /// that maps them to `[id, name]` (Keras).
    ///
    /// # Errors
    /// [`Error::Labels`] if there is no name, or if the numbers of an object have gaps.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim_start_matches('\u{feff}');
        let names = if text.trim_start().starts_with(['{', '[']) {
            match serde_json::from_str::<Value>(text) {
                Ok(json) => from_json(json.get("id2label").unwrap_or(&json))?,
                // ImageNet's names are often published as a Python dict.
                Err(error) => from_python(text)
                    .ok_or_else(|| refuse(format!("this JSON is damaged: {error}")))?,
            }
        } else {
            // The last line need not end with a newline; an empty line in between names a class.
            let lines = text.trim_end().lines();
            lines
                .map(|line| without_synset(line.trim()).to_owned())
                .collect()
        };
        if names.is_empty() {
            return Err(refuse("there is no name in it".to_owned()));
        }
        Ok(Self(names))
    }

    /// The number of labels.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no labels.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names, in class order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Checks that there is one name for each class of a network.
    ///
    /// # Errors
    /// [`Error::Labels`] with both counts.
    pub fn check(&self, classes: usize) -> Result<(), Error> {
        if self.len() == classes {
            return Ok(());
        }
        Err(refuse(format!(
            "the network has {classes} classes, the list has {} names; the file must have one name \
             a line in the order of the classes",
            self.len()
        )))
    }
}

fn refuse(reason: String) -> Error {
    Error::Labels { reason }
}

/// The name after a `WordNet` id, as in ImageNet's `synset_words.txt`: `n01440764 tench`.
fn without_synset(line: &str) -> &str {
    match line.split_once(' ') {
        Some((id, name)) if is_synset(id) => name.trim(),
        _ => line,
    }
}

fn is_synset(id: &str) -> bool {
    let digits = id.strip_prefix('n').map(str::as_bytes).unwrap_or_default();
    digits.len() == 8 && digits.iter().all(u8::is_ascii_digit)
}

/// Parses a Python dict that maps consecutive numbers to strings, one entry per line.
fn from_python(text: &str) -> Option<Vec<String>> {
    let inside = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let lines = inside
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let entries = lines.enumerate().map(|(class, line)| {
        let (number, name) = line.trim_end_matches(',').split_once(':')?;
        let name = name.trim();
        let quote = name.chars().next().filter(|c| "'\"".contains(*c))?;
        let name = name.strip_prefix(quote)?.strip_suffix(quote)?;
        (number.trim().parse() == Ok(class)).then(|| name.replace("\\'", "'"))
    });
    entries.collect()
}

/// The keys of `class_to_idx`, ordered by class.
fn by_index(map: &serde_json::Map<String, Value>) -> Option<Vec<String>> {
    let mut names = vec![None; map.len()];
    for (name, class) in map {
        let class = usize::try_from(class.as_u64()?).ok()?;
        *names.get_mut(class)? = Some(name.clone());
    }
    names.into_iter().collect()
}

fn from_json(json: &Value) -> Result<Vec<String>, Error> {
    match json {
        Value::Array(names) => names.iter().map(name).collect(),
        Value::Object(map) if map.values().next().is_some_and(Value::is_number) => by_index(map)
            .ok_or_else(|| {
                refuse(format!(
                    "the numbers of the classes must be 0 to {}, each once",
                    map.len() - 1
                ))
            }),
        Value::Object(by_class) => (0..by_class.len())
            .map(|class| {
                let value = by_class.get(&class.to_string()).ok_or_else(|| {
                    refuse(format!(
                        "class {class} has no name: the keys must be 0 to {}",
                        by_class.len() - 1
                    ))
                })?;
                name(value)
            })
            .collect(),
        _ => Err(refuse("expected a JSON list or object".to_owned())),
    }
}

fn name(json: &Value) -> Result<String, Error> {
    match json {
        Value::String(name) => Ok(name.clone()),
        // Keras's `imagenet_class_index.json` has pairs of WordNet id and name.
        Value::Array(pair) if pair.len() == 2 => name(&pair[1]),
        other => Err(refuse(format!("expected a name, got {other}"))),
    }
}

/// The indices of the `k` largest scalars, largest first; ties and NaNs keep their order.
pub fn top_k(scalars: &[f32], k: usize) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..scalars.len()).collect();
    let key = |i: &usize| {
        if scalars[*i].is_nan() {
            f32::NEG_INFINITY
        } else {
            scalars[*i]
        }
    };
    let order = |a: &usize, b: &usize| key(b).total_cmp(&key(a)).then(a.cmp(b));
    if k < indices.len() {
        // Of many, only the best are sorted.
        indices.select_nth_unstable_by(k, order);
        indices.truncate(k);
    }
    indices.sort_unstable_by(order);
    indices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imagenet_has_its_thousand_names() {
        let labels = Labels::imagenet1k();
        labels.check(1000).expect("one name for each class");
        for (class, name) in [
            (0, "tench"),
            (207, "golden retriever"),
            (281, "tabby"),
            (999, "toilet tissue"),
        ] {
            assert_eq!(labels.get(class), Some(name), "class {class}");
        }
        assert!(
            labels.iter().all(|name| !name.is_empty()),
            "no name is empty"
        );
    }

    #[test]
    fn all_forms_of_lists_are_read() {
        for text in [
            "cat\ndog\n",
            "cat\r\ndog",
            "\u{feff}cat\ndog\n\n",
            r#"["cat", "dog"]"#,
            r#"{"1": "dog", "0": "cat"}"#,
            r#"{"model_type": "resnet", "id2label": {"0": "cat", "1": "dog"}}"#,
            r#"{"0": ["n1", "cat"], "1": ["n2", "dog"]}"#,
            r#"{"dog": 1, "cat": 0}"#,
            "n02123045 cat\nn02084071 dog",
            "{0: 'cat',\n 1: 'dog'}",
        ] {
            assert_eq!(
                Labels::parse(text).ok(),
                Some(Labels::new(["cat", "dog"])),
                "{text}"
            );
        }
    }

    #[test]
    fn lists_that_cannot_be_are_refused() {
        for text in [
            "",
            "\n\n",
            "[",
            "{}",
            r#"{"0": "cat", "2": "dog"}"#,
            "[1, 2]",
            r#"{"cat": 0, "dog": 2}"#,
            r#"{"cat": 1, "dog": 1}"#,
            "{0: 'cat',\n 2: 'dog'}",
        ] {
            assert!(
                matches!(Labels::parse(text), Err(Error::Labels { .. })),
                "{text}"
            );
        }
        assert!(
            Labels::new(["cat"]).check(2).is_err(),
            "one name for two classes"
        );
    }
}
