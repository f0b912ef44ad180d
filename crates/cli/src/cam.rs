//! `resnet cam`: a heat map of what the network looks at, laid over the image.

use std::path::Path;

use resnet_wgpu::explain::{ClassMap, add_class_map};
use resnet_wgpu::gpu::Colors;
use resnet_wgpu::graph::Role;
use resnet_wgpu::internals::explain::Sites;
use resnet_wgpu::internals::files::NewFile;
use resnet_wgpu::internals::reference::heat_map;
use resnet_wgpu::passes::optimize;
use resnet_wgpu::picture::Labels;
use resnet_wgpu::picture::{Batch, Picture};
use resnet_wgpu::plan::InputFormat;
use resnet_wgpu::tensor::Tensor;
use serde::Serialize;

use crate::args::CamArgs;
use crate::device::{AdapterInfo, Device};
use crate::escape::{printable, short, shown};
use crate::failure::Failure;
use crate::images;
use crate::network::{ModelInfo, Network};
use crate::output::{Format, Out, SCHEMA_VERSION};
use crate::runner::Runner;

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
    let picture = args
        .read
        .reader()
        .decode(&args.image, &images::read(&args.image)?)?;
    let device = Device::open(&args.run.device)?;
    let network = Network::load(&args.run.network, 1)?;
    let classes = network.classes()?;
    network.note_assumptions();
    network.refuse_free()?;
    let labels = network.labels(&args.labels)?;
    let asked = args.class.as_deref();
    let class = asked
        .map(|text| class_of(text, labels.as_ref(), classes))
        .transpose()?;
    let graph = optimize(&network.model.graph, network.fusion)?;
    let mut map = ClassMap::default().class(class);
    if let Some(at) = &args.at {
        map = map.at(at);
    }
    let graph = add_class_map(&graph, &map)?;

    let rules = &network.model.preprocess;
    let input = InputFormat::Rgba8(*rules);
    let runner = Runner::new(&device, &graph, input, quiet)?;
    let outputs = runner
        .engine()
        .answer(&Batch::prepare(std::slice::from_ref(&picture), rules)?)?;
    let [_, probabilities, map] = &outputs[..] else {
        return Err(Failure::runtime("the network has no probabilities"));
    };
    let probabilities = probabilities.data();
    let class = class.unwrap_or_else(|| {
        let best = resnet_wgpu::picture::top_k(probabilities, 1);
        best.first().copied().unwrap_or(0)
    });

    let seen = rules.seen([picture.height(), picture.width()]);
    let Some(value) = graph.role(Role::ClassMap) else {
        return Err(Failure::runtime("the graph has no class activation map"));
    };
    let sites = Sites::of(&graph, value)?;
    let painted = overlay(&picture, seen, map, &sites)?;
    write_png(&painted, &args.output)?;

    let label = labels.as_ref().and_then(|labels| labels.get(class));
    let label = label.map_or_else(|| format!("class {class}"), str::to_owned);
    let mut out = Out::new();
    if args.format == Format::Json {
        let shape = map.shape()?;
        out.json(&Report {
            schema_version: SCHEMA_VERSION,
            adapter: device.info(),
            model: network.info(),
            image: shown(&args.image),
            output: shown(&args.output),
            class,
            label,
            probability: probabilities[class],
            map_size: [shape.h, shape.w],
            map: stretched(map.data())
                .chunks(shape.w)
                .map(<[f32]>::to_vec)
                .collect(),
        })?;
    } else {
        let percent = probabilities[class] * 100.0;
        let output = printable(&shown(&args.output));
        let label = short(&label);
        out.line(format_args!("{output}: {label} ({percent:.2}%)"))?;
    }
    out.flush()
}

/// Finds a class by its number or its label.
fn class_of(text: &str, labels: Option<&Labels>, classes: usize) -> Result<usize, Failure> {
    if let Ok(class) = text.parse::<usize>() {
        if class < classes {
            return Ok(class);
        }
        return Err(Failure::usage(format!(
            "--class {class}: the network has the classes 0 to {}",
            classes - 1
        )));
    }
    let Some(labels) = labels else {
        return Err(Failure::usage(format!(
            "--class '{text}': the network has no labels; give the number of the class, or --labels"
        )));
    };
    let names: Vec<(usize, &str)> = (0..classes)
        .filter_map(|class| Some((class, labels.get(class)?)))
        .collect();
    let wanted = text.to_lowercase();
    let find = |fits: &dyn Fn(&str) -> bool| -> Vec<(usize, &str)> {
        let matching = names.iter().filter(|(_, name)| fits(&name.to_lowercase()));
        matching.copied().collect()
    };
    let exact = find(&|name| name == wanted || name.split(", ").any(|part| part == wanted));
    let found = if exact.is_empty() {
        find(&|name| name.contains(&wanted))
    } else {
        exact
    };
    match found[..] {
        [(class, _)] => Ok(class),
        [] => Err(Failure::usage(format!(
            "--class '{text}' is in no label; `resnet inspect` shows where labels come from"
        ))),
        _ => {
            let names: Vec<String> = found
                .iter()
                .take(8)
                .map(|(class, name)| format!("{class} ({name})"))
                .collect();
            Err(Failure::usage(format!(
                "--class '{text}' may be {}; give the number",
                names.join(", ")
            )))
        }
    }
}

/// Scales a map to 0..1.
fn stretched(map: &[f32]) -> Vec<f32> {
    let low = map.iter().copied().fold(f32::INFINITY, f32::min);
    let high = map.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let span = if high > low { high - low } else { 1.0 };
    map.iter().map(|value| (value - low) / span).collect()
}

/// Blends the map over the part of the picture that the network saw.
fn overlay(
    picture: &Picture,
    [rows, columns]: [std::ops::Range<usize>; 2],
    map: &Tensor,
    sites: &Sites,
) -> Result<Picture, Failure> {
    let painted = heat_map(map, sites, [rows.len(), columns.len()], true)?;
    let colors = Colors::Rainbow.table();
    let mut rgb = picture.rgb().to_vec();
    for (y, values) in rows.zip(painted.data().chunks_exact(columns.len())) {
        for (x, &value) in columns.clone().zip(values) {
            let pixel = &mut rgb[(y * picture.width() + x) * 3..][..3];
            let color = colors[index(value)];
            for (byte, over) in pixel.iter_mut().zip(color) {
                // The mean of both, rounded up.
                *byte = byte.midpoint(over);
            }
        }
    }
    Picture::new(picture.height(), picture.width(), rgb)
        .ok_or_else(|| Failure::runtime("the picture is empty"))
}

/// The index of the colour, out of 256, for a value from 0 to 1.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to 0..=255 before"
)]
fn index(value: f32) -> usize {
    (value.clamp(0.0, 1.0) * 255.0 + 0.5) as usize
}

fn write_png(picture: &Picture, path: &Path) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    picture.write_png(&mut bytes)?;
    let mut file = NewFile::create(path)?;
    file.write(&bytes)?;
    Ok(file.finish()?)
}
