//! What the Vulkan loader reads about Mesa's software driver. Loading the driver to ask for its version
//! would settle its vector width.

use std::env;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

/// Where the loader looks for drivers unless it is told.
const FOLDERS: [&str; 3] = [
    "/etc/vulkan/icd.d",
    "/usr/local/share/vulkan/icd.d",
    "/usr/share/vulkan/icd.d",
];

/// Whether there are manifests of lavapipe, all of them of Mesa 22.3.
pub(crate) fn are_of_mesa_22_3() -> bool {
    let mut lavapipes = files().into_iter().filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("lvp_icd.") && name.ends_with(".json")
    });
    let is = |path: PathBuf| fs::read(path).is_ok_and(|text| is_of_mesa_22_3(&text));
    lavapipes.next().is_some_and(is) && lavapipes.all(is)
}

fn files() -> Vec<PathBuf> {
    let set = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"].map(env::var_os);
    if let Some(list) = set.into_iter().flatten().find(|list| !list.is_empty()) {
        return env::split_paths(&list).collect();
    }
    let folders = FOLDERS.into_iter().filter_map(|f| fs::read_dir(f).ok());
    folders.flatten().flatten().map(|f| f.path()).collect()
}

/// A manifest has the version of the Vulkan headers that the driver was built with: the last
/// number is 230 in all of Mesa 22.3.
fn is_of_mesa_22_3(manifest: &[u8]) -> bool {
    let Ok(manifest) = serde_json::from_slice::<Value>(manifest) else {
        return false;
    };
    let version = manifest.pointer("/ICD/api_version").and_then(Value::as_str);
    version.is_some_and(|version| version.ends_with(".230"))
}

#[cfg(test)]
#[path = "../tests/unit/manifests.rs"]
mod tests;
