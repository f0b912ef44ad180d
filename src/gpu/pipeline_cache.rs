//! Stores the driver's compiled pipelines in a file, for the next start.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use twox_hash::XxHash3_128;

use super::guarded;
use crate::error::Error;
use crate::internals::files::{read_at_most, write_cache};

/// The first bytes of a file, followed by the checksum of the rest.
const MAGIC: &[u8] = b"resnet-wgpu pipelines 1\n";
const CHECKSUM_BYTES: usize = 16;

/// The maximum size of a file: a pipeline takes some tens of kilobytes.
const MAX_BYTES: u64 = 64 << 20;

/// wgpu's pipeline cache in a file, for backends that have one (Vulkan).
#[derive(Debug)]
pub struct PipelineCacheFile {
    path: PathBuf,
    cache: wgpu::PipelineCache,
    /// The checksum of what the file holds.
    stored: Mutex<[u8; CHECKSUM_BYTES]>,
}

impl PipelineCacheFile {
    /// The cache of a device in a folder, which is empty if there is no file; `None` if the device
    /// has no pipeline caches. A damaged file is reported by one line in the log and not used.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the driver refuses even an empty cache.
    pub fn open(device: &wgpu::Device, folder: &Path) -> Result<Option<Self>, Error> {
        let has_feature = device.features().contains(wgpu::Features::PIPELINE_CACHE);
        let key = wgpu::util::pipeline_cache_key(&device.adapter_info()).filter(|_| has_feature);
        let Some(key) = key else { return Ok(None) };
        let path = folder.join(format!("{key}.pipelines"));
        let stored = match read(&path) {
            Ok(stored) => stored,
            Err(error) => {
                log::warn!("{error}; pipelines are compiled again");
                Vec::new()
            }
        };
        let cache = guarded(device, "pipeline cache", || create(device, &stored))?;
        Ok(Some(Self {
            path,
            cache,
            stored: Mutex::new(checksum(&stored)),
        }))
    }

    /// The cache, for [`Pipelines::new`](super::Pipelines::new).
    pub fn cache(&self) -> &wgpu::PipelineCache {
        &self.cache
    }

    /// Writes the cache if anything was added since the file was read, and returns whether it was.
    ///
    /// # Errors
    /// [`Error::Cache`] if the file cannot be written.
    pub fn store(&self) -> Result<bool, Error> {
        let data = self.cache.get_data().unwrap_or_default();
        let sum = checksum(&data);
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        if *stored == sum {
            return Ok(false);
        }
        let file = [MAGIC, &sum, &data].concat();
        write_cache(&self.path, &file)?;
        *stored = sum;
        Ok(true)
    }
}

#[expect(
    unsafe_code,
    reason = "the only way to make a pipeline cache; what is passed to it was checked"
)]
fn create(device: &wgpu::Device, data: &[u8]) -> wgpu::PipelineCache {
    // SAFETY: the data is empty or comes from `PipelineCache::get_data`: it was read from a file in
    // the user's own folder whose checksum is right, and only `store` writes such files. wgpu and
    // the driver refuse data of another device or version, and fall back to an empty cache.
    unsafe {
        device.create_pipeline_cache(&wgpu::PipelineCacheDescriptor {
            label: Some("resnet-wgpu"),
            data: (!data.is_empty()).then_some(data),
            fallback: true,
        })
    }
}

fn checksum(data: &[u8]) -> [u8; CHECKSUM_BYTES] {
    XxHash3_128::oneshot(data).to_le_bytes()
}

/// The data of a file; empty if there is none.
fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let unusable = |reason: String| {
        let path = path.to_path_buf();
        Err(Error::Cache { path, reason })
    };
    let file = match read_at_most(path, MAX_BYTES) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return unusable(error.to_string()),
    };
    match decode(&file) {
        Some(data) => Ok(data.to_vec()),
        None => unusable("is damaged".to_owned()),
    }
}

fn decode(file: &[u8]) -> Option<&[u8]> {
    let (sum, data) = file.strip_prefix(MAGIC)?.split_at_checked(CHECKSUM_BYTES)?;
    (sum == checksum(data)).then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(data: &[u8]) -> Vec<u8> {
        [MAGIC, &checksum(data), data].concat()
    }

    #[test]
    fn only_a_whole_file_is_read() {
        let data: Vec<u8> = (0..=255).collect();
        let file = encode(&data);
        assert_eq!(decode(&file), Some(&data[..]), "as it was written");
        assert_eq!(decode(&encode(&[])), Some(&[][..]), "nothing");
        for end in 0..file.len() {
            assert_eq!(decode(&file[..end]), None, "{end} bytes of it");
        }
        for at in 0..file.len() {
            let mut file = file.clone();
            file[at] ^= 0x10;
            assert_eq!(decode(&file), None, "byte {at} is another");
        }
        assert_eq!(decode(&[file, vec![0]].concat()), None, "a byte more");
    }

    #[test]
    fn a_damaged_file_is_an_error_that_names_it_and_a_missing_one_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        assert_eq!(read(&path).unwrap(), [0u8; 0], "missing");
        std::fs::write(&path, "nonsense").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("damaged"), "{error}");
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
}
