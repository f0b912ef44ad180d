//! Bevy without a window: networks are loaded, built and run in its frames. Needs a GPU.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::thread::sleep;
use std::time::Duration;

use bevy::app::PluginsState;
use bevy::asset::RenderAssetUsages;
use bevy::camera::RenderTarget;
use bevy::prelude::*;
use bevy::render::gpu_readback::{Readback, ReadbackComplete};
use bevy::render::pipelined_rendering::PipelinedRenderingPlugin;
use bevy::render::render_resource::{Extent3d, TextureDimension, TextureFormat, TextureUsages};
use bevy::window::ExitCondition;
use bevy_resnet::resnet_wgpu::gpu::HeatMap;
use bevy_resnet::resnet_wgpu::picture::Picture;
use bevy_resnet::{Answered, Classified, Classify, ClassifyFailed, ResnetPlugin};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const WEIGHTS: &str = "models/shapes/shapes.int8.safetensors";

/// Frames after the first answer.
const FRAMES: u32 = 30;

/// Frames that loading and compiling may take.
const PATIENCE: u32 = 20_000;

fn app() -> App {
    let mut app = App::new();
    let files = AssetPlugin {
        file_path: ROOT.to_owned(),
        ..AssetPlugin::default()
    };
    let no_window = WindowPlugin {
        primary_window: None,
        exit_condition: ExitCondition::DontExit,
        ..WindowPlugin::default()
    };
    let plugins = DefaultPlugins.set(files).set(no_window);
    app.add_plugins((plugins.disable::<PipelinedRenderingPlugin>(), ResnetPlugin));
    while app.plugins_state() == PluginsState::Adding {
        bevy::tasks::tick_global_task_pools_on_main_thread();
    }
    app.finish();
    app.cleanup();
    app
}

/// Runs frames until something is there.
fn until<T>(app: &mut App, what: &str, mut there: impl FnMut(&mut World) -> Option<T>) -> T {
    for _ in 0..PATIENCE {
        app.update();
        if let Some(it) = there(app.world_mut()) {
            return it;
        }
        sleep(Duration::from_millis(2));
    }
    panic!("no {what} in {PATIENCE} frames");
}

fn picture(name: &str) -> Image {
    let picture = Picture::open(format!("{ROOT}/assets/{name}.png")).unwrap();
    let rgb = picture.rgb().as_chunks::<3>().0;
    let rgba = rgb.iter().flat_map(|&[r, g, b]| [r, g, b, 255]).collect();
    let [height, width] = picture.size().map(|side| u32::try_from(side).unwrap());
    let size = Extent3d {
        width,
        height,
        depth_or_array_layers: 1,
    };
    let usages = RenderAssetUsages::RENDER_WORLD;
    let format = TextureFormat::Rgba8UnormSrgb;
    Image::new(size, TextureDimension::D2, rgba, format, usages)
}

fn add(app: &mut App, image: Image) -> Handle<Image> {
    app.world_mut().resource_mut::<Assets<Image>>().add(image)
}

#[derive(Default, Resource)]
struct Seen {
    answers: u32,
    map: Vec<u8>,
}

