//! Classes and their names.

use resnet_wgpu::picture::Labels;

use crate::Refused;

/// The name of a class, or its number where nothing names it.
pub fn label(labels: Option<&Labels>, class: usize) -> String {
    let label = labels.and_then(|labels| labels.get(class));
    label.map_or_else(|| format!("class {class}"), str::to_owned)
}

/// Finds a class by its number or its label.
///
/// # Errors
/// [`Refused::Class`].
pub fn class_of(text: &str, labels: Option<&Labels>, classes: usize) -> Result<usize, Refused> {
    let refuse = |reason: String| Refused::Class {
        text: text.to_owned(),
        reason,
    };
    if let Ok(class) = text.parse::<usize>() {
        if class < classes {
            return Ok(class);
        }
        let last = classes.saturating_sub(1);
        return Err(refuse(format!("the network has the classes 0 to {last}")));
    }
    let Some(labels) = labels else {
        return Err(refuse(
            "the network has no labels; give the number of the class, or labels".to_owned(),
        ));
    };
    let names: Vec<(usize, &str)> = (0..classes)
        .filter_map(|class| Some((class, labels.get(class)?)))
        .collect();
    let wanted = text.to_lowercase();
    let find = |fits: &dyn Fn(&str) -> bool| -> Vec<(usize, &str)> {
        let matching = names.iter().filter(|(_, name)| fits(&name.to_lowercase()));
        matching.copied().collect()
    };
    let exact = find(&|name| name == wanted || name.split(", ").any(|part| part == wanted));
    let found = if exact.is_empty() {
        find(&|name| name.contains(&wanted))
    } else {
        exact
    };
    match found[..] {
        [(class, _)] => Ok(class),
        [] => Err(refuse("it is in no label".to_owned())),
        _ => {
            let names: Vec<String> = found
                .iter()
                .take(8)
                .map(|(class, name)| format!("{class} ({name})"))
                .collect();
            Err(refuse(format!(
                "it may be {}; give the number",
                names.join(", ")
            )))
        }
    }
}
