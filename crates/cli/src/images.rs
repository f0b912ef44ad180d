//! Images from the command line: files, folders and patterns, in batches.
//!
//! Images are decoded ahead, on all cores, while the network runs on earlier ones.

use std::collections::HashSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use resnet_run::{Ahead, Stages};
use resnet_wgpu::Error;
use resnet_wgpu::internals::files::{read_all, read_at_most};
use resnet_wgpu::picture::{Batch, Picture, Preprocess, Reader};
use serde::Serialize;

use crate::args::ImagesArgs;
use crate::escape::shown;
use crate::failure::{Failure, advised, complain};
use crate::patterns;
use crate::progress::Bars;
use crate::runner::Fit;

/// Extensions of the image files that are taken from a folder.
const ENDINGS: [&str; 15] = [
    "jpg", "jpeg", "jfif", "mpo", "png", "webp", "gif", "bmp", "tif", "tiff", "tga", "pnm", "ppm",
    "pgm", "pbm",
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

/// An image, at the network's size if it can be read, and the time that it took; nothing else of it if the
/// decoder panicked.
struct Decoded {
    path: PathBuf,
    part: Option<Result<Batch, Error>>,
    time: Duration,
}

/// A batch that has been run.
struct Answered<R> {
    /// The images that could be read.
    paths: Vec<PathBuf>,
    /// What the network made of them.
    result: Option<Result<Fit<R>, Failure>>,
    unreadable: Vec<(PathBuf, Option<Error>)>,
    decoding: Duration,
}

/// All images given to a command, read batch by batch. Each one that cannot be read is reported as
/// a line on stderr, and the rest continue.
#[derive(Debug)]
pub(crate) struct Images {
    paths: Vec<PathBuf>,
    /// Images per batch.
    batch: usize,
    /// The time spent on decoding and resizing, summed over all threads.
    pub(crate) decoding: Duration,
    reader: Reader,
    /// Whether folders within folders are searched.
    recursive: bool,
    errors: Vec<Unreadable>,
    bars: Bars,
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
        let mut images = Self::among(&args.images, args.recursive, args.read.reader(), quiet);
        // Padding costs time, so a batch is no larger than the number of images.
        images.batch = args.batch.count.min(images.paths.len()).max(1);
        images
    }

    /// Finds the images that some arguments stand for, to be run one by one.
    pub(crate) fn among(
        arguments: &[PathBuf],
        recursive: bool,
        reader: Reader,
        quiet: bool,
    ) -> Self {
        let mut images = Self {
            paths: Vec::new(),
            batch: 1,
            decoding: Duration::ZERO,
            reader,
            recursive,
            errors: Vec::new(),
            bars: Bars::new(quiet),
        };
        for argument in arguments {
            images.add(argument);
        }
        images
    }

    /// The images that were found.
    pub(crate) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Decodes one image in its own size; one that cannot be read is reported.
    pub(crate) fn decode(&mut self, path: &Path) -> Option<Picture> {
        let reader = self.reader;
        let decode = || read(path).and_then(|bytes| reader.decode(path, &bytes));
        match catch_unwind(AssertUnwindSafe(decode)) {
            Ok(Ok(picture)) => return Some(picture),
            Ok(Err(error)) => self.refuse(path, &advised(&error)),
            Err(_) => self.refuse(path, "decoding it failed"),
        }
        None
    }

    /// Shows how many images are done.
    pub(crate) fn progress(&mut self, done: usize, total: usize) {
        self.bars.images(done, total);
    }

    /// Images per batch.
    pub(crate) const fn batch(&self) -> usize {
        self.batch
    }

    /// Sets batches to one image, for a network that runs every image in its own size.
    pub(crate) const fn one_by_one(&mut self) {
        self.batch = 1;
    }

    /// Decodes all images on all cores, runs them in batches, padded to the size that a plan for whole ones
    /// expects, and hands over the answers in order, all at the same time ([`Ahead`]).
    ///
    /// # Errors
    /// The first of `run` and `take`, and [`Error::Preprocess`], which every image would meet.
    pub(crate) fn answer<R: Send>(
        &mut self,
        rules: &Preprocess,
        runs: usize,
        run: impl Fn(&Batch) -> Result<Fit<R>, Failure> + Sync,
        mut take: impl FnMut(&Self, &[PathBuf], R) -> Result<(), Failure>,
    ) -> Result<Stages, Failure> {
        let mut paths = std::mem::take(&mut self.paths).into_iter();
        let (total, mut given) = (paths.len(), 0);
        let (reader, batch) = (self.reader, self.batch);
        let ahead = Ahead {
            threads: None,
            group: batch,
            runs,
        };
        ahead.run(
            || Ok(paths.next()),
            |path| Decoded::new(path, reader, rules),
            |images| Answered::new(images, batch, &run),
            |answered: Answered<R>| {
                given += answered.paths.len() + answered.unreadable.len();
                self.decoding += answered.decoding;
                for (path, error) in answered.unreadable {
                    match error {
                        Some(error @ Error::Preprocess { .. }) => return Err(error.into()),
                        Some(error) => self.refuse(&path, &advised(&error)),
                        None => self.refuse(&path, "decoding it failed"),
                    }
                }
                match answered.result.transpose()? {
                    Some(Ok(result)) => take(self, &answered.paths, result)?,
                    Some(Err(failure)) => self.refuse_size(&answered.paths[0], failure),
                    None => {}
                }
                self.bars.images(given, total);
                Ok(())
            },
            || Ok(()),
        )
    }

    /// Prints while the progress bar is hidden.
    pub(crate) fn while_hidden<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bars.while_hidden(print)
    }

    /// The images that could not be read.
    pub(crate) fn into_errors(self) -> Vec<Unreadable> {
        self.errors
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
                let reason = format!("no image in this folder: no name ends with {endings}");
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

    pub(crate) fn refuse(&mut self, image: &Path, error: &str) {
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

impl Decoded {
    fn new(path: PathBuf, reader: Reader, rules: &Preprocess) -> Self {
        let start = Instant::now();
        let prepare = || read(&path).and_then(|bytes| reader.prepare(&path, &bytes, rules));
        // A decoder that panics costs its image, and not those that are decoded already.
        let part = catch_unwind(AssertUnwindSafe(prepare)).ok();
        let time = start.elapsed();
        Self { path, part, time }
    }
}

impl<R> Answered<R> {
    fn new(
        images: Vec<Decoded>,
        batch: usize,
        run: impl Fn(&Batch) -> Result<Fit<R>, Failure>,
    ) -> Self {
        let (mut paths, mut parts, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
        let decoding = images.iter().map(|image| image.time).sum();
        for Decoded { path, part, .. } in images {
            match part {
                Some(Ok(part)) => {
                    paths.push(path);
                    parts.push(part);
                }
                Some(Err(error)) => unreadable.push((path, Some(error))),
                None => unreadable.push((path, None)),
            }
        }
        let joined = || Ok(Batch::join(&parts, batch)?);
        Self {
            result: (!parts.is_empty()).then(|| joined().and_then(|batch| run(&batch))),
            paths,
            unreadable,
            decoding,
        }
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
        } else if is_image(&ending) && (path.is_file() || !path.exists()) {
            // A link to nothing, too: that it cannot be read is said when it is its turn.
            images.push(path);
        }
    }
    Ok(images)
}
