//! Tuned choices on disk: one JSON file per device and kind of plan.
//!
//! A file is only evidence: its choices are looked up among the planner's current candidates, and
//! it is ignored unless everything that can affect the measurements is unchanged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_128;

use super::Tuned;
use crate::error::Error;
use crate::gpu::Context;
use crate::graph::Graph;
use crate::internals::files::{lock_beside, read_cache, write_cache};
use crate::kernels;
use crate::plan::{Choices, ConvShape, PlanOptions, candidates};

/// The version of the file format.
const SCHEMA_VERSION: u32 = 1;

/// Maximum file size: a network of a thousand distinct layers needs a tenth of this.
const MAX_BYTES: u64 = 4 << 20;

/// Everything that a measurement depends on, apart from the layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CacheKey {
    adapter: String,
    vendor: u32,
    device: u32,
    backend: String,
    driver: String,
    driver_info: String,
    features: String,
    path: String,
    winograd: String,
    precision: String,
    /// The version of this crate.
    version: String,
    /// The version of wgpu, which translates the shaders.
    wgpu: String,
    /// [`kernels::set_hash`].
    kernel_set_hash: String,
}

impl CacheKey {
    pub(crate) fn new(context: &Context, options: &PlanOptions, wgpu_version: &str) -> Self {
        let info = &context.info;
        Self {
            adapter: info.name.clone(),
            vendor: info.vendor,
            device: info.device,
            backend: info.backend.to_string(),
            driver: info.driver.clone(),
            driver_info: info.driver_info.clone(),
            features: format!("{:?}", context.device.features()),
            path: options.path.to_string(),
            winograd: options.winograd.to_string(),
            precision: options.precision.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            wgpu: wgpu_version.to_owned(),
            kernel_set_hash: format!("{:032x}", kernels::set_hash()),
        }
    }

    /// Whether it is about this adapter with this driver, however it is used.
    #[cfg(feature = "cpu")]
    pub(crate) fn is_of(&self, info: &wgpu::AdapterInfo) -> bool {
        self.adapter == info.name
            && self.backend == info.backend.to_string()
            && self.driver == info.driver
            && self.driver_info == info.driver_info
    }

    /// The name of the key's file.
    pub(crate) fn file_name(&self, kind: &str) -> String {
        // A map of strings and numbers can always be written as JSON.
        let text = serde_json::to_string(self).unwrap_or_default();
        format!("{kind}-{:032x}.json", XxHash3_128::oneshot(text.as_bytes()))
    }
}

/// The contents of a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    schema_version: u32,
    key: CacheKey,
    /// Entries by the name of the layer's shape.
    layers: BTreeMap<String, Entry>,
}

/// A layer with a choice other than the default.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    choice: String,
    ms: f64,
    default_ms: f64,
}

/// Tuned choices for a device and a kind of plan, in a file.
#[derive(Clone, Debug)]
pub struct TuneCache {
    key: CacheKey,
    file: PathBuf,
}

impl TuneCache {
    /// The cache in a folder for a device and its plan options; neither file nor folder need exist
    /// yet. wgpu does not report its version, but the caller may know it.
    pub fn new(
        folder: &Path,
        context: &Context,
        options: &PlanOptions,
        wgpu_version: &str,
    ) -> Self {
        Self::of(folder, CacheKey::new(context, options, wgpu_version))
    }

    fn of(folder: &Path, key: CacheKey) -> Self {
        let file = folder.join(key.file_name("tuned"));
        Self { key, file }
    }

    /// The path of the file, whether or not it exists.
    #[doc(hidden)]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Loads the choices stored for the layers of a graph; none if there is no file. A choice that
    /// is not among its layer's current candidates is left out.
    ///
    /// # Errors
    /// [`Error::Cache`] if the file is damaged or belongs to another key; the defaults still serve.
    pub fn load(&self, graph: &Graph, options: &PlanOptions) -> Result<Choices, Error> {
        let Some(record) = self.read()? else {
            return Ok(Choices::default());
        };
        let mut choices = Choices::default();
        for shape in graph.nodes().iter().filter_map(|n| ConvShape::of(graph, n)) {
            let Some(entry) = record.layers.get(&shape.to_string()) else {
                continue;
            };
            let mut possible = candidates(&shape, options)?.into_iter();
            match possible.find(|candidate| candidate.to_string() == entry.choice) {
                Some(candidate) => choices.set(shape, candidate),
                None => log::debug!("{shape}: '{}' is not a candidate", entry.choice),
            }
        }
        Ok(choices)
    }

