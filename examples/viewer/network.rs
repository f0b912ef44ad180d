//! The network within the host's frame: it reads the host's texture and paints its heat map to
//! another. Its probabilities arrive some frames later, without anything waiting for them.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use resnet_wgpu::Error;
use resnet_wgpu::explain::{ClassMap, add_class_map};
use resnet_wgpu::gpu::{Cursor, Executor, HeatMap, Input, Output, Readback, Slice, TextureRead};
use resnet_wgpu::graph::Role;
use resnet_wgpu::internals::gpu::StepTimer;
use resnet_wgpu::network::ModelOptions;
use resnet_wgpu::passes::{Fusion, optimize};
use resnet_wgpu::picture::Labels;
use resnet_wgpu::picture::top_k;
use resnet_wgpu::plan::{Capabilities, InputFormat, Plan, PlanOptions};
use resnet_wgpu::wgpu;

use crate::host::Host;

/// The number of classes shown.
pub(crate) const TOP: usize = 5;

/// Width and height of the heat map in pixels.
const MAP_SIZE: u32 = 64;

/// The most recent results.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Labels and probabilities, best first.
    pub(crate) top: Vec<(String, f32)>,
    /// Time on the GPU, if the device can measure it and the run fitted into one frame.
    pub(crate) milliseconds: Option<f64>,
}

/// The executor with its input and outputs.
#[derive(Debug)]
pub(crate) struct Network {
    executor: Executor,
    labels: Option<Labels>,
    input: Input,
    output: Output,
    heat_map: (wgpu::Texture, wgpu::TextureView),
    results: Arc<Results>,
    /// The number of frames that a run is spread over, and of kernels recorded in each.
    split: u32,
    steps_per_frame: usize,
    /// The run in progress, if any.
    cursor: Option<Cursor>,
    /// Results in flight, from at most one run.
    arriving: Option<Arriving>,
    /// Whether the encoder about to be submitted copies results.
    copied: bool,
    seen: Seen,
}

/// The values to read back.
#[derive(Debug)]
struct Results {
    probabilities: Readback,
    timer: Option<StepTimer>,
}

/// The values read back: probabilities by class, and the time on the GPU.
struct Answer {
    probabilities: Vec<f32>,
    milliseconds: Option<f64>,
}

/// Results that arrive as the device is polled.
struct Arriving(Pin<Box<dyn Future<Output = Result<Answer, Error>>>>);

impl Network {
    /// Creates a network that reads `picture` in every run.
    pub(crate) fn new(
        host: &Host,
        weights: &Path,
        picture: &wgpu::TextureView,
        split: u32,
    ) -> Result<Self, Error> {
        let Host { device, queue, .. } = host;
        let options = ModelOptions::default();
        let model = resnet_formats::open(weights, &options)?.model(&options)?;
        let options =
            PlanOptions::new(Capabilities::of(device)).input(InputFormat::Rgba8(model.preprocess));
        let graph = optimize(&model.graph, Fusion::Full)?;
        let graph = add_class_map(&graph, &ClassMap::default())?;
        let plan = Plan::new(&graph, &options)?;
        let executor = Executor::new(device, queue, &plan)?;

        let whole = (picture, TextureRead::default());
        let input = executor.texture_input(device, &[whole])?;
        let usage = wgpu::TextureUsages::TEXTURE_BINDING
            | wgpu::TextureUsages::COPY_DST
            | wgpu::TextureUsages::COPY_SRC;
        let format = wgpu::TextureFormat::Rgba8Unorm;
        let heat_map = host.texture("heat map", [MAP_SIZE; 2], format, usage);
        let output = Output::builder(&executor)
            .keep(Role::Probabilities)?
            .heat_map(device, &heat_map.0, &HeatMap::default())?
            .build();
        let steps = executor.step_count(&input, &output)?;
        let timer = if split == 1 {
            StepTimer::new(device, queue, 1)?
        } else {
            None
        };
        Ok(Self {
            results: Arc::new(Results {
                probabilities: Readback::of(device, &executor, [Role::Probabilities])?,
                timer,
            }),
            executor,
            labels: model.labels,
            input,
            output,
            heat_map,
            split,
            steps_per_frame: steps.div_ceil(split as usize),
            cursor: None,
            arriving: None,
            copied: false,
            seen: Seen::default(),
        })
    }

    /// The most recent results that have arrived.
    pub(crate) const fn seen(&self) -> &Seen {
        &self.seen
    }

    /// The texture of the heat map, whose colours are to be blended over the picture.
    pub(crate) const fn heat_map(&self) -> &(wgpu::Texture, wgpu::TextureView) {
        &self.heat_map
    }

    /// Whether the next frame starts a run.
    pub(crate) const fn is_between_runs(&self) -> bool {
        self.cursor.is_none()
    }

    /// Whether results are in flight.
    pub(crate) const fn is_waiting(&self) -> bool {
        self.arriving.is_some()
    }

    /// Records a run or its next part; once it is complete and earlier results have arrived, also
    /// the copies of its results.
    pub(crate) fn record(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<(), Error> {
        let Self {
            executor,
            input,
            output,
            ..
        } = self;
        let can_copy = self.arriving.is_none();
        let complete = if self.split == 1 {
            match &self.results.timer {
                Some(timer) if can_copy => {
                    executor.record_total_timed(encoder, input, output, timer)?;
                }
                _ => executor.record(encoder, input, output)?,
            }
            true
        } else {
            let cursor = match &mut self.cursor {
                Some(cursor) => cursor,
                none => none.insert(executor.start(input, output)?),
            };
            cursor.record(encoder, Slice::Steps(self.steps_per_frame))?;
            cursor.is_done()
        };
        if complete {
            self.cursor = None;
        }
        self.copied = complete && can_copy;
        if self.copied {
            self.results.probabilities.record(encoder)?;
        }
        Ok(())
    }

    /// Requests the results of the submission, and takes any that have arrived.
    pub(crate) fn after_submit(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.copied) {
            self.arriving = Some(Arriving::new(&self.results));
        }
        self.receive()
    }

    /// Takes any results that have arrived. The host must poll its device from time to time.
    pub(crate) fn receive(&mut self) -> Result<(), Error> {
        let Some(Poll::Ready(answer)) = self.arriving.as_mut().map(Arriving::poll) else {
            return Ok(());
        };
        self.arriving = None;
        let Answer {
            probabilities,
            milliseconds,
        } = answer?;
        let label = |class: usize| {
            let label = self.labels.as_ref().and_then(|labels| labels.get(class));
            label.map_or_else(|| format!("class {class}"), str::to_owned)
        };
        self.seen = Seen {
            top: top_k(&probabilities, TOP)
                .into_iter()
                .map(|class| (label(class), probabilities[class]))
                .collect(),
            milliseconds,
        };
        Ok(())
    }
}

impl Arriving {
    fn new(results: &Arc<Results>) -> Self {
        let results = Arc::clone(results);
        Self(Box::pin(async move {
            let (_, tensors) = results.probabilities.read().await?;
            let probabilities = tensors.first().map_or_else(Vec::new, |t| t.data().to_vec());
            let milliseconds = match &results.timer {
                Some(timer) => Some(timer.times().await?.iter().sum()),
                None => None,
            };
            Ok(Answer {
                probabilities,
                milliseconds,
            })
        }))
    }

    fn poll(&mut self) -> Poll<Result<Answer, Error>> {
        self.0
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
    }
}

impl std::fmt::Debug for Arriving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Arriving")
    }
}
