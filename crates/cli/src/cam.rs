//! `resnet cam`: heat maps of what the network looks at, laid over images.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use resnet_run::{AdapterInfo, Cam, Device, HeatMap, ModelInfo, Network, class_of, label};
use resnet_wgpu::internals::files::NewFile;
use resnet_wgpu::picture::{Labels, Picture, Preprocess};
use serde::Serialize;

use crate::args::CamArgs;
use crate::caption::{captioned, is_printable};
use crate::escape::{printable, short, shown};
use crate::failure::Failure;
use crate::images::Images;
use crate::network;
use crate::output::{Format, Out, SCHEMA_VERSION};
use crate::overwrite;
use crate::progress::Bars;
use crate::values::is_png;

#[derive(Serialize)]
struct Report {
    schema_version: u32,
    adapter: AdapterInfo,
    model: ModelInfo,
    image: String,
    output: String,
    class: usize,
    label: String,
    probability: f32,
    /// Height and width of the map before it is interpolated.
    map_size: [usize; 2],
    /// The map itself, row by row, scaled to 0..1.
    map: Vec<Vec<f32>>,
}

pub(crate) fn run(args: &CamArgs, quiet: bool) -> Result<(), Failure> {
    let mut images = Images::among(&args.images, args.recursive, args.read.reader(), quiet);
    let paths = images.paths().to_vec();
    if args.format == Format::Json && paths.len() > 1 {
        return Err(Failure::usage(
            "json is one document for one image; use --format jsonl for several",
        ));
    }
    if paths.is_empty() {
        return Err(Failure::silent());
    }
    let mut target = Target::new(&args.output, &paths)?;
    let mut painter = Painter::new(args, quiet)?;
    let mut out = Out::new();
    for (done, path) in paths.iter().enumerate() {
        if paths.len() > 1 {
            images.progress(done, paths.len());
        }
        let Some(picture) = images.decode(path) else {
            continue;
        };
        if let Err(failure) = painter.fit(&picture) {
            images.refuse_size(path, failure);
            continue;
        }
        let map = painter.map(&picture)?;
        let file = target.file_of(path);
        let label = label(painter.labels.as_ref(), map.class);
        let finished = painter.finished(&map, &label)?;
        write_png(&finished, &file)?;
        images.while_hidden(|| painter.print(&mut out, [path, &file], &map, label))?;
    }
    if images.into_errors().is_empty() {
        Ok(())
    } else {
        Err(Failure::silent())
    }
}

/// A network, and what maps it makes for which size of image.
struct Painter<'a> {
    args: &'a CamArgs,
    quiet: bool,
    device: Device,
    network: Network,
    /// As in the file, also when the network takes each image in its own size.
    rules: Preprocess,
    labels: Option<Labels>,
    class: Option<usize>,
    cam: Option<Cam>,
}

impl<'a> Painter<'a> {
    fn new(args: &'a CamArgs, quiet: bool) -> Result<Self, Failure> {
        let (device, _, network) = network::load_beside(&args.run.device, &args.run.network, 1)?;
        let classes = network.classes()?;
        network.refuse_arrays()?;
        network::note_assumptions(&network);
        let labels = network.labels(args.labels.labels.as_deref())?;
        let asked = args.class.as_deref();
        let class = asked.map(|text| class_of(text, labels.as_ref(), classes));
        Ok(Self {
            args,
            quiet,
            device,
            rules: network.model.preprocess,
            network,
            class: class.transpose()?,
            labels,
            cam: None,
        })
    }

    /// Makes the network one for pictures of this size, if it takes each in its own.
    fn fit(&mut self, picture: &Picture) -> Result<(), Failure> {
        if let Some(own) = self.rules.for_image(picture.size())
            && self.network.fit(&own)?
        {
            self.cam = None;
        }
        Ok(())
    }

    fn map(&mut self, picture: &Picture) -> Result<HeatMap, Failure> {
        let cam = match &mut self.cam {
            Some(cam) => cam,
            none => {
                let mut bars = Bars::new(self.quiet);
                let at = self.args.at.as_deref();
                let mut show = |progress| bars.show(progress);
                let cam = Cam::new(&self.device, &self.network, self.class, at, &mut show)?;
                none.insert(cam.colors(self.args.colors.clone()))
            }
        };
        Ok(cam.of(picture)?)
    }

