//! Images from the command line: files, folders and patterns, in batches.
//!
//! Images are decoded ahead, on all cores, while the network runs on earlier ones.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use resnet_wgpu::Error;
use resnet_wgpu::internals::files::{read_all, read_at_most};
use resnet_wgpu::picture::{Batch, Preprocess, Reader};
use serde::Serialize;

use crate::args::ImagesArgs;
use crate::escape::shown;
use crate::failure::{Failure, advised, complain};
use crate::patterns;
use crate::progress::Bars;

/// Extensions of the image files that are taken from a folder.
const ENDINGS: [&str; 14] = [
    "jpg", "jpeg", "jfif", "mpo", "png", "webp", "gif", "bmp", "tif", "tiff", "tga", "ppm", "pgm",
    "pbm",
];

/// The extension of arrays, for networks of other channels than colours.
const ARRAY: &str = "npy";

/// The argument that stands for stdin.
const STDIN: &str = "-";

/// Maximum size of an image file in bytes.
const MAX_FILE: u64 = 1 << 30;

/// An image that could not be read.
#[derive(Debug, Serialize)]
pub(crate) struct Unreadable {
    image: String,
    error: String,
}

/// An image at the network's size, and the time that it took.
type Decoded = (Result<Batch, Error>, Duration);

/// All images given to a command, read batch by batch. Each one that cannot be read is reported as
/// a line on stderr, and the rest continue.
#[derive(Debug)]
pub(crate) struct Images {
    paths: Vec<PathBuf>,
    /// Images per batch.
    batch: usize,
    /// Number of images in the batches returned so far.
    given: usize,
    /// The images after those, in order, which are being decoded or are ready.
    ahead: VecDeque<Receiver<Decoded>>,
    /// The time spent on decoding and resizing, summed over all threads.
    pub(crate) decoding: Duration,
    reader: Reader,
    /// Whether folders within folders are searched.
    recursive: bool,
    errors: Vec<Unreadable>,
    bars: Bars,
}

/// The readable pictures of a batch.
#[derive(Debug)]
pub(crate) struct Readable {
    pub(crate) paths: Vec<PathBuf>,
    /// Padded to the size that a plan for whole batches expects; results for the padding are
    /// dropped.
    pub(crate) batch: Batch,
}

/// Reads an image file, or stdin.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let bytes = if path == Path::new(STDIN) {
        read_all(io::stdin().lock(), MAX_FILE)
    } else {
        read_at_most(path, MAX_FILE)
    };
    bytes.map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}

impl Images {
    /// Finds the images that the arguments stand for: files, the images in folders, and the matches
    /// of patterns.
    pub(crate) fn find(args: &ImagesArgs, quiet: bool) -> Self {
        let mut images = Self {
            paths: Vec::new(),
            batch: 1,
            given: 0,
            ahead: VecDeque::new(),
            decoding: Duration::ZERO,
            reader: args.read.reader(),
            recursive: args.recursive,
            errors: Vec::new(),
            bars: Bars::new(quiet),
        };
        for argument in &args.images {
            images.add(argument);
        }
        // Padding costs time, so a batch is no larger than the number of images.
        images.batch = args.batch.count.min(images.paths.len()).max(1);
        images
    }

    /// Images per batch.
    pub(crate) const fn batch(&self) -> usize {
        self.batch
    }

    /// Sets batches to one image, for a network that runs every image in its own size.
    pub(crate) const fn one_by_one(&mut self) {
        self.batch = 1;
    }

    /// The next batch that contains a readable image. The images of the batch after it are decoded
    /// meanwhile, and one more for each core: that bounds the memory, since of a large picture
    /// only what the network sees is kept.
    ///
    /// # Errors
    /// [`Error::Preprocess`], which would fail for every image.
    pub(crate) fn next_batch(&mut self, rules: &Preprocess) -> Result<Option<Readable>, Error> {
        loop {
            if self.given > 0 {
                self.bars.images(self.given, self.paths.len());
            }
            let asked = self.batch.min(self.paths.len() - self.given);
            if asked == 0 {
                return Ok(None);
            }
            self.decode_ahead(2 * self.batch + rayon::current_num_threads(), rules);
            let readable = self.take(asked)?;
            self.given += asked;
            if readable.is_some() {
                return Ok(readable);
            }
        }
    }

