//! A rotating solid, rendered into an image; what the bundled network takes it for, and why, over it.
//!
//!     cargo run --ignore-rust-version --release --features demo --example rotate
//!
//! Its keys are written next to the picture; S writes `bevy-resnet.png`.

use bevy::camera::RenderTarget;
use bevy::core_pipeline::tonemapping::Tonemapping;
use bevy::prelude::*;
use bevy::render::render_resource::TextureFormat;
use bevy::render::view::screenshot::{Screenshot, save_to_disk};
use bevy::window::WindowResolution;
use bevy_resnet::resnet_wgpu::gpu::{Colors, HeatMap};
use bevy_resnet::{Classified, Classify, ClassifyFailed, ResnetPlugin};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const WEIGHTS: &str = "models/shapes/shapes.int8.safetensors";

const KEYS: &str = "left, right   another solid\nspace         stop and go\nM             heat map\n\
                    S             screenshot";

/// Pixels of the picture that the network sees, and on the screen.
const SIDE: u32 = 448;

fn main() {
    let files = AssetPlugin {
        file_path: ROOT.to_owned(),
        ..AssetPlugin::default()
    };
    let window = WindowPlugin {
        primary_window: Some(Window {
            title: "bevy_resnet".to_owned(),
            resolution: WindowResolution::new(860, 560),
            ..Window::default()
        }),
        ..WindowPlugin::default()
    };
    App::new()
        .insert_resource(ClearColor(Color::srgb_u8(15, 17, 21)))
        .add_plugins(DefaultPlugins.set(files).set(window))
        .add_plugins(ResnetPlugin)
        .add_systems(Startup, (scene, interface).chain())
        .add_systems(Update, (keys, rotate, tell))
        .run();
}

/// The images that the camera draws into, and the network.
#[derive(Resource)]
struct Pictures {
    scene: Handle<Image>,
    map: Handle<Image>,
}

