//! `resnet embed`: the feature vector of each image, which is the input of the classifier.

use std::path::Path;

use resnet_wgpu::graph::Role;
use resnet_wgpu::internals::files::NewFile;
use resnet_wgpu::passes::optimize;
use resnet_wgpu::plan::InputFormat;
use serde::Serialize;

use crate::args::EmbedArgs;
use crate::device::Device;
use crate::escape::{printable, shown};
use crate::failure::Failure;
use crate::images::Images;
use crate::network::Network;
use crate::output::{Out, SCHEMA_VERSION};
use crate::runner::Runner;

/// A line of the `jsonl` format.
#[derive(Serialize)]
struct Line<'a> {
    schema_version: u32,
    image: String,
    embedding: &'a [f32],
}

pub(crate) fn run(args: &EmbedArgs, quiet: bool) -> Result<(), Failure> {
    let mut images = Images::find(&args.images, quiet);
    let device = Device::open(&args.run.device)?;
    let mut network = Network::load(&args.run.network, images.batch())?;
    network.note_assumptions();
    network.refuse_free()?;
    let model = &mut network.model;
    if let Some(features) = model.graph.role(Role::Features) {
        model.graph.mark_output(features)?;
    }
    let graph = optimize(&model.graph, network.fusion)?;
    let wanted = graph.role(Role::Features);
    let place = graph
        .outputs()
        .iter()
        .position(|&value| Some(value) == wanted);
    let Some(place) = place else {
        return Err(Failure::runtime("the network has no feature vector"));
    };

    let rules = &network.model.preprocess;
    let input = InputFormat::Rgba8(*rules);
    let runner = Runner::new(&device, &graph, input, quiet)?;
    let shape = graph.value_of(Role::Features)?.shape;
    let width = shape.c * shape.h * shape.w;
    let mut target = Target::open(args, width)?;
    while let Some(batch) = images.next_batch(rules)? {
        let outputs = runner.engine().answer(&batch.batch)?;
        let rows = outputs[place].data().chunks_exact(width);
        images.while_hidden(|| {
            for (path, row) in batch.paths.iter().zip(rows) {
                target.row(path, &scaled(row, args.normalize))?;
            }
            target.flush()
        })?;
    }
    target.finish()?;
    if images.into_errors().is_empty() {
        Ok(())
    } else {
        Err(Failure::silent())
    }
}

/// A vector, scaled to length 1 if `normalize` is set.
fn scaled(row: &[f32], normalize: bool) -> Vec<f32> {
    let length = row
        .iter()
        .map(|&x| f64::from(x).powi(2))
        .sum::<f64>()
        .sqrt();
    if !normalize || length == 0.0 {
        return row.to_vec();
    }
    #[expect(clippy::cast_possible_truncation, reason = "rounding is what is meant")]
    let scaled = row.iter().map(|&x| (f64::from(x) / length) as f32);
    scaled.collect()
}

/// Where the vectors are written.
enum Target {
    /// Lines on stdout.
    Lines(Out),
    /// A NumPy file; stdout lists the images of its rows.
    Npy { file: Npy, out: Out },
}

impl Target {
    fn open(args: &EmbedArgs, width: usize) -> Result<Self, Failure> {
        let out = Out::new();
        Ok(match &args.output {
            Some(path) => Self::Npy {
                file: Npy::create(path, width)?,
                out,
            },
            None => Self::Lines(out),
        })
    }

    fn row(&mut self, image: &Path, embedding: &[f32]) -> Result<(), Failure> {
        match self {
            Self::Lines(out) => out.jsonl(&Line {
                schema_version: SCHEMA_VERSION,
                image: shown(image),
                embedding,
            }),
            Self::Npy { file, out } => {
                file.row(embedding)?;
                out.line(printable(&shown(image)))
            }
        }
    }

    /// A reader at the other end of a pipe gets each batch as soon as it is finished.
    fn flush(&mut self) -> Result<(), Failure> {
        let (Self::Lines(out) | Self::Npy { out, .. }) = self;
        out.flush()
    }

    fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Lines(_) => Ok(()),
            Self::Npy { file, .. } => file.finish(),
        }
    }
}

/// A NumPy file of 32-bit floats, format version 1.0.
struct Npy {
    file: NewFile,
    width: usize,
    rows: usize,
}

/// Length of the header in bytes: enough for any number of rows.
const NPY_HEADER: usize = 128;

impl Npy {
    fn create(path: &Path, width: usize) -> Result<Self, Failure> {
        let mut file = NewFile::create(path)?;
        // Rewritten at the end, when the number of rows is known.
        file.write(&[0; NPY_HEADER])?;
        Ok(Self {
            file,
            width,
            rows: 0,
        })
    }

    fn row(&mut self, row: &[f32]) -> Result<(), Failure> {
        self.rows += 1;
        let bytes: Vec<u8> = row.iter().flat_map(|x| x.to_le_bytes()).collect();
        Ok(self.file.write(&bytes)?)
    }

    fn finish(mut self) -> Result<(), Failure> {
        self.file.rewrite_start(&header(self.rows, self.width))?;
        Ok(self.file.finish()?)
    }
}

/// The header: magic bytes, version, length of the text, and the text, ending in a newline.
fn header(rows: usize, width: usize) -> [u8; NPY_HEADER] {
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {width}), }}");
    let mut header = [b' '; NPY_HEADER];
    header[..8].copy_from_slice(b"\x93NUMPY\x01\x00");
    header[8..10].copy_from_slice(&118u16.to_le_bytes());
    header[10..10 + text.len()].copy_from_slice(text.as_bytes());
    header[NPY_HEADER - 1] = b'\n';
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_that_of_numpy() {
        let header = header(3, 2048);
        assert_eq!(
            header[..10],
            *b"\x93NUMPY\x01\x00\x76\x00",
            "magic and length"
        );
        let text = std::str::from_utf8(&header[10..]).unwrap();
        let want = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2048), }";
        assert_eq!(text.trim_end(), want, "text");
        assert!(text.ends_with(" \n"), "padded, and a newline at the end");
        assert_eq!(
            usize::from(u16::from_le_bytes([header[8], header[9]])),
            text.len(),
            "length"
        );
        // Even the longest possible header fits.
        assert_eq!(
            super::header(usize::MAX, usize::MAX)[NPY_HEADER - 1],
            b'\n',
            "end"
        );
    }

    #[test]
    fn a_vector_of_length_1_points_the_same_way() {
        assert_eq!(scaled(&[3.0, -4.0], true), [0.6, -0.8], "normalised");
        assert_eq!(scaled(&[3.0, -4.0], false), [3.0, -4.0], "as it is");
        assert_eq!(scaled(&[0.0, 0.0], true), [0.0, 0.0], "no direction");
    }
}
