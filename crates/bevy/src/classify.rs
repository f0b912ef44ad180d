//! The component that asks for answers, and those that have them.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use bevy::prelude::*;
use resnet_wgpu::gpu::{Answer, Guess, HeatMap};

use crate::network::ResnetNetwork;

/// Has a network look at something, over and over.
#[derive(Clone, Component, Debug)]
#[non_exhaustive]
pub struct Classify {
    /// The network; nothing happens before it is loaded.
    pub network: Handle<ResnetNetwork>,
    /// What it looks at.
    pub source: Source,
    /// It looks once in so many frames: in each if 1, and not at all if 0.
    pub every: u32,
    /// The frames over which the work of a run is spread, if each of them has little time to spare.
    pub over: u32,
    /// The image into which the heat map is painted, as [`Classify::map_image`] makes one.
    pub heat_map: Option<Handle<Image>>,
    /// How it is painted. Bevy blends with straight alpha, which is the default.
    pub heat: HeatMap,
    /// Whether feature vectors are wanted.
    pub features: bool,
}

/// What a network looks at.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Source {
    /// An image, which may be the target of a camera.
    Image(Handle<Image>),
    /// What a camera has drawn in this frame, before it is scaled to its target. A camera with `Hdr` draws
    /// light, not the numbers of pictures: give it an image as its target, and that as the source.
    Camera(Entity),
}

impl From<Handle<Image>> for Source {
    fn from(image: Handle<Image>) -> Self {
        Self::Image(image)
    }
}

impl From<Entity> for Source {
    fn from(camera: Entity) -> Self {
        Self::Camera(camera)
    }
}

impl Classify {
    /// Looks in every frame, for labels alone.
    pub fn new(network: Handle<ResnetNetwork>, source: impl Into<Source>) -> Self {
        Self {
            network,
            source: source.into(),
            every: 1,
            over: 1,
            heat_map: None,
            heat: HeatMap::default(),
            features: false,
        }
    }

    /// Looks once in so many frames.
    #[must_use]
    pub const fn every(mut self, frames: u32) -> Self {
        self.every = frames;
        self
    }

    /// Spreads each run over so many frames, which bounds what it takes of one: a frame has about as much of the
    /// work as any other. The next run begins after the last part.
    #[must_use]
    pub const fn over(mut self, frames: u32) -> Self {
        self.over = frames;
        self
    }

    /// Paints what speaks for the best guess into an image. Such a run may take three times as long.
    #[must_use]
    pub fn heat_map(mut self, image: Handle<Image>, how: HeatMap) -> Self {
        (self.heat_map, self.heat) = (Some(image), how);
        self
    }

    /// Asks for feature vectors, too.
    #[must_use]
    pub const fn features(mut self) -> Self {
        self.features = true;
        self
    }

    /// A transparent image of `side` × `side` pixels, for a heat map.
    pub fn map_image(side: u32) -> Image {
        use bevy::render::render_resource::{Extent3d, TextureDimension, TextureFormat};
        let size = Extent3d {
            width: side,
            height: side,
            depth_or_array_layers: 1,
        };
        let usages = bevy::asset::RenderAssetUsages::RENDER_WORLD;
        let format = TextureFormat::Rgba8UnormSrgb;
        Image::new_fill(size, TextureDimension::D2, &[0; 4], format, usages)
    }
}

/// The latest answer for an entity with [`Classify`].
#[derive(Clone, Component, Debug, PartialEq)]
#[non_exhaustive]
pub struct Classified {
    /// The five most likely classes, the best one first; none without a classifier.
    pub guesses: Vec<Guess>,
    /// The feature vector, if it was asked for.
    pub features: Vec<f32>,
    /// The frames since the picture was seen that this is about; it grows until the next answer.
    pub age: u64,
    /// The frame in which it was seen.
    frame: u64,
}

/// [`Classified`] of an entity is new.
#[derive(Clone, Copy, Debug, EntityEvent)]
pub struct Answered {
    /// The entity.
    pub entity: Entity,
}

/// Why there are no answers. It goes when [`Classify`] changes.
#[derive(Clone, Component, Debug, PartialEq, Eq)]
pub struct ClassifyFailed(pub String);

/// What the render world tells.
#[derive(Debug)]
pub(crate) enum News {
    Answer {
        entity: Entity,
        frame: u64,
        answer: Answer,
    },
    Failure {
        entity: Entity,
        reason: String,
    },
}

/// The number of the current frame.
#[derive(Clone, Copy, Debug, Default, Resource)]
pub(crate) struct Frame(pub(crate) u64);

/// Where the render world's news arrive.
#[derive(Debug, Resource)]
struct Inbox(Mutex<Receiver<News>>);

/// Where the render world sends its news.
#[derive(Clone, Debug, Resource)]
pub(crate) struct Outbox(pub(crate) Sender<News>);

pub(crate) fn build(app: &mut App) {
    let (sender, receiver) = channel();
    app.init_resource::<Frame>()
        .insert_resource(Inbox(Mutex::new(receiver)))
        .insert_resource(Outbox(sender))
        .add_systems(PreUpdate, (forget_failures, receive).chain());
}

fn forget_failures(
    mut commands: Commands,
    changed: Query<Entity, (Changed<Classify>, With<ClassifyFailed>)>,
) {
    for entity in &changed {
        commands.entity(entity).remove::<ClassifyFailed>();
    }
}

fn receive(
    mut commands: Commands,
    mut frame: ResMut<Frame>,
    inbox: Res<Inbox>,
    mut known: Query<&mut Classified>,
) {
    frame.0 += 1;
    for mut classified in &mut known {
        classified.age = frame.0 - classified.frame;
    }
    let Ok(inbox) = inbox.0.lock() else {
        return;
    };
    for news in inbox.try_iter() {
        match news {
            News::Answer {
                entity,
                frame: seen,
                mut answer,
            } => {
                let Ok(mut entity_commands) = commands.get_entity(entity) else {
                    continue;
                };
                entity_commands.insert(Classified {
                    guesses: answer.guesses.pop().unwrap_or_default(),
                    features: answer.features.pop().unwrap_or_default(),
                    age: frame.0 - seen,
                    frame: seen,
                });
                commands.trigger(Answered { entity });
            }
            News::Failure { entity, reason } => {
                error!("{reason}");
                if let Ok(mut entity) = commands.get_entity(entity) {
                    entity.insert(ClassifyFailed(reason));
                }
            }
        }
    }
}