/// The solids, in turns, and which one is shown.
#[derive(Resource)]
struct Solids {
    meshes: Vec<(&'static str, Handle<Mesh>)>,
    shown: usize,
    spins: bool,
}

#[derive(Component)]
struct Solid;

#[derive(Component)]
struct MapNode;

#[derive(Component, Clone, Copy)]
enum Line {
    Label,
    Bars,
    Status,
}

fn scene(
    mut commands: Commands,
    mut images: ResMut<Assets<Image>>,
    mut meshes: ResMut<Assets<Mesh>>,
    mut materials: ResMut<Assets<StandardMaterial>>,
    assets: Res<AssetServer>,
) {
    let scene = images.add(Image::new_target_texture(
        SIDE,
        SIDE,
        TextureFormat::Rgba8UnormSrgb,
        None,
    ));
    let map = images.add(Classify::map_image(128));
    let solids = vec![
        ("torus", meshes.add(Torus::new(0.45, 1.05))),
        ("cone", meshes.add(Cone::new(0.9, 1.8))),
        ("cube", meshes.add(Cuboid::from_length(1.3))),
        ("cylinder", meshes.add(Cylinder::new(0.7, 1.6))),
        ("sphere", meshes.add(Sphere::new(0.95).mesh().uv(48, 32))),
    ];
    commands.spawn((
        Solid,
        Mesh3d(solids[0].1.clone()),
        MeshMaterial3d(materials.add(StandardMaterial {
            base_color: Color::srgb_u8(70, 110, 190),
            perceptual_roughness: 0.55,
            ..StandardMaterial::default()
        })),
        Transform::default(),
    ));
    let light = DirectionalLight {
        illuminance: 6_000.0,
        ..DirectionalLight::default()
    };
    let above = Transform::from_xyz(2.0, 4.0, 3.0).looking_at(Vec3::ZERO, Vec3::Y);
    commands.spawn((light, above));
    commands.spawn((
        Camera3d::default(),
        // The default one needs tables, and a feature of Bevy's for them.
        Tonemapping::AcesFitted,
        Camera {
            order: -1,
            clear_color: ClearColorConfig::Custom(Color::srgb_u8(150, 152, 158)),
            ..Camera::default()
        },
        RenderTarget::Image(scene.clone().into()),
        Transform::from_xyz(0.0, 2.2, 3.6).looking_at(Vec3::ZERO, Vec3::Y),
    ));

    // The network looks at the image in every frame, and paints what speaks for its guess.
    let mut how = HeatMap::default();
    how.colors = Colors::Ember;
    let look = Classify::new(assets.load(WEIGHTS), scene.clone());
    commands.spawn(look.heat_map(map.clone(), how));
    commands.insert_resource(Solids {
        meshes: solids,
        shown: 0,
        spins: true,
    });
    commands.insert_resource(Pictures { scene, map });
}

fn interface(mut commands: Commands, pictures: Res<Pictures>) {
    commands.spawn(Camera2d);
    let square = Node {
        width: px(SIDE),
        height: px(SIDE),
        ..Node::default()
    };
    let over = Node {
        position_type: PositionType::Absolute,
        ..square.clone()
    };
    let text = |line, size: f32, color: Color| {
        let font = TextFont::from_font_size(size);
        (line, Text::default(), font, TextColor(color))
    };
    let muted = Color::srgb_u8(146, 154, 168);
    let page = Node {
        width: percent(100),
        height: percent(100),
        padding: UiRect::all(px(32)),
        column_gap: px(32),
        align_items: AlignItems::Center,
        ..Node::default()
    };
    let column = Node {
        flex_direction: FlexDirection::Column,
        row_gap: px(16),
        ..Node::default()
    };
    commands.spawn((
        page,
        children![
            (
                square,
                children![
                    (over.clone(), ImageNode::new(pictures.scene.clone())),
                    (MapNode, over, ImageNode::new(pictures.map.clone())),
                ]
            ),
            (
                column,
                children![
                    text(Line::Label, 34.0, Color::srgb_u8(232, 235, 240)),
                    text(Line::Bars, 17.0, Color::srgb_u8(200, 206, 216)),
                    text(Line::Status, 14.0, muted),
                ]
            ),
        ],
    ));
}

fn keys(
    mut commands: Commands,
    pressed: Res<ButtonInput<KeyCode>>,
    mut solids: ResMut<Solids>,
    mut solid: Single<&mut Mesh3d, With<Solid>>,
    mut map: Single<&mut Visibility, With<MapNode>>,
) {
    let count = solids.meshes.len();
    let step = if pressed.just_pressed(KeyCode::ArrowRight) {
        1
    } else if pressed.just_pressed(KeyCode::ArrowLeft) {
        count - 1
    } else {
        0
    };
    if step > 0 {
        solids.shown = (solids.shown + step) % count;
        solid.0 = solids.meshes[solids.shown].1.clone();
    }
    if pressed.just_pressed(KeyCode::Space) {
        solids.spins = !solids.spins;
    }
    if pressed.just_pressed(KeyCode::KeyM) {
        map.toggle_inherited_hidden();
    }
    if pressed.just_pressed(KeyCode::KeyS) {
        let picture = commands.spawn(Screenshot::primary_window());
        let picture = picture.id();
        commands
            .entity(picture)
            .observe(save_to_disk("bevy-resnet.png"));
    }
}

fn rotate(time: Res<Time>, solids: Res<Solids>, mut solid: Single<&mut Transform, With<Solid>>) {
    if solids.spins {
        solid.rotate_y(0.6 * time.delta_secs());
        solid.rotate_local_x(0.15 * time.delta_secs());
    }
}

/// Writes what the network says next to the picture.
fn tell(
    solids: Res<Solids>,
    seen: Query<(Option<&Classified>, Option<&ClassifyFailed>), With<Classify>>,
    mut lines: Query<(&Line, &mut Text)>,
) {
    let Ok((classified, failed)) = seen.single() else {
        return;
    };
    for (line, mut text) in &mut lines {
        let new = match (line, failed, classified) {
            (Line::Label, Some(_), _) => "no answer".to_owned(),
            (Line::Label, None, None) => "loading".to_owned(),
            (Line::Label, None, Some(seen)) => seen
                .guesses
                .first()
                .map(|best| best.label.clone())
                .unwrap_or_default(),
            (Line::Bars, Some(failed), _) => failed.0.clone(),
            (Line::Bars, None, None) => "the network is read and compiled".to_owned(),
            (Line::Bars, None, Some(seen)) => {
                let worth_telling = seen
                    .guesses
                    .iter()
                    .filter(|guess| guess.probability >= 0.01);
                let told = worth_telling
                    .map(|guess| format!("{:.1} %   {}", 100.0 * guess.probability, guess.label));
                told.collect::<Vec<_>>().join("\n")
            }
            (Line::Status, _, seen) => {
                let shown = solids.meshes[solids.shown].0;
                let age = seen.map_or_else(String::new, |seen| {
                    format!(", seen {} frames ago", seen.age)
                });
                format!("shown: {shown}{age}\n\n{KEYS}")
            }
        };
        if text.0 != new {
            text.0 = new;
        }
    }
}