    /// Prints while the progress bar is hidden.
    pub(crate) fn while_hidden<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bars.while_hidden(print)
    }

    /// The images that could not be read.
    pub(crate) fn into_errors(self) -> Vec<Unreadable> {
        self.errors
    }

    /// Starts to decode images until so many are ready or being decoded.
    fn decode_ahead(&mut self, count: usize, rules: &Preprocess) {
        let started = self.given + self.ahead.len();
        let wanted = count.saturating_sub(self.ahead.len());
        for path in self.paths[started..].iter().take(wanted) {
            let (sender, receiver) = channel();
            let (path, reader, rules) = (path.clone(), self.reader, *rules);
            rayon::spawn(move || {
                let start = Instant::now();
                let prepare =
                    || read(&path).and_then(|bytes| reader.prepare(&path, &bytes, &rules));
                // A decoder that panics costs its image, and not those that are decoded already.
                if let Ok(part) = catch_unwind(AssertUnwindSafe(prepare)) {
                    // Nobody waits for it any more if an earlier image ended the command.
                    let _ = sender.send((part, start.elapsed()));
                }
            });
            self.ahead.push_back(receiver);
        }
    }

    /// Waits for the next images, and joins those that are readable.
    fn take(&mut self, count: usize) -> Result<Option<Readable>, Error> {
        let mut paths = Vec::new();
        let mut parts = Vec::new();
        let decoded = self.ahead.drain(..count).map(|image| image.recv());
        let decoded: Vec<_> = decoded.collect();
        for (index, decoded) in decoded.into_iter().enumerate() {
            let path = self.paths[self.given + index].clone();
            let Ok((part, time)) = decoded else {
                self.refuse(&path, "decoding it failed");
                continue;
            };
            self.decoding += time;
            match part {
                Ok(part) => {
                    paths.push(path);
                    parts.push(part);
                }
                Err(error @ Error::Preprocess { .. }) => return Err(error),
                Err(error) => self.refuse(&path, &advised(&error)),
            }
        }
        if parts.is_empty() {
            return Ok(None);
        }
        let batch = Batch::join(&parts, self.batch)?;
        Ok(Some(Readable { paths, batch }))
    }

    /// An existing path is used as it is, whatever characters it contains.
    fn add(&mut self, argument: &Path) {
        if patterns::is_pattern(argument) {
            return self.add_matches(argument);
        }
        let found = self.listed(argument);
        self.paths.extend(found);
    }

    /// Expands a pattern as a shell would, but lists each image once: `**` matches a folder and
    /// everything below it.
    fn add_matches(&mut self, argument: &Path) {
        let matches = match patterns::expand(argument) {
            Ok(matches) => matches,
            Err(error) => {
                let reason = format!("neither a file nor a pattern: {error}");
                return self.refuse(argument, &reason);
            }
        };
        let mut seen = HashSet::new();
        let mut none = true;
        for found in matches {
            none = false;
            match found {
                Ok(path) => {
                    let mut images = self.listed(&path);
                    images.retain(|image| seen.insert(image.clone()));
                    self.paths.extend(images);
                }
                Err((path, error)) => self.refuse(&path, &error.to_string()),
            }
        }
        if none {
            self.refuse(argument, "no such file, and as a pattern it matches none");
        }
    }

    /// The path itself, or the images in a folder.
    fn listed(&mut self, path: &Path) -> Vec<PathBuf> {
        if !path.is_dir() {
            return vec![path.to_owned()];
        }
        let pictures = images_of(path, self.recursive, |ending| ENDINGS.contains(&ending));
        let found = pictures.and_then(|found| match &found[..] {
            [] => images_of(path, self.recursive, |ending| ending == ARRAY),
            _ => Ok(found),
        });
        match found {
            Ok(found) if found.is_empty() => {
                let endings = ENDINGS.join(", ");
                let reason = format!("no image in it: no name ends with {endings}");
                self.refuse(path, &reason);
                found
            }
            Ok(found) => found,
            Err(error) => {
                self.refuse(path, &error.to_string());
                Vec::new()
            }
        }
    }

    /// Reports that the network cannot run an image in a size of its own; the rest continue.
    pub(crate) fn refuse_size(&mut self, image: &Path, failure: Failure) {
        if let Some(message) = failure.into_message() {
            self.refuse(image, &message);
        }
    }

    fn refuse(&mut self, image: &Path, error: &str) {
        // The library replaces bytes that are not UTF-8.
        let lossy = image.to_string_lossy();
        let image = shown(image);
        let error = if error.contains(&*lossy) {
            error.replace(&*lossy, &image)
        } else {
            format!("'{image}': {error}")
        };
        self.while_hidden(|| complain(&error));
        self.errors.push(Unreadable { image, error });
    }
}

/// The images in a folder, in alphabetical order; links to folders are not followed.
fn images_of(
    folder: &Path,
    recursive: bool,
    is_image: fn(&str) -> bool,
) -> io::Result<Vec<PathBuf>> {
    let mut entries = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<PathBuf>>>()?;
    entries.sort();
    let mut images = Vec::new();
    for path in entries {
        let ending = path.extension().and_then(|ending| ending.to_str());
        let ending = ending.map(str::to_lowercase).unwrap_or_default();
        if recursive && path.is_dir() && !path.is_symlink() {
            images.extend(images_of(&path, true, is_image)?);
        } else if is_image(&ending) && path.is_file() {
            images.push(path);
        }
    }
    Ok(images)
}
