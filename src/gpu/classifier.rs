//! The whole way from a network to labels, for a host that wants nothing special.

use std::task::Poll;

use super::{
    Context, Cursor, Executor, HeatMap, Input, Output, Prewarm, Readback, Slice, TextureRead,
    guarded,
};
use crate::error::Error;
use crate::explain::{ClassMap, add_class_map};
use crate::graph::Role;
use crate::network::{ModelOptions, Network};
use crate::passes::{Fusion, optimize};
use crate::picture::{Labels, top_k};
use crate::plan::{Capabilities, InputFormat, Plan, PlanOptions, Precision};
use crate::tensor::Tensor;

/// The guesses of an answer.
const GUESSES: usize = 5;

/// Textures whose bind groups are kept: those of a swap chain, and one more.
const KNOWN_VIEWS: usize = 4;

/// A network on the host's device: textures in, labels out, within the host's own frames.
///
/// ```no_run
/// # use resnet_wgpu::{Error, gpu::{Classifier, Context}, network::Network, wgpu};
/// # fn host(device: &wgpu::Device, queue: &wgpu::Queue, network: &Network, scene: &wgpu::TextureView)
/// # -> Result<(), Error> {
/// let context = Context::of(device.clone(), queue.clone());
/// let mut classifier = Classifier::builder(network).build(&context)?;
///
/// // Every frame:
/// let mut encoder = device.create_command_encoder(&Default::default());
/// classifier.record(&mut encoder, scene)?;
/// queue.submit([encoder.finish()]);
/// while let Some(answer) = classifier.poll()? {
///     let best = &answer.guesses[0][0];
///     println!("{} {:.0} %", best.label, best.probability * 100.0);
/// }
/// # Ok(())
/// # }
/// ```
///
/// Nothing here submits or polls: an answer arrives some frames later, when the host submits again or
/// polls its device. Its parts can be had one by one: an [`Executor`], an [`Output`] and a
/// [`Readback`].
#[derive(Debug)]
pub struct Classifier {
    context: Context,
    settings: Settings,
    executor: Executor,
    /// The values that are read back.
    wanted: Vec<Role>,
    output: Output,
    readback: Readback,
    heat_map: Option<wgpu::Texture>,
    labels: Option<Labels>,
    /// Textures that were read before, the latest ones last.
    known: Vec<(Vec<(wgpu::TextureView, TextureRead)>, Input)>,
    /// A run of which some parts are recorded.
    begun: Option<Cursor>,
}

/// What is asked for.
#[derive(Clone, Debug, Default)]
struct Settings {
    model: ModelOptions,
    precision: Precision,
    tensors: bool,
    features: bool,
    heat_map: Option<HeatMap>,
}

/// Builds a [`Classifier`]. By default it reads one texture at a time, in single precision, and makes
/// no heat map.
#[derive(Clone, Debug)]
#[must_use]
pub struct ClassifierBuilder<'a> {
    network: &'a Network,
    settings: Settings,
}

/// The answer to a run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Answer {
    /// The number of the run, which [`Classifier::record`] returned.
    pub run: u64,
    /// The five most likely classes of each image, the best one first; none without a classifier.
    pub guesses: Vec<Vec<Guess>>,
    /// The feature vector of each image, if it was asked for.
    pub features: Vec<Vec<f32>>,
}

/// A class that an image may show.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Guess {
    /// Its number.
    pub class: usize,
    /// Its name, or its number in words.
    pub label: String,
    /// How likely it is, from 0 to 1.
    pub probability: f32,
}