#[test]
fn an_image_is_named_and_its_heat_map_painted_in_thirty_frames() {
    let mut app = app();
    app.init_resource::<Seen>();
    app.add_observer(|_: On<Answered>, mut seen: ResMut<Seen>| seen.answers += 1);
    let source = add(&mut app, picture("torus"));
    let mut map = Classify::map_image(64);
    map.texture_descriptor.usage |= TextureUsages::COPY_SRC;
    let map = add(&mut app, map);
    let network = app.world().resource::<AssetServer>().load(WEIGHTS);
    let classify = Classify::new(network, source).heat_map(map.clone(), HeatMap::default());
    let looks = app.world_mut().spawn(classify.features()).id();
    until(&mut app, "answer", |world| {
        world.get::<Classified>(looks).cloned()
    });

    app.world_mut().resource_mut::<Seen>().answers = 0;
    app.world_mut().spawn(Readback::texture(map)).observe(
        |read: On<ReadbackComplete>, mut seen: ResMut<Seen>| seen.map.clone_from(&read.data),
    );
    for frame in 0..FRAMES {
        app.update();
        // Time for a software adapter, whose results would pile up.
        sleep(Duration::from_millis(30));
        let classified = app.world().get::<Classified>(looks).unwrap();
        let best = &classified.guesses[0];
        assert_eq!(best.label, "torus", "frame {frame}");
        assert!(best.probability > 0.5, "frame {frame}: {best:?}");
        assert!(classified.features.len() > 100, "frame {frame}");
    }
    let classified = app.world().get::<Classified>(looks).unwrap().clone();
    assert!(classified.age <= 6, "{} frames old", classified.age);
    let seen = app.world().resource::<Seen>();
    assert!(seen.answers >= FRAMES / 3, "{} answers", seen.answers);
    let alpha: Vec<u8> = seen.map.iter().skip(3).step_by(4).copied().collect();
    assert_eq!(alpha.len(), 64 * 64, "pixels of the map");
    let (least, most) = (alpha.iter().min(), alpha.iter().max());
    assert!(
        least < Some(&20) && most > Some(&200),
        "from {least:?} to {most:?}"
    );

    // Each run in parts, over four frames.
    app.world_mut().get_mut::<Classify>(looks).unwrap().over = 4;
    app.world_mut().resource_mut::<Seen>().answers = 0;
    for _ in 0..FRAMES {
        app.update();
        sleep(Duration::from_millis(30));
        let classified = app.world().get::<Classified>(looks).unwrap();
        assert_eq!(classified.guesses[0].label, "torus", "in parts");
    }
    let answers = app.world().resource::<Seen>().answers;
    let most = FRAMES / 4 + 3;
    assert!((FRAMES / 8..=most).contains(&answers), "{answers} answers");

    // Not at all.
    app.world_mut().get_mut::<Classify>(looks).unwrap().every = 0;
    for _ in 0..10 {
        app.update();
        sleep(Duration::from_millis(30));
    }
    let older = app.world().get::<Classified>(looks).unwrap();
    assert!(older.age > 5, "{} frames old", older.age);
    assert_eq!(older.guesses, classified.guesses, "the last answer stays");
}

#[test]
fn a_camera_is_looked_at_and_a_failure_is_told_and_mended() {
    let mut app = app();
    let target = Image::new_target_texture(64, 64, TextureFormat::Rgba8UnormSrgb, None);
    let target = add(&mut app, target);
    let camera = (Camera2d, RenderTarget::Image(target.into()));
    let camera = app.world_mut().spawn(camera).id();
    let network: Handle<_> = app.world().resource::<AssetServer>().load(WEIGHTS);

    let mut wrong = Classify::map_image(8);
    wrong.texture_descriptor.format = TextureFormat::Rgba8Snorm;
    let wrong = add(&mut app, wrong);
    let classify = Classify::new(network, camera).heat_map(wrong, HeatMap::default());
    let looks = app.world_mut().spawn(classify).id();
    let failed = until(&mut app, "failure", |world| {
        world.get::<ClassifyFailed>(looks).cloned()
    });
    assert!(
        failed.0.contains("rgba8snorm") || failed.0.contains("Rgba8Snorm"),
        "{failed:?}"
    );
    assert!(
        app.world().get::<Classified>(looks).is_none(),
        "an answer all the same"
    );

    app.world_mut().get_mut::<Classify>(looks).unwrap().heat_map = None;
    let classified = until(&mut app, "answer", |world| {
        world.get::<Classified>(looks).cloned()
    });
    let sum: f32 = classified
        .guesses
        .iter()
        .map(|guess| guess.probability)
        .sum();
    assert_eq!(classified.guesses.len(), 5, "{classified:?}");
    assert!((0.3..1.001).contains(&sum), "{classified:?}");
    assert!(classified.features.is_empty(), "nobody asked for features");
    assert!(
        app.world().get::<ClassifyFailed>(looks).is_none(),
        "it was mended"
    );
}
