//! What happens in the render world: networks are built in tasks, warmed, and recorded in the render graph.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::Poll;

use bevy::core_pipeline::schedule::camera_driver;
use bevy::prelude::*;
use bevy::render::render_asset::RenderAssets;
use bevy::render::renderer::{
    RenderContext, RenderDevice, RenderGraph, RenderGraphSystems, RenderQueue,
};
use bevy::render::sync_world::RenderEntity;
use bevy::render::texture::GpuImage;
use bevy::render::view::ViewTarget;
use bevy::render::{Extract, ExtractSchedule, GpuResourceAppExt, Render, RenderApp, RenderSystems};
use bevy::tasks::{AsyncComputeTaskPool, Task, futures::check_ready};
use resnet_wgpu::gpu::{Classifier, Context, HeatMap, Prewarm, TextureRead, optional_features};
use resnet_wgpu::network::Network;
use resnet_wgpu::{Error, wgpu};

use crate::classify::{Classify, ClassifyFailed, Frame, News, Outbox, Source};
use crate::network::ResnetNetwork;

/// Pipelines that are compiled in each frame before the first run.
const WARM: usize = 2;

pub(crate) fn build(app: &mut App) {
    let outbox = app.world().resource::<Outbox>().clone();
    let Some(render_app) = app.get_sub_app_mut(RenderApp) else {
        return;
    };
    render_app
        .insert_resource(outbox)
        .init_resource::<Wanted>()
        // A lost device takes them along, and the next one begins anew.
        .init_gpu_resource::<Jobs>()
        .add_systems(ExtractSchedule, extract)
        .add_systems(
            RenderGraph,
            record
                .in_set(RenderGraphSystems::Render)
                .after(camera_driver),
        )
        .add_systems(
            Render,
            (
                prepare.in_set(RenderSystems::PrepareResources),
                receive.in_set(RenderSystems::Cleanup),
            ),
        );
}

/// Says what the device lacks.
pub(crate) fn finish(app: &App) {
    let Some(device) = app.world().get_resource::<RenderDevice>() else {
        return;
    };
    let missing = optional_features() - device.features();
    if !missing.is_empty() {
        debug!("networks would be faster with what this device lacks: {missing:?}");
    }
    if device.limits().max_immediate_size == 0 {
        warn!(
            "this device has no immediates, without which networks are several times slower on software \
             adapters; WgpuSettings with the priority Functionality ask for them"
        );
    }
}

/// What is asked for in this frame.
#[derive(Default, Resource)]
struct Wanted {
    frame: u64,
    looks: Vec<Look>,
}

struct Look {
    entity: Entity,
    id: AssetId<ResnetNetwork>,
    network: Arc<Network>,
    source: Seen,
    every: u32,
    over: u32,
    heat_map: Option<(AssetId<Image>, HeatMap)>,
    features: bool,
}

/// A source in the render world.
#[derive(Clone, Copy)]
enum Seen {
    Image(AssetId<Image>),
    Camera(Entity),
}

fn extract(
    mut wanted: ResMut<Wanted>,
    frame: Extract<Res<Frame>>,
    networks: Extract<Res<Assets<ResnetNetwork>>>,
    classify: Extract<Query<(Entity, &Classify), Without<ClassifyFailed>>>,
    cameras: Extract<Query<RenderEntity, With<Camera>>>,
) {
    wanted.frame = frame.0;
    wanted.looks.clear();
    for (entity, classify) in &classify {
        let id = classify.network.id();
        let Some(ResnetNetwork(network)) = networks.get(id) else {
            continue;
        };
        let source = match &classify.source {
            Source::Image(image) => Seen::Image(image.id()),
            Source::Camera(camera) => match cameras.get(*camera) {
                Ok(camera) => Seen::Camera(camera),
                Err(_) => continue,
            },
        };
        let map = classify.heat_map.as_ref();
        wanted.looks.push(Look {
            entity,
            id,
            network: Arc::clone(network),
            source,
            every: classify.every,
            over: classify.over,
            heat_map: map.map(|image| (image.id(), classify.heat.clone())),
            features: classify.features,
        });
    }
}

/// The networks at work, by the entity that asked.
#[derive(Resource)]
struct Jobs {
    context: Context,
    by_entity: HashMap<Entity, Job>,
}

impl FromWorld for Jobs {
    fn from_world(world: &mut World) -> Self {
        let device = world.resource::<RenderDevice>().wgpu_device().clone();
        let queue: &wgpu::Queue = world.resource::<RenderQueue>();
        Self {
            context: Context::of(device, queue.clone()),
            by_entity: HashMap::new(),
        }
    }
}

struct Job {
    kind: Kind,
    state: State,
    /// Where the map is painted, and how.
    painted: Option<(wgpu::Texture, HeatMap)>,
    /// Frames since it looked last.
    since: u32,
    /// The frame that the run has seen of which some parts are recorded.
    begun: Option<u64>,
    /// The runs under way, and the frame that each has seen.
    seen: VecDeque<(u64, u64)>,
}

/// What a classifier was built for.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kind {
    id: AssetId<ResnetNetwork>,
    features: bool,
    maps: bool,
}

enum State {
    Building(Task<Result<Box<Classifier>, Error>>),
    /// Its pipelines are being compiled, once it is known what it looks at.
    Warming(Box<Classifier>, Option<Prewarm>),
    Ready(Box<Classifier>),
    Failed,
}