    /// The picture with its map and, unless it is left out, its caption.
    fn finished<'m>(&self, map: &'m HeatMap, name: &str) -> Result<Cow<'m, Picture>, Failure> {
        if self.args.no_caption {
            return Ok(Cow::Borrowed(&map.overlay));
        }
        let number = label(None, map.class);
        let name = if is_printable(name) { name } else { &number };
        let percent = map.probability * 100.0;
        captioned(&map.overlay, name, percent, &self.args.colors)
            .map(Cow::Owned)
            .ok_or_else(|| Failure::runtime("the picture is too large for a caption"))
    }

    fn print(
        &self,
        out: &mut Out,
        [image, file]: [&Path; 2],
        map: &HeatMap,
        label: String,
    ) -> Result<(), Failure> {
        if self.args.format == Format::Text {
            let percent = map.probability * 100.0;
            let output = printable(&shown(file));
            let label = short(&label);
            out.line(format_args!("{output}: {label} ({percent:.2}%)"))?;
            return out.flush();
        }
        let report = Report {
            schema_version: SCHEMA_VERSION,
            adapter: self.device.info(),
            model: self.network.info(),
            image: shown(image),
            output: shown(file),
            class: map.class,
            label,
            probability: map.probability,
            map_size: map.size,
            map: map
                .values
                .chunks(map.size[1])
                .map(<[f32]>::to_vec)
                .collect(),
        };
        if self.args.format == Format::Json {
            out.json(&report)?;
        } else {
            out.jsonl(&report)?;
        }
        out.flush()
    }
}

/// Where the maps are written.
enum Target {
    File(PathBuf),
    Folder {
        folder: PathBuf,
        /// The names that are taken, in small letters: those of images, and of maps.
        taken: HashSet<String>,
    },
}

impl Target {
    fn new(output: &Path, images: &[PathBuf]) -> Result<Self, Failure> {
        if is_png(output) && !output.is_dir() {
            if images.len() > 1 {
                let number = images.len();
                return Err(Failure::usage(format!(
                    "{number} images cannot be one file; give a folder, such as --output maps/"
                )));
            }
            overwrite::refuse(output, images.iter().map(PathBuf::as_path))?;
            return Ok(Self::File(output.to_owned()));
        }
        let made = std::fs::create_dir_all(output).and_then(|()| output.canonicalize());
        let folder = made.map_err(|error| {
            let output = printable(&shown(output));
            Failure::runtime(format!("cannot make the folder '{output}': {error}"))
        })?;
        let inside = |image: &PathBuf| {
            let image = image.canonicalize().ok()?;
            let is_inside = image.parent()? == folder;
            let name = image.file_name()?;
            is_inside.then(|| in_small_letters(name))
        };
        Ok(Self::Folder {
            folder: output.to_owned(),
            taken: images.iter().filter_map(inside).collect(),
        })
    }

    /// The file for the map of an image. No two share one, and none takes that of an image.
    fn file_of(&mut self, image: &Path) -> PathBuf {
        let (folder, taken) = match self {
            Self::File(file) => return file.clone(),
            Self::Folder { folder, taken } => (folder, taken),
        };
        let stem = match image.file_stem() {
            Some(stem) if image != Path::new("-") => stem.to_owned(),
            _ => "stdin".into(),
        };
        let names = (1..).map(|number| {
            let mut name = stem.clone();
            if number > 1 {
                name.push(format!("-{number}"));
            }
            name.push(".png");
            name
        });
        let mut free = names.filter(|name| taken.insert(in_small_letters(name)));
        folder.join(free.next().unwrap_or_default())
    }
}

/// A name as file systems compare it that have no other letters.
fn in_small_letters(name: &OsStr) -> String {
    name.to_string_lossy().to_lowercase()
}

fn write_png(picture: &Picture, path: &Path) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    picture.write_png(&mut bytes)?;
    let mut file = NewFile::create(path)?;
    file.write(&bytes)?;
    Ok(file.finish()?)
}
