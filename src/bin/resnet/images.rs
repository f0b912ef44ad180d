//! Images from the command line: files, and folders of them.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use resnet_wgpu::image::Picture;
use serde::Serialize;

use crate::failure::complain;

/// Endings of the files that are taken from a folder.
const ENDINGS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// An image without an answer.
#[derive(Debug, Serialize)]
pub(crate) struct Unreadable {
    image: String,
    error: String,
}

/// Folders become the images in them, by name.
pub(crate) fn expand(paths: &[PathBuf], errors: &mut Vec<Unreadable>) -> Vec<PathBuf> {
    let mut images = Vec::new();
    for path in paths {
        if !path.is_dir() {
            images.push(path.clone());
            continue;
        }
        match images_of(path) {
            Ok(found) if found.is_empty() => refuse(
                errors,
                path,
                &format!("no image in it: nothing ends with {}", ENDINGS.join(", ")),
            ),
            Ok(found) => images.extend(found),
            Err(error) => refuse(errors, path, &error.to_string()),
        }
    }
    images
}

fn images_of(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut images = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        let is_image = ending.is_some_and(|e| ENDINGS.contains(&e.to_lowercase().as_str()));
        if is_image && path.is_file() {
            images.push(path);
        }
    }
    images.sort();
    Ok(images)
}

/// Decodes images on all cores. Those that cannot be read are one line on stderr each.
pub(crate) fn decode<'a>(
    paths: &'a [PathBuf],
    errors: &mut Vec<Unreadable>,
) -> (Vec<&'a PathBuf>, Vec<Picture>) {
    let decoded: Vec<_> = paths.par_iter().map(Picture::open).collect();
    let mut good = Vec::new();
    let mut pictures = Vec::new();
    for (path, picture) in paths.iter().zip(decoded) {
        match picture {
            Ok(picture) => {
                good.push(path);
                pictures.push(picture);
            }
            Err(error) => refuse(errors, path, &error.to_string()),
        }
    }
    (good, pictures)
}

fn refuse(errors: &mut Vec<Unreadable>, image: &Path, error: &str) {
    let image = image.display().to_string();
    let error = if error.contains(&image) {
        error.to_owned()
    } else {
        format!("'{image}': {error}")
    };
    complain(&error);
    errors.push(Unreadable { image, error });
}
