//! Patterns such as `photos/**/*.jpg`, for shells that do not expand them. Names are treated as
//! bytes: those that are not UTF-8 are matched and returned like all others.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

/// Characters that make an argument a pattern.
const WILD: [char; 3] = ['*', '?', '['];

/// A matching path, or a path that could not be read and the reason.
pub(crate) type Found = Result<PathBuf, (PathBuf, io::Error)>;

/// One part of a pattern.
enum Part {
    Name(OsString),
    /// A name with wildcards; names that start with a dot match only if the pattern does, too.
    Like {
        matcher: GlobMatcher,
        hidden: bool,
    },
    /// `**`, any number of folders; links are not followed.
    Folders,
}

/// Whether an argument is a pattern: it has wildcards and is not the name of a file.
pub(crate) fn is_pattern(path: &Path) -> bool {
    let is_wild = path.to_string_lossy().contains(WILD);
    is_wild && fs::symlink_metadata(path).is_err()
}

/// The paths that match a pattern, in alphabetical order.
///
/// # Errors
/// A description of what is wrong with the pattern.
pub(crate) fn expand(pattern: &Path) -> Result<Vec<Found>, String> {
    let mut parts: Vec<Part> = pattern.components().map(part).collect::<Result<_, _>>()?;
    if let Some(Part::Folders) = parts.last() {
        parts.push(part(Component::Normal("*".as_ref()))?);
    }
    let mut found = Vec::new();
    walk(&PathBuf::new(), &parts, &mut found);
    Ok(found)
}

fn part(component: Component<'_>) -> Result<Part, String> {
    let name = component.as_os_str();
    if name == "**" {
        return Ok(Part::Folders);
    }
    let Some(text) = name.to_str().filter(|text| text.contains(WILD)) else {
        return Ok(Part::Name(name.to_owned()));
    };
    let glob = GlobBuilder::new(text)
        .literal_separator(true)
        .backslash_escape(false)
        .case_insensitive(cfg!(windows))
        .build();
    let matcher = glob.map_err(|error| error.to_string())?.compile_matcher();
    let hidden = text.starts_with('.');
    Ok(Part::Like { matcher, hidden })
}

fn walk(folder: &Path, parts: &[Part], found: &mut Vec<Found>) {
    let Some((first, rest)) = parts.split_first() else {
        found.push(Ok(folder.to_owned()));
        return;
    };
    match first {
        Part::Name(name) => {
            let path = folder.join(name);
            if fs::symlink_metadata(&path).is_ok() {
                walk(&path, rest, found);
            }
        }
        Part::Like { matcher, hidden } => {
            for path in entries(folder, *hidden, found) {
                let matches = path.file_name().is_some_and(|name| matcher.is_match(name));
                if matches && (rest.is_empty() || path.is_dir()) {
                    walk(&path, rest, found);
                }
            }
        }
        Part::Folders => {
            walk(folder, rest, found);
            for path in entries(folder, false, found) {
                if path.is_dir() && !path.is_symlink() {
                    walk(&path, parts, found);
                }
            }
        }
    }
}

/// The contents of a folder, sorted.
fn entries(folder: &Path, hidden: bool, found: &mut Vec<Found>) -> Vec<PathBuf> {
    let read = match folder.as_os_str().is_empty() {
        true => fs::read_dir("."),
        false => fs::read_dir(folder),
    };
    let names = read.and_then(|entries| {
        let names = entries.map(|entry| Ok(entry?.file_name()));
        names.collect::<io::Result<Vec<OsString>>>()
    });
    let mut names = names.unwrap_or_else(|error| {
        found.push(Err((folder.to_owned(), error)));
        Vec::new()
    });
    names.retain(|name| hidden || !name.as_encoded_bytes().starts_with(b"."));
    names.sort();
    names.into_iter().map(|name| folder.join(name)).collect()
}