impl ClassifierBuilder<'_> {
    /// Sets the batch, the size of the image and whatever else is decided about the model. It always has
    /// probabilities.
    pub fn model(mut self, options: ModelOptions) -> Self {
        self.settings.model = options;
        self
    }

    /// Sets the precision of stored feature maps and weights.
    pub const fn precision(mut self, precision: Precision) -> Self {
        self.settings.precision = precision;
        self
    }

    /// Reads tensors instead of textures: [`Executor::write_tensor`], then [`Classifier::record_input`].
    pub const fn tensors(mut self) -> Self {
        self.settings.tensors = true;
        self
    }

    /// Reads the feature vectors back, too.
    pub const fn features(mut self) -> Self {
        self.settings.features = true;
        self
    }

    /// Paints what speaks for the most likely class. This may take three times as long: see
    /// [`ClassMap`].
    pub fn heat_map(mut self, how: HeatMap) -> Self {
        self.settings.heat_map = Some(how);
        self
    }

    /// Builds it. The network is no longer needed afterwards, except to [rebuild](Classifier::rebuild).
    ///
    /// Classifiers of clones of a context share pipelines and weights: one of another size, batch or output takes
    /// the kernels that read what is there, of which [`PlanOptions::sharing`] tells the price. One with
    /// [`Pipelines`](super::Pipelines) of its own, in `context.pipelines`, shares nothing and takes the kernels
    /// that are fastest for it.
    ///
    /// # Errors
    /// As [`Network::model`], [`Plan::new`] and [`Executor::new`]; [`Error::Model`] for a heat map of a
    /// network without a classifier.
    pub fn build(self, context: &Context) -> Result<Classifier, Error> {
        Classifier::new(context, self.network, self.settings)
    }
}

