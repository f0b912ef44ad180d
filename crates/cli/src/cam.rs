//! `resnet cam`: a heat map of what the network looks at, laid over the image.

use std::path::Path;

use resnet_run::{AdapterInfo, Cam, Device, ModelInfo, class_of, label};
use resnet_wgpu::internals::files::NewFile;
use resnet_wgpu::picture::Picture;
use serde::Serialize;

use crate::args::CamArgs;
use crate::escape::{printable, short, shown};
use crate::failure::Failure;
use crate::output::{Format, Out, SCHEMA_VERSION};
use crate::progress::Bars;
use crate::{images, network};

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
    let bytes = images::read(&args.image)?;
    let device = Device::open(&args.run.device)?;
    let mut network = network::load(&args.run.network, 1)?;
    let classes = network.classes()?;
    network.refuse_arrays()?;
    let picture = args.read.reader().decode(&args.image, &bytes)?;
    network::note_assumptions(&network);
    if let Some(own) = network.model.preprocess.for_image(picture.size()) {
        network.fit(&own)?;
    }
    let labels = network.labels(args.labels.labels.as_deref())?;
    let asked = args.class.as_deref();
    let class = asked
        .map(|text| class_of(text, labels.as_ref(), classes))
        .transpose()?;
    let mut bars = Bars::new(quiet);
    let mut cam = Cam::new(
        &device,
        &network,
        class,
        args.at.as_deref(),
        &mut |progress| {
            bars.show(progress);
        },
    )?;
    drop(bars);
    let map = cam.of(&picture)?;
    write_png(&map.overlay, &args.output)?;

    let label = label(labels.as_ref(), map.class);
    let mut out = Out::new();
    if args.format == Format::Json {
        out.json(&Report {
            schema_version: SCHEMA_VERSION,
            adapter: device.info(),
            model: network.info(),
            image: shown(&args.image),
            output: shown(&args.output),
            class: map.class,
            label,
            probability: map.probability,
            map_size: map.size,
            map: map
                .values
                .chunks(map.size[1])
                .map(<[f32]>::to_vec)
                .collect(),
        })?;
    } else {
        let percent = map.probability * 100.0;
        let output = printable(&shown(&args.output));
        let label = short(&label);
        out.line(format_args!("{output}: {label} ({percent:.2}%)"))?;
    }
    out.flush()
}

fn write_png(picture: &Picture, path: &Path) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    picture.write_png(&mut bytes)?;
    let mut file = NewFile::create(path)?;
    file.write(&bytes)?;
    Ok(file.finish()?)
}
