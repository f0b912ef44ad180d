//! ResNets in Bevy: what an image or a camera shows, with labels, heat maps and feature vectors, computed
//! within Bevy's own frames on Bevy's own device.
//!
//! ```no_run
//! use bevy::prelude::*;
//! use bevy_resnet::{Answered, Classify, ResnetPlugin};
//!
//! fn main() {
//!     App::new()
//!         .add_plugins((DefaultPlugins, ResnetPlugin))
//!         .add_systems(Startup, look)
//!         .add_observer(|answered: On<Answered>, seen: Query<&bevy_resnet::Classified>| {
//!             if let Ok(seen) = seen.get(answered.entity) {
//!                 info!("{} {:.2}", seen.guesses[0].label, seen.guesses[0].probability);
//!             }
//!         })
//!         .run();
//! }
//!
//! fn look(mut commands: Commands, assets: Res<AssetServer>) {
//!     let photo: Handle<Image> = assets.load("photo.png");
//!     commands.spawn(Classify::new(assets.load("resnet50.safetensors"), photo));
//! }
//! ```
//!
//! A network is an asset, [`ResnetNetwork`]: its file is any that `resnet_formats` reads. It is built in a
//! task, its pipelines are compiled a few in each frame, and only then it runs; no frame waits. It is
//! recorded in the render graph after the cameras, and nothing is submitted or polled on its behalf.
//!
//! The network is fastest with the features and limits of `resnet_wgpu::gpu::device_descriptor`. Bevy asks
//! for all that the adapter has unless its `WgpuSettings` say otherwise; the plugin warns of what is missing.

mod classify;
mod network;
mod render;

use bevy::prelude::*;

pub use classify::{Answered, Classified, Classify, ClassifyFailed, Source};
pub use network::{ResnetLoader, ResnetNetwork};
pub use resnet_wgpu;

/// Classifies whatever has the component [`Classify`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ResnetPlugin;

impl Plugin for ResnetPlugin {
    fn build(&self, app: &mut App) {
        app.init_asset::<ResnetNetwork>()
            .init_asset_loader::<ResnetLoader>();
        classify::build(app);
        render::build(app);
    }

    fn finish(&self, app: &mut App) {
        render::finish(app);
    }
}
