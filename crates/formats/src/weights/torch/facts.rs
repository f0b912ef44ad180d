//! What a checkpoint says about its network beside the tensors.

use std::collections::HashMap;

use super::checkpoint::MAX_NAME_BYTES;
use super::objects::{Objects, Value};

/// Numbers of an argument, which are one for each channel, and arguments of a network.
const MAX_ITEMS: usize = 8;

/// Keys under which training scripts keep the name of the network, and the objects that they keep in a
/// checkpoint with such keys.
const NAMES: &[&str] = &[
    "model",
    "arch",
    "model_name",
    "architecture",
    "backbone",
    "net",
];
const HOLDERS: &[&str] = &[
    "args",
    "hparams",
    "hyper_parameters",
    "config",
    "cfg",
    "opt",
];

/// Arguments of scripts that say how images are prepared: timm's, and those of torchvision's references.
const ARGUMENTS: &[&str] = &[
    "mean",
    "std",
    "crop_pct",
    "crop_mode",
    "interpolation",
    "img_size",
    "input_size",
    "val_resize_size",
    "val_crop_size",
];

/// Arguments of timm's script that say what the network computes, and what the facts call them: an epsilon
/// of all normalisations, the global pool, and what a network is made with.
const OF_NETWORK: &[(&str, &str)] = &[
    ("bn_eps", "epsilon"),
    ("gp", "global_pool"),
    ("model_kwargs", "model_args"),
];

/// What the checkpoint says about the network in words: the `architecture`, `said by` which entry, the
/// `labels`, the `arguments` about images as JSON, and what [`OF_NETWORK`] names.
/// The arguments of a script are more exact than what stands beside them.
pub(super) fn facts(objects: &Objects<'_>, root: Value<'_>) -> HashMap<String, String> {
    let Some(root) = objects.dict(root) else {
        return HashMap::new();
    };
    let get = |dict, key: &str| objects.named(dict).find(|(name, _)| *name == key);
    let holders = HOLDERS.iter().filter_map(|&key| {
        let (_, value) = get(root, key)?;
        Some((format!("{key}."), objects.dict(value)?))
    });
    let mut said = holders
        .chain([(String::new(), root)])
        .flat_map(|(path, dict)| {
            let texts = NAMES
                .iter()
                .filter_map(move |&key| match get(dict, key)?.1 {
                    Value::Text(text) if text.len() <= MAX_NAME_BYTES => Some((key, text)),
                    _ => None,
                });
            texts.map(move |(key, text)| (format!("{path}{key}"), text))
        });
    let mut facts = HashMap::new();
    let mut arguments = HOLDERS.iter().filter_map(|&key| {
        let (_, value) = get(root, key)?;
        let held = objects.dict(value)?;
        let said = ARGUMENTS.iter().filter_map(|&name| {
            let (_, value) = get(held, name)?;
            Some((name.to_owned(), json(objects, value)?))
        });
        Some(said.collect::<serde_json::Map<_, _>>()).filter(|said| !said.is_empty())
    });
    if let Some(arguments) = arguments.next() {
        let text = serde_json::Value::Object(arguments).to_string();
        facts.insert("arguments".to_owned(), text);
    }
    let held = HOLDERS
        .iter()
        .find_map(|&key| objects.dict(get(root, key)?.1));
    for (argument, fact) in OF_NETWORK {
        let value = held.and_then(|held| Some(get(held, argument)?.1));
        let text = value.and_then(|value| match value {
            Value::Text(text) if text.len() <= MAX_NAME_BYTES => Some(text.to_owned()),
            Value::Float(number) => Some(number.to_string()),
            Value::Int(number) => Some(number.to_string()),
            _ => {
                let items = objects.named(objects.dict(value)?);
                let plain = |(name, value): (&str, Value<'_>)| {
                    (name.to_owned(), json(objects, value).unwrap_or_default())
                };
                let items = items.take(MAX_ITEMS).map(plain);
                Some(items.collect::<serde_json::Map<_, _>>())
                    .filter(|items| !items.is_empty())
                    .map(|items| serde_json::Value::Object(items).to_string())
            }
        });
        facts.extend(text.map(|text| ((*fact).to_owned(), text)));
    }
    if let Some((entry, name)) = said.next() {
        facts.insert("architecture".to_owned(), name.to_owned());
        facts.insert("said by".to_owned(), format!("'{entry}' in the checkpoint"));
    }
    if let Some(classes) = get(root, "class_to_idx").and_then(|(_, map)| objects.dict(map)) {
        let numbered = objects
            .named(classes)
            .filter_map(|(name, class)| match class {
                Value::Int(class) => Some((name.to_owned(), class.into())),
                _ => None,
            });
        let map = serde_json::Map::from_iter(numbered);
        facts.insert(
            "labels".to_owned(),
            serde_json::Value::Object(map).to_string(),
        );
    }
    facts
}

/// An argument of plain data.
fn json(objects: &Objects<'_>, value: Value<'_>) -> Option<serde_json::Value> {
    Some(match value {
        Value::None => serde_json::Value::Null,
        Value::Int(number) => number.into(),
        Value::Float(number) => number.into(),
        Value::Text(text) if text.len() <= MAX_NAME_BYTES => text.into(),
        Value::List(id) | Value::Tuple(id) => {
            let items = objects.items(id).iter().take(MAX_ITEMS);
            let numbers = items.map(|&item| match item {
                Value::Int(number) => Some(number.into()),
                Value::Float(number) => Some(number.into()),
                _ => None,
            });
            serde_json::Value::Array(numbers.collect::<Option<_>>()?)
        }
        _ => return None,
    })
}