    /// Stores the results, next to those for other layers under the same key. A layer whose default
    /// won loses its entry, and so do all measured layers if the network did not get faster.
    ///
    /// # Errors
    /// [`Error::Cache`] if the folder or the file cannot be written.
    pub fn store(&self, tuned: &Tuned) -> Result<(), Error> {
        // What another process may store meanwhile must not be lost.
        let _lock = lock_beside(&self.file);
        // An unreadable file is not worth keeping.
        let mut layers = match self.read() {
            Ok(Some(record)) => record.layers,
            Ok(None) | Err(_) => BTreeMap::new(),
        };
        let choices = &tuned.choices;
        for layer in &tuned.layers {
            let name = layer.shape.to_string();
            match choices.get(&layer.shape) {
                Some(choice) => {
                    let entry = Entry {
                        choice: choice.to_string(),
                        ms: layer.choice_ms,
                        default_ms: layer.default_ms,
                    };
                    layers.insert(name, entry);
                }
                None => {
                    layers.remove(&name);
                }
            }
        }
        let record = Record {
            schema_version: SCHEMA_VERSION,
            key: self.key.clone(),
            layers,
        };
        // A record of strings and finite numbers has a JSON form.
        let json = serde_json::to_vec_pretty(&record).unwrap_or_default();
        write_cache(&self.file, &json)
    }

    /// The record; `None` if there is no file.
    fn read(&self) -> Result<Option<Record>, Error> {
        let broken = |reason: String| {
            let path = self.file.clone();
            Err(Error::Cache { path, reason })
        };
        match read_cache::<Record>(&self.file, MAX_BYTES)? {
            Some(record) if record.schema_version != SCHEMA_VERSION => {
                broken(format!("has schema version {}", record.schema_version))
            }
            Some(record) if record.key != self.key => {
                broken("was written for another device, driver or version".to_owned())
            }
            record => Ok(record),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::graph::{Conv2d, Op};
    use crate::plan::buffers::OnBuffers;
    use crate::plan::{Candidate, Capabilities};
    use crate::tensor::{Shape, Tensor};
    use crate::tune::{NetworkTimes, TunedLayer};

    fn key(driver: &str) -> CacheKey {
        CacheKey {
            adapter: "Test GPU".to_owned(),
            vendor: 1,
            device: 2,
            backend: "vulkan".to_owned(),
            driver: driver.to_owned(),
            driver_info: "1.0".to_owned(),
            features: String::new(),
            path: "auto".to_owned(),
            winograd: "auto".to_owned(),
            precision: "f32".to_owned(),
            version: "1.2.3".to_owned(),
            wgpu: "4.5.6".to_owned(),
            kernel_set_hash: "00".to_owned(),
        }
    }

    /// Convolutions from 8 channels to each of these channel counts.
    fn graph(outputs: &[usize]) -> Graph {
        let mut graph = Graph::new();
        let input = graph.input("input", Shape::new(1, 8, 6, 5)).unwrap();
        for &out_c in outputs {
            let weight = Tensor::from_fn(&[out_c, 8, 1, 1], |_| 1.0);
            let weight = graph.param(format!("weight{out_c}"), weight);
            let conv = Op::Conv2d(Conv2d::new(weight));
            let y = graph.add(&format!("conv{out_c}"), conv, &[input]).unwrap();
            graph.mark_output(y).unwrap();
        }
        graph
    }

    fn shapes(graph: &Graph) -> Vec<ConvShape> {
        let nodes = graph.nodes().iter();
        nodes.filter_map(|n| ConvShape::of(graph, n)).collect()
    }

    /// Results in which the last candidate of each layer won, or the default did.
    fn tuned(graph: &Graph, faster: bool, default_wins: bool) -> Tuned {
        let layer = |shape: ConvShape| {
            let possible = candidates(&shape, &PlanOptions::new(Capabilities::default())).unwrap();
            let last = possible[possible.len() - 1];
            assert_ne!(possible[0], last, "something to choose");
            TunedLayer {
                shape,
                count: 1,
                measured: possible.len(),
                wrong: 0,
                default: possible[0],
                default_ms: 2.0,
                choice: if default_wins { possible[0] } else { last },
                choice_ms: 1.0,
            }
        };
        let layers: Vec<TunedLayer> = shapes(graph).into_iter().map(layer).collect();
        let choices = Tuned::winners(&layers);
        Tuned {
            choices: if faster { choices } else { Choices::default() },
            layers,
            unmeasured: 0,
            networks: Some(NetworkTimes {
                default_ms: 2.0,
                tuned_ms: 1.0,
                faster,
            }),
        }
    }

    fn load(cache: &TuneCache, graph: &Graph) -> Result<Choices, Error> {
        cache.load(graph, &PlanOptions::new(Capabilities::default()))
    }

    #[track_caller]
    fn assert_refused(cache: &TuneCache, reason: &str) {
        let error = load(cache, &graph(&[4])).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
        assert!(error.contains(&cache.file.display().to_string()), "{error}");
    }

    #[test]
    fn what_is_stored_is_loaded_for_the_same_key_and_shape_only() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("not").join("yet");
        let cache = TuneCache::of(&folder, key("a"));
        let other_driver = TuneCache::of(&folder, key("b"));
        let stored = graph(&[4, 8]);
        let found = tuned(&stored, true, false);
        assert!(load(&cache, &stored).unwrap().is_empty(), "no file");
        cache.store(&found).unwrap();
        assert_eq!(load(&cache, &stored).unwrap(), found.choices);
        assert_eq!(found.choices.len(), 2);
        assert!(load(&other_driver, &stored).unwrap().is_empty(), "driver");
        let other = load(&cache, &graph(&[8, 12])).unwrap();
        assert_eq!(other.len(), 1, "12 outputs were never measured");
        let files = fs::read_dir(folder).unwrap();
        assert_eq!(
            files.count(),
            2,
            "the choices and their lock; nothing temporary"
        );
    }

    #[test]
    fn a_second_result_replaces_its_own_layers_and_keeps_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let cache = TuneCache::of(folder.path(), key("a"));
        let both = graph(&[4, 8]);
        let stored = || load(&cache, &both).unwrap().len();
        cache.store(&tuned(&graph(&[4]), true, false)).unwrap();
        cache.store(&tuned(&graph(&[8]), true, false)).unwrap();
        assert_eq!(stored(), 2, "one after the other");
        cache.store(&tuned(&graph(&[8]), true, true)).unwrap();
        assert_eq!(stored(), 1, "the default of one layer won");
        cache.store(&tuned(&both, false, false)).unwrap();
        assert_eq!(stored(), 0, "the network did not get faster");
    }

