//! `resnet classify`: the most likely classes of images.

use std::path::PathBuf;

use resnet_run::{AdapterInfo, ModelInfo, label};
use resnet_wgpu::network::Activation;
use resnet_wgpu::picture::{Labels, Preprocess, top_k};
use resnet_wgpu::tensor::Tensor;
use serde::Serialize;

use crate::args::ClassifyArgs;
use crate::escape::{printable, short, shown};
use crate::failure::Failure;
use crate::images::{Images, Unreadable};
use crate::network;
use crate::output::{Format, Out, SCHEMA_VERSION, csv_line};
use crate::runner::Answering;
use crate::stats::milliseconds;

#[derive(Serialize)]
struct Report {
    schema_version: u32,
    adapter: AdapterInfo,
    model: ModelInfo,
    results: Vec<Answer>,
    errors: Vec<Unreadable>,
    timings: Timings,
}

/// The result for one image.
#[derive(Serialize)]
struct Answer {
    image: String,
    top: Vec<Guess>,
}

#[derive(Serialize)]
struct Guess {
    class: usize,
    label: String,
    probability: f32,
    logit: f32,
}

/// Where the time went.
#[derive(Default, Serialize)]
struct Timings {
    /// Until there is a device; the weights are read meanwhile.
    adapter_ms: f64,
    weights_ms: f64,
    pipelines_ms: f64,
    /// Decoding and resizing, all images, summed over the threads that do it.
    decoding_ms: f64,
    /// Nothing ran, because no batch was decoded.
    images_ms: f64,
    /// Upload, kernels and readback of a batch, or of two at once, but no pipelines.
    run_ms: f64,
}

/// A line of the `jsonl` format.
#[derive(Serialize)]
struct Line<'a> {
    schema_version: u32,
    activation: Option<&'static str>,
    #[serde(flatten)]
    answer: &'a Answer,
}

pub(crate) fn run(args: &ClassifyArgs, quiet: bool) -> Result<(), Failure> {
    let mut images = Images::find(&args.images, quiet);
    let mut job = Job::new(args, quiet, &mut images)?;
    let mut out = Out::new();
    let results = job.answer_all(&mut images, &mut out)?;
    job.finish(results, images, out)
}

/// What is needed to classify the images.
struct Job<'a> {
    args: &'a ClassifyArgs,
    answering: Answering,
    rules: Preprocess,
    activation: Option<Activation>,
    classes: usize,
    labels: Option<Labels>,
    timings: Timings,
}

impl<'a> Job<'a> {
    fn new(args: &'a ClassifyArgs, quiet: bool, images: &mut Images) -> Result<Self, Failure> {
        let asked = args.output.of(&args.run.network);
        let batch = images.batch();
        let (device, opening, mut network) = network::load_beside(&args.run.device, &asked, batch)?;
        if network.is_free() {
            images.one_by_one();
            network.set_batch(1)?;
        }
        network::note_assumptions(&network);
        Ok(Self {
            args,
            classes: network.classes()?,
            labels: network.labels(args.labels.labels.as_deref())?,
            timings: Timings {
                adapter_ms: milliseconds(opening),
                weights_ms: network.weights_ms,
                ..Timings::default()
            },
            rules: network.model.preprocess,
            activation: network.model.activation,
            answering: Answering::new(network, device, |network| Ok(network.optimized()?), quiet),
        })
    }
}

impl Job<'_> {
    /// Classifies batch by batch; line-based formats print results as they come.
    fn answer_all(&mut self, images: &mut Images, out: &mut Out) -> Result<Vec<Answer>, Failure> {
        let mut answers = Vec::new();
        let Self {
            args, activation, ..
        } = *self;
        if args.format == Format::Csv {
            let header = ["image", "rank", "class", "label", "probability", "logit"];
            out.line(header.join(","))?;
        }
        let stages = images.answer(
            &self.rules,
            self.answering.runs(),
            |batch| self.answering.answer(batch),
            |images, paths, outputs| {
                let found = self.guesses(paths, &outputs)?;
                images.while_hidden(|| {
                    for answer in &found {
                        print(answer, args.format, activation, out)?;
                    }
                    // A reader at the other end of a pipe gets each batch as soon as it is finished.
                    out.flush()
                })?;
                answers.extend(found);
                Ok(())
            },
        )?;
        self.timings.pipelines_ms = self.answering.state().pipelines_ms;
        self.timings.decoding_ms = milliseconds(images.decoding);
        self.timings.images_ms = milliseconds(stages.waiting);
        self.timings.run_ms = milliseconds(stages.running) - self.timings.pipelines_ms;
        Ok(answers)
    }

    fn guesses(&self, paths: &[PathBuf], outputs: &[Tensor]) -> Result<Vec<Answer>, Failure> {
        let [logits, probabilities] = outputs else {
            return Err(Failure::runtime("the network has no probabilities"));
        };
        let rows = logits.data().chunks_exact(self.classes);
        let rows = rows.zip(probabilities.data().chunks_exact(self.classes));
        let answers = paths
            .iter()
            .zip(rows)
            .map(|(path, (logits, probabilities))| {
                let scores = self
                    .activation
                    .map_or_else(|| logits.to_vec(), |a| a.scores(logits));
                let best = top_k(logits, self.args.top);
                Answer {
                    image: shown(path),
                    top: best
                        .into_iter()
                        .map(|class| Guess {
                            class,
                            label: label(self.labels.as_ref(), class),
                            probability: probabilities[class],
                            logit: scores[class],
                        })
                        .collect(),
                }
            });
        Ok(answers.collect())
    }

    fn finish(self, results: Vec<Answer>, images: Images, mut out: Out) -> Result<(), Failure> {
        let errors = images.into_errors();
        let failed = !errors.is_empty();
        if self.args.format == Format::Json {
            let state = self.answering.state();
            out.json(&Report {
                schema_version: SCHEMA_VERSION,
                adapter: state.device.info(),
                model: state.network.info(),
                results,
                errors,
                timings: self.timings,
            })?;
        }
        out.flush()?;
        if failed {
            return Err(Failure::silent());
        }
        Ok(())
    }
}

/// Prints one result, unless the format prints all results together at the end.
fn print(
    answer: &Answer,
    format: Format,
    activation: Option<Activation>,
    out: &mut Out,
) -> Result<(), Failure> {
    match format {
        Format::Json => {}
        Format::Jsonl => out.jsonl(&Line {
            schema_version: SCHEMA_VERSION,
            activation: activation.map(Activation::name),
            answer,
        })?,
        Format::Csv => {
            for (rank, guess) in (1..).zip(&answer.top) {
                let line = csv_line(&[
                    answer.image.clone(),
                    format!("{rank}"),
                    guess.class.to_string(),
                    guess.label.clone(),
                    guess.probability.to_string(),
                    guess.logit.to_string(),
                ]);
                out.line(line.trim_end())?;
            }
        }
        Format::Text => {
            let image = printable(&answer.image);
            // Explains percentages that do not add up to 100.
            match activation {
                Some(Activation::Sigmoid) => {
                    out.line(format_args!("{image}  (sigmoid of each class)"))?;
                }
                _ => out.line(image)?,
            }
            for guess in &answer.top {
                let percent = guess.probability * 100.0;
                out.line(format_args!("  {percent:6.2}%  {}", short(&guess.label)))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "../tests/unit/classify.rs"]
mod tests;