impl Job {
    fn new(context: &Context, look: &Look, kind: Kind) -> Self {
        let (context, network) = (context.clone(), Arc::clone(&look.network));
        let build = async move {
            let mut builder = Classifier::builder(&network);
            if kind.features {
                builder = builder.features();
            }
            if kind.maps {
                builder = builder.heat_map(HeatMap::default());
            }
            builder.build(&context).map(Box::new)
        };
        Self {
            kind,
            state: State::Building(AsyncComputeTaskPool::get().spawn(build)),
            painted: None,
            since: u32::MAX,
            begun: None,
            seen: VecDeque::new(),
        }
    }

    /// Takes the classifier once it is built.
    fn take_built(&mut self) -> Result<(), Error> {
        if let State::Building(task) = &mut self.state
            && let Some(built) = check_ready(task)
        {
            self.state = State::Warming(built?, None);
        }
        Ok(())
    }

    /// Has the map painted where and how it is wanted.
    fn paint(&mut self, wanted: Option<(&wgpu::Texture, &HeatMap)>) -> Result<(), Error> {
        let (State::Warming(classifier, _) | State::Ready(classifier)) = &mut self.state else {
            return Ok(());
        };
        let Some((texture, how)) = wanted else {
            return Ok(());
        };
        let same = |painted: &(wgpu::Texture, HeatMap)| (&painted.0, &painted.1) == (texture, how);
        if !self.painted.as_ref().is_some_and(same) {
            classifier.paint(texture, how)?;
            self.begun = None;
            self.painted = Some((texture.clone(), how.clone()));
        }
        Ok(())
    }

    /// Records what is due in this frame.
    fn record(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        view: &wgpu::TextureView,
        frame: u64,
        look: &Look,
    ) -> Result<(), Error> {
        if let State::Warming(classifier, warming) = &mut self.state {
            let warming = match warming {
                Some(warming) => warming,
                none => none.insert(classifier.prewarm(&[(view, TextureRead::default())])?),
            };
            if warming.record(encoder, WARM) {
                let state = std::mem::replace(&mut self.state, State::Failed);
                if let State::Warming(classifier, _) = state {
                    self.state = State::Ready(classifier);
                }
            }
            return Ok(());
        }
        self.since = self.since.saturating_add(1);
        let is_due = look.every > 0 && self.since >= look.every;
        if !is_due && self.begun.is_none() {
            return Ok(());
        }
        if let State::Ready(classifier) = &mut self.state {
            if self.begun.is_none() {
                self.since = 0;
            }
            let seen = *self.begun.get_or_insert(frame);
            if let Poll::Ready(run) = classifier.record_part(encoder, view, look.over.max(1))? {
                self.begun = None;
                self.seen.extend(run.map(|run| (run, seen)));
            }
        }
        Ok(())
    }
}

/// Begins what is new, and ends what nobody asks for any more.
fn prepare(
    wanted: Res<Wanted>,
    mut jobs: ResMut<Jobs>,
    images: Res<RenderAssets<GpuImage>>,
    outbox: Res<Outbox>,
) {
    let Jobs { context, by_entity } = &mut *jobs;
    by_entity.retain(|entity, _| wanted.looks.iter().any(|look| look.entity == *entity));
    for look in &wanted.looks {
        let kind = Kind {
            id: look.id,
            features: look.features,
            maps: look.heat_map.is_some(),
        };
        let job = by_entity
            .entry(look.entity)
            .or_insert_with(|| Job::new(context, look, kind));
        if job.kind != kind {
            *job = Job::new(context, look, kind);
        }
        let map: Option<(&wgpu::Texture, &HeatMap)> = match &look.heat_map {
            Some((id, how)) => images.get(*id).map(|image| (&*image.texture, how)),
            None => None,
        };
        let done = job.take_built().and_then(|()| job.paint(map));
        fail_on(done, job, look.entity, &outbox);
    }
}

/// Records every network that is due, after the cameras have drawn.
fn record(
    mut render: RenderContext,
    wanted: Res<Wanted>,
    mut jobs: ResMut<Jobs>,
    images: Res<RenderAssets<GpuImage>>,
    views: Query<&ViewTarget>,
    outbox: Res<Outbox>,
) {
    for look in &wanted.looks {
        let view: Option<&wgpu::TextureView> = match look.source {
            Seen::Image(id) => images.get(id).map(|image| &*image.texture_view),
            Seen::Camera(camera) => views
                .get(camera)
                .ok()
                .map(|view| &**view.main_texture_view()),
        };
        let Some((view, job)) = view.zip(jobs.by_entity.get_mut(&look.entity)) else {
            continue;
        };
        let done = job.record(render.command_encoder(), view, wanted.frame, look);
        fail_on(done, job, look.entity, &outbox);
    }
}

/// Sends the answers that have arrived to the main world.
fn receive(mut jobs: ResMut<Jobs>, outbox: Res<Outbox>) {
    for (&entity, job) in &mut jobs.by_entity {
        while let State::Ready(classifier) = &job.state {
            match classifier.poll() {
                Ok(None) => break,
                Ok(Some(answer)) => {
                    let known = job.seen.iter().position(|&(run, _)| run == answer.run);
                    let Some((_, frame)) = known.and_then(|at| job.seen.drain(..=at).next_back())
                    else {
                        continue;
                    };
                    // Nobody listens if the app is about to end.
                    let _ = outbox.0.send(News::Answer {
                        entity,
                        frame,
                        answer,
                    });
                }
                Err(error) => fail_on(Err(error), job, entity, &outbox),
            }
        }
    }
}

/// Ends a job that failed, and says why.
fn fail_on(done: Result<(), Error>, job: &mut Job, entity: Entity, outbox: &Outbox) {
    if let Err(error) = done {
        job.state = State::Failed;
        let reason = error.to_string();
        let _ = outbox.0.send(News::Failure { entity, reason });
    }
}
