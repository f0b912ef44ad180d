//! What was found about a device, on disk: one JSON file per device, driver, set of kernels and kind of
//! plan, beside those of tuning.
//!
//! A file is evidence, never an instruction. It has a checksum and the key of what it is about; what it says
//! is wrong is not used, and what it says is right is checked by samples: of kinds at every start, of networks at
//! some, by chance.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_128;

use super::{Check, SAMPLES, WrongKernel};
use crate::error::Error;
use crate::gpu::Context;
use crate::internals::files::{lock_beside, read_at_most, read_cache, write_cache};
use crate::plan::PlanOptions;
use crate::tune::cache::CacheKey;

/// The version of the file format.
const SCHEMA_VERSION: u32 = 2;

/// The largest accepted file: a network has some dozens of kinds of layers.
const MAX_BYTES: u64 = 1 << 20;

const KIND: &str = "checked";

/// The contents of a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    schema_version: u32,
    key: CacheKey,
    /// Kinds of layers.
    right: BTreeSet<String>,
    /// Plans of whole networks.
    networks: BTreeSet<String>,
    wrong: Vec<WrongKernel>,
    /// Of everything else.
    checksum: String,
}

impl Record {
    fn sum(&self) -> String {
        let Self {
            schema_version,
            key,
            right,
            networks,
            wrong,
            checksum: _,
        } = self;
        // Strings and finite numbers have a JSON form.
        let text =
            serde_json::to_vec(&(schema_version, key, right, networks, wrong)).unwrap_or_default();
        format!("{:032x}", XxHash3_128::oneshot(&text))
    }

    fn is_whole(&self) -> bool {
        self.schema_version == SCHEMA_VERSION && self.checksum == self.sum()
    }
}

/// What was found about a device, in a file.
#[derive(Clone, Debug)]
pub struct CheckCache {
    key: CacheKey,
    file: PathBuf,
}

impl CheckCache {
    /// The cache for a device and its plan options in a folder; neither file nor folder need exist yet.
    pub fn new(
        folder: &Path,
        context: &Context,
        options: &PlanOptions,
        wgpu_version: &str,
    ) -> Self {
        let key = CacheKey::new(context, options, wgpu_version);
        let file = folder.join(key.file_name(KIND));
        Self { key, file }
    }

    /// The file, whether it exists or not.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Lets a check believe what is stored, except for samples.
    ///
    /// # Errors
    /// [`Error::Cache`] if the file is damaged or belongs to another key: then everything is checked.
    /// Otherwise as [`Check::new`].
    pub fn load(&self, check: &mut Check) -> Result<(), Error> {
        match self.read()? {
            Some(record) => {
                check.believe_networks(record.networks);
                check.believe(record.right, &record.wrong, SAMPLES)
            }
            None => Ok(()),
        }
    }

    /// Stores what a check has found, next to what is stored for other kinds of layers.
    ///
    /// # Errors
    /// [`Error::Cache`] if the folder or the file cannot be written.
    pub fn store(&self, check: &Check) -> Result<(), Error> {
        let _lock = lock_beside(&self.file);
        let (mut right, mut networks) = (check.right(), check.networks().clone());
        let mut wrong = check.wrong().to_vec();
        // An unreadable file is not worth keeping, nor is one that another fault has refuted.
        if let Ok(Some(before)) = self.read()
            && before.wrong == wrong
        {
            if right.is_subset(&before.right) && networks.is_subset(&before.networks) {
                return Ok(());
            }
            right.extend(before.right);
            networks.extend(before.networks);
        }
        wrong.sort_by(|a, b| a.name.cmp(&b.name));
        let mut record = Record {
            schema_version: SCHEMA_VERSION,
            key: self.key.clone(),
            right,
            networks,
            wrong,
            checksum: String::new(),
        };
        record.checksum = record.sum();
        write_cache(
            &self.file,
            &serde_json::to_vec_pretty(&record).unwrap_or_default(),
        )
    }

    /// The kernels that are known to be wrong on an adapter, or on any, whatever the plans.
    pub fn wrong_on(folder: &Path, info: Option<&wgpu::AdapterInfo>) -> Vec<WrongKernel> {
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        let files = files.filter(|file| {
            let name = file.file_name();
            name.to_str().is_some_and(|name| {
                name.starts_with(KIND) && Path::new(name).extension().is_some_and(|e| e == "json")
            })
        });
        let records = files.filter_map(|file| {
            let bytes = read_at_most(&file.path(), MAX_BYTES).ok()?;
            let record: Record = serde_json::from_slice(&bytes).ok()?;
            let is_of = info.is_none_or(|info| record.key.is_of(info));
            (record.is_whole() && is_of).then_some(record.wrong)
        });
        let mut wrong: Vec<WrongKernel> = records.flatten().collect();
        wrong.sort_by(|a, b| a.name.cmp(&b.name));
        wrong.dedup_by(|a, b| a.name == b.name);
        wrong
    }

    /// The record; `None` if there is no file.
    fn read(&self) -> Result<Option<Record>, Error> {
        let broken = |reason: String| {
            let path = self.file.clone();
            Err(Error::Cache { path, reason })
        };
        match read_cache::<Record>(&self.file, MAX_BYTES)? {
            Some(record) if !record.is_whole() => {
                broken("has another version, or not its own checksum".to_owned())
            }
            Some(record) if record.key != self.key => {
                broken("was written for another device, driver or version".to_owned())
            }
            record => Ok(record),
        }
    }
}
