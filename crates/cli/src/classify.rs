//! `resnet classify`: the most likely classes of images.

use std::time::Instant;

use resnet_run::{AdapterInfo, Device, Fitted, ModelInfo, Network, label};
use resnet_wgpu::network::Activation;
use resnet_wgpu::picture::{Labels, Preprocess, top_k};
use resnet_wgpu::tensor::Tensor;
use serde::Serialize;

use crate::args::ClassifyArgs;
use crate::escape::{printable, short, shown};
use crate::failure::Failure;
use crate::images::{Images, Readable, Unreadable};
use crate::output::{Format, Out, SCHEMA_VERSION, csv_line};
use crate::stats::milliseconds;
use crate::{network, runner};

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
    adapter_ms: f64,
    weights_ms: f64,
    pipelines_ms: f64,
    /// Decoding and resizing, all images, summed over the threads that do it.
    decoding_ms: f64,
    /// Waiting for images that were not decoded while earlier ones ran.
    images_ms: f64,
    /// Upload, kernels and readback, all batches.
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
    let mut job = Job::new(args, quiet)?;
    let results = job.answer_all()?;
    job.finish(results)
}

/// What is needed to classify the images.
struct Job<'a> {
    args: &'a ClassifyArgs,
    quiet: bool,
    network: Network,
    /// The preprocessing: the network's own, adapted to each image if it runs in its own size.
    rules: Preprocess,
    /// Whether every image is run in its own size.
    free: bool,
    labels: Option<Labels>,
    device: Device,
    /// Made for the first readable batch.
    fitted: Fitted,
    images: Images,
    timings: Timings,
    out: Out,
}

impl<'a> Job<'a> {
    fn new(args: &'a ClassifyArgs, quiet: bool) -> Result<Self, Failure> {
        let mut images = Images::find(&args.images, quiet);
        let start = Instant::now();
        let device = Device::open(&args.run.device)?;
        let adapter_ms = milliseconds(start.elapsed());
        let asked = args.output.of(&args.run.network);
        let mut network = network::load(&asked, images.batch())?;
        let free = network.is_free();
        if free {
            images.one_by_one();
            network.set_batch(1)?;
        }
        network.classes()?;
        network::note_assumptions(&network);
        let labels = network.labels(args.labels.labels.as_deref())?;
        Ok(Self {
            args,
            quiet,
            labels,
            timings: Timings {
                adapter_ms,
                weights_ms: network.weights_ms,
                ..Timings::default()
            },
            rules: network.model.preprocess,
            network,
            free,
            device,
            fitted: Fitted::default(),
            images,
            out: Out::new(),
        })
    }
}

impl Job<'_> {
    /// Classifies batch by batch; line-based formats print results as they come.
    fn answer_all(&mut self) -> Result<Vec<Answer>, Failure> {
        let mut answers = Vec::new();
        if self.args.format == Format::Csv {
            let header = ["image", "rank", "class", "label", "probability", "logit"];
            self.out.line(header.join(","))?;
        }
        loop {
            let start = Instant::now();
            let batch = self.images.next_batch(&self.rules)?;
            self.timings.images_ms += milliseconds(start.elapsed());
            let Some(batch) = batch else {
                self.timings.decoding_ms = milliseconds(self.images.decoding);
                return Ok(answers);
            };
            let found = self.answer(&batch)?;
            self.print_all(&found)?;
            answers.extend(found);
        }
    }

    /// The outputs for a batch. Where the GPU is lost, full or wrong, the CPU goes on.
    fn outputs(&mut self, batch: &Readable) -> Result<Option<Vec<Tensor>>, Failure> {
        let result = self.outputs_here(batch);
        let Some(reason) = result.as_ref().err().and_then(Failure::of_gpu) else {
            return result;
        };
        log::warn!("{reason}: continuing on the CPU, which is slower");
        self.fitted = Fitted::default();
        self.device = Device::Cpu;
        self.outputs_here(batch)
    }

    /// The same without a second try; `None` for an image whose own size the network cannot take.
    fn outputs_here(&mut self, batch: &Readable) -> Result<Option<Vec<Tensor>>, Failure> {
        let rules = batch.batch.rules();
        let runner = self
            .fitted
            .runner(&mut self.network, rules, |network, input| {
                let graph = network.optimized()?;
                let runner = runner::prepare(&self.device, &graph, input, self.quiet)?;
                self.timings.pipelines_ms = runner.pipelines_ms;
                Ok::<_, Failure>(runner)
            });
        let runner = match runner {
            Err(failure) if self.free && failure.of_gpu().is_none() => {
                self.images.refuse_size(&batch.paths[0], failure);
                return Ok(None);
            }
            runner => runner?,
        };
        let start = Instant::now();
        let outputs = runner.answer(&batch.batch)?;
        self.timings.run_ms += milliseconds(start.elapsed());
        Ok(Some(outputs))
    }

    fn answer(&mut self, batch: &Readable) -> Result<Vec<Answer>, Failure> {
        match self.outputs(batch)? {
            Some(outputs) => self.guesses(batch, &outputs),
            None => Ok(Vec::new()),
        }
    }

    fn guesses(&self, batch: &Readable, outputs: &[Tensor]) -> Result<Vec<Answer>, Failure> {
        let [logits, probabilities] = outputs else {
            return Err(Failure::runtime("the network has no probabilities"));
        };
        let classes = self.network.classes()?;
        let rows = logits.data().chunks_exact(classes);
        let rows = rows.zip(probabilities.data().chunks_exact(classes));
        let answers = batch
            .paths
            .iter()
            .zip(rows)
            .map(|(path, (logits, probabilities))| {
                let activation = self.network.model.activation;
                let scores = activation.map_or_else(|| logits.to_vec(), |a| a.scores(logits));
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

    fn print_all(&mut self, answers: &[Answer]) -> Result<(), Failure> {
        let Self {
            args, images, out, ..
        } = self;
        let activation = self.network.model.activation;
        images.while_hidden(|| {
            for answer in answers {
                print(answer, args.format, activation, out)?;
            }
            // A reader at the other end of a pipe gets each batch as soon as it is finished.
            out.flush()
        })
    }

    fn finish(mut self, results: Vec<Answer>) -> Result<(), Failure> {
        let errors = self.images.into_errors();
        let failed = !errors.is_empty();
        if self.args.format == Format::Json {
            self.out.json(&Report {
                schema_version: SCHEMA_VERSION,
                adapter: self.device.info(),
                model: self.network.info(),
                results,
                errors,
                timings: self.timings,
            })?;
        }
        self.out.flush()?;
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