impl Classifier {
    /// Starts with a network, which `resnet_formats::open` reads from a file.
    pub fn builder(network: &Network) -> ClassifierBuilder<'_> {
        ClassifierBuilder {
            network,
            settings: Settings::default(),
        }
    }

    fn new(context: &Context, network: &Network, settings: Settings) -> Result<Self, Error> {
        let device = &context.device;
        let model = ModelOptions {
            softmax: true,
            ..settings.model.clone()
        };
        let mut model = network.model(&model)?;
        let mut wanted = Vec::new();
        if model.classes.is_some() {
            wanted.push(Role::Probabilities);
        }
        if settings.features || model.classes.is_none() {
            wanted.push(Role::Features);
            if let Some(features) = model.graph.role(Role::Features) {
                model.graph.mark_output(features)?;
            }
        }
        let mut graph = optimize(&model.graph, Fusion::Full)?;
        if settings.heat_map.is_some() {
            graph = add_class_map(&graph, &ClassMap::default())?;
        }
        let options = PlanOptions::new(Capabilities::of(device))
            .precision(settings.precision)
            .sharing(&context.pipelines);
        let options = options.input(if settings.tensors {
            InputFormat::Tensor
        } else {
            InputFormat::of(model.preprocess)
        });
        let plan = Plan::new(&graph, &options)?;
        let pipelines = &context.pipelines;
        let executor =
            Executor::with_pipelines(device, &context.queue, &plan, pipelines, &mut |_| ())?;
        let heat_map = match settings.heat_map {
            Some(_) => Some(picture(device, model.preprocess.size)?),
            None => None,
        };
        let painted = heat_map.as_ref().zip(settings.heat_map.as_ref());
        Ok(Self {
            output: output(device, &executor, &wanted, painted)?,
            readback: Readback::of(device, &executor, wanted.iter().copied())?,
            context: context.clone(),
            settings,
            executor,
            wanted,
            heat_map,
            labels: model.labels,
            known: Vec::new(),
            begun: None,
        })
    }

    /// Prepares every pipeline of a run on textures as [`Self::record_views`] takes them, for a host that records
    /// a few in each frame before it records its first run: colours, and video of two or of three planes, have one
    /// of their own each. The textures may be any others that are described alike.
    ///
    /// # Errors
    /// As [`Executor::texture_input`] and [`Executor::prewarm`].
    pub fn prewarm(
        &mut self,
        views: &[(&wgpu::TextureView, TextureRead)],
    ) -> Result<Prewarm, Error> {
        let input = self.input_of(views)?;
        self.executor.prewarm(&input, &self.output)
    }

    /// Paints the heat map of the next runs into a texture of the host, of any size and of one of the
    /// formats of [`HeatMap`]; also for other colours. It costs a table and a buffer, no pipeline and no
    /// weights. [Rebuilt](Self::rebuild), it paints into a texture of its own again.
    ///
    /// # Errors
    /// As [`OutputBuilder::heat_map`](super::OutputBuilder::heat_map);
    /// [`Error::Recording`] if it was built without a heat map.
    pub fn paint(&mut self, texture: &wgpu::Texture, how: &HeatMap) -> Result<(), Error> {
        if self.settings.heat_map.is_none() {
            return Err(Error::Recording {
                reason: "this classifier makes no heat map; ask its builder for one".to_owned(),
            });
        }
        let device = &self.context.device;
        let painted = Some((texture, how));
        self.output = output(device, &self.executor, &self.wanted, painted)?;
        self.settings.heat_map = Some(how.clone());
        self.heat_map = Some(texture.clone());
        self.begun = None;
        Ok(())
    }

    /// Records a run on a whole texture, and returns the number of the answer that will arrive; `None`
    /// if three answers are on their way, in which case this run gets none.
    ///
    /// The first run on a texture makes a bind group, and the first on one of another size the tables to
    /// resize it; the latest four textures are remembered. For anything but one whole texture of colours,
    /// see [`Self::record_views`].
    ///
    /// # Errors
    /// As [`Executor::texture_input`] and [`Executor::record`].
    pub fn record(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        texture: &wgpu::TextureView,
    ) -> Result<Option<u64>, Error> {
        self.record_views(encoder, &[(texture, TextureRead::default())])
    }

    /// Does what [`Self::record`] does with textures that are described: a batch, a part of one, light
    /// without bound, or a video, which [`Executor::texture_input`] shows. They are remembered as long as the
    /// descriptions stay the same. Video has a pipeline of its own, which [`Self::prewarm`] or its first run
    /// makes. For a part that moves, and for what is no texture, see [`Self::record_input`].
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn record_views(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        views: &[(&wgpu::TextureView, TextureRead)],
    ) -> Result<Option<u64>, Error> {
        let input = self.input_of(views)?;
        self.record_input(encoder, &input)
    }

    /// Records the next part of a run that is spread over as many frames, so that none of them takes longer than
    /// its share: the first part of a run on this texture, or the next one of the run that was begun.
    /// [`Poll::Ready`] has with the last part what [`Self::record`] returns.
    ///
    /// The texture must stay as it is until the first part has run. Recording a whole run, or to
    /// [paint](Self::paint) elsewhere, ends the one that was begun, without an answer.
    ///
    /// # Errors
    /// As [`Self::record`]; [`Error::Recording`] if there are no parts.
    pub fn record_part(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        texture: &wgpu::TextureView,
        parts: u32,
    ) -> Result<Poll<Option<u64>>, Error> {
        let mut run = match self.begun.take().filter(Cursor::is_latest) {
            Some(run) => run,
            None => {
                let input = self.input_of(&[(texture, TextureRead::default())])?;
                self.executor.start(&input, &self.output)?
            }
        };
        if run.record(encoder, Slice::Part(parts))? {
            self.readback.record(encoder).map(Poll::Ready)
        } else {
            self.begun = Some(run);
            Ok(Poll::Pending)
        }
    }

    /// Records a run on an input that was made for [the executor](Self::executor), such as one whose
    /// [rectangle moves](Input::set_rect); otherwise as [`Self::record`].
    ///
    /// # Errors
    /// As [`Executor::record`].
    pub fn record_input(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        input: &Input,
    ) -> Result<Option<u64>, Error> {
        self.executor.record(encoder, input, &self.output)?;
        self.readback.record(encoder)
    }

    /// The next answer that has arrived.
    ///
    /// # Errors
    /// As [`Readback::try_read`].
    pub fn poll(&self) -> Result<Option<Answer>, Error> {
        let results = self.readback.try_read()?;
        Ok(results.map(|(run, tensors)| self.answer(run, &tensors)))
    }

    /// The texture of the heat map, which each run paints: `rgba8unorm-srgb`, of the size of the network's
    /// image, unless it is [another](Self::paint).
    pub const fn heat_map(&self) -> Option<&wgpu::Texture> {
        self.heat_map.as_ref()
    }

    /// The executor, for everything else.
    pub const fn executor(&self) -> &Executor {
        &self.executor
    }

    /// Builds it anew, on another device if this one was lost, with weights that the host has kept or
    /// read again. Answers that were on their way do not arrive. Textures and their views must
    /// be made anew, too: where the device is of another instance, wgpu panics at old ones, or takes them for others.
    ///
    /// # Errors
    /// As [`ClassifierBuilder::build`].
    pub fn rebuild(&mut self, context: &Context, network: &Network) -> Result<(), Error> {
        *self = Self::new(context, network, self.settings.clone())?;
        Ok(())
    }

    fn input_of(&mut self, views: &[(&wgpu::TextureView, TextureRead)]) -> Result<Input, Error> {
        let device = &self.context.device;
        let is_known = |known: &[(wgpu::TextureView, TextureRead)]| {
            let mut pairs = known.iter().zip(views);
            known.len() == views.len()
                && pairs.all(|((known, how), (view, read))| known == *view && how == read)
        };
        let known = if let Some(at) = self.known.iter().position(|(known, _)| is_known(known)) {
            self.known.remove(at)
        } else {
            let like = self.known.last().filter(|(known, _)| {
                let reads = known.iter().map(|(_, read)| read);
                reads.eq(views.iter().map(|(_, read)| read))
            });
            let like = like.and_then(|(_, input)| {
                let views: Vec<_> = views.iter().map(|(view, _)| *view).collect();
                input.with_views(device, &self.executor, &views).ok()
            });
            let input = match like {
                Some(input) => input,
                None => {
                    // Those of another size will hardly come again.
                    self.known.clear();
                    self.executor.texture_input(device, views)?
                }
            };
            let views = views.iter().map(|(view, read)| ((*view).clone(), *read));
            (views.collect(), input)
        };
        if self.known.len() == KNOWN_VIEWS {
            self.known.remove(0);
        }
        let input = known.1.clone();
        self.known.push(known);
        Ok(input)
    }

    fn answer(&self, run: u64, tensors: &[Tensor]) -> Answer {
        let mut answer = Answer {
            run,
            guesses: Vec::new(),
            features: Vec::new(),
        };
        let outputs = self.readback.outputs();
        for (output, tensor) in outputs.zip(tensors) {
            let rows = tensor.data().chunks(tensor.len() / output.shape.n.max(1));
            if output.roles.contains(&Role::Probabilities) {
                answer.guesses = rows.map(|row| self.guesses(row)).collect();
            } else {
                answer.features = rows.map(<[f32]>::to_vec).collect();
            }
        }
        answer
    }

    fn guesses(&self, probabilities: &[f32]) -> Vec<Guess> {
        let label = |class: usize| {
            let label = self.labels.as_ref().and_then(|labels| labels.get(class));
            label.map_or_else(|| format!("class {class}"), str::to_owned)
        };
        let best = top_k(probabilities, GUESSES).into_iter();
        best.map(|class| Guess {
            class,
            label: label(class),
            probability: probabilities[class],
        })
        .collect()
    }
}

/// What a run computes and paints.
fn output(
    device: &wgpu::Device,
    executor: &Executor,
    wanted: &[Role],
    painted: Option<(&wgpu::Texture, &HeatMap)>,
) -> Result<Output, Error> {
    let mut output = Output::builder(executor);
    for &role in wanted {
        output = output.keep(role)?;
    }
    if let Some((texture, how)) = painted {
        output = output.heat_map(device, texture, how)?;
    }
    Ok(output.build())
}

/// A texture for a heat map.
fn picture(device: &wgpu::Device, [height, width]: [usize; 2]) -> Result<wgpu::Texture, Error> {
    let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
    guarded(device, "heat map", || {
        device.create_texture(&wgpu::TextureDescriptor {
            label: Some("resnet-wgpu heat map"),
            size: wgpu::Extent3d {
                width: side(width),
                height: side(height),
                depth_or_array_layers: 1,
            },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba8UnormSrgb,
            usage: wgpu::TextureUsages::TEXTURE_BINDING
                | wgpu::TextureUsages::COPY_DST
                | wgpu::TextureUsages::COPY_SRC,
            view_formats: &[],
        })
    })
}