    #[test]
    fn a_damaged_foreign_or_enormous_file_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let cache = TuneCache::of(folder.path(), key("a"));
        let found = tuned(&graph(&[4]), true, false);
        cache.store(&found).unwrap();
        let path = &cache.file;
        let good = fs::read_to_string(path).unwrap();
        for length in [0, 1, good.len() / 2, good.len() - 3] {
            fs::write(path, &good[..length]).unwrap();
            assert_refused(&cache, "is damaged");
        }
        fs::write(path, [0xFF, 0xFE]).unwrap();
        assert_refused(&cache, "is damaged");
        let newer = good.replace("\"schema_version\": 1", "\"schema_version\": 2");
        fs::write(path, newer).unwrap();
        assert_refused(&cache, "schema version 2");
        let foreign = TuneCache::of(folder.path(), key("b"));
        foreign.store(&found).unwrap();
        fs::copy(foreign.file, path).unwrap();
        assert_refused(&cache, "for another device");
        let length = usize::try_from(MAX_BYTES).unwrap() + 1;
        fs::write(path, vec![b' '; length]).unwrap();
        assert_refused(&cache, "is larger than");
        cache.store(&found).unwrap();
        let loaded = load(&cache, &graph(&[4])).unwrap();
        assert_eq!(loaded, found.choices, "written anew");
    }

    #[test]
    fn a_choice_that_is_no_candidate_any_more_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let cache = TuneCache::of(folder.path(), key("a"));
        let graph = graph(&[4]);
        let found = tuned(&graph, true, false);
        cache.store(&found).unwrap();
        let path = &cache.file;
        let choice = found.choices.get(&shapes(&graph)[0]).unwrap();
        let good = fs::read_to_string(path).unwrap();
        assert!(good.contains(&choice.to_string()), "{good}");
        for other in [
            Candidate::Buffers(OnBuffers::Grouped).to_string(),
            "../../etc".to_owned(),
        ] {
            fs::write(path, good.replace(&choice.to_string(), &other)).unwrap();
            assert!(load(&cache, &graph).unwrap().is_empty(), "{other}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let cache = TuneCache::of(&file.join("below"), key("a"));
        let error = cache.store(&tuned(&graph(&[4]), true, false));
        assert!(matches!(error, Err(Error::Cache { .. })), "{error:?}");
    }
}
