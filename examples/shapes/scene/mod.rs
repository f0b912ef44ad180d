//! Pictures of solids, ray-marched on the GPU: what they contain, and the renderer.
//!
//! A [`Scene`] describes one picture in numbers; [`Scene::random`] makes one from a shape and a
//! seed, always the same for the same seed. [`Renderer`] draws many scenes of one shape per
//! dispatch into a texture, through `scene.wgsl` and `nothing.wgsl`; [`Studio`] brings them back to the host. Shared
//! by the examples `shapes` (which writes data sets) and `viewer` (which shows one scene, live),
//! and by tests.

#![allow(dead_code, reason = "each program uses its own part of this module")]

mod dice;
mod renderer;
mod shape;
mod studio;

use std::f32::consts::{PI, TAU};

use bytemuck::{Pod, Zeroable};
use glam::{EulerRot, Mat3, Quat, Vec2, Vec3, vec2, vec3};

use dice::Dice;
pub(crate) use renderer::{FORMAT, Renderer};
pub(crate) use shape::{CLASSES, Shape};
#[allow(
    unused_imports,
    reason = "each program uses its own part of this module"
)]
pub(crate) use {
    renderer::source,
    studio::{Pictures, Studio},
};

/// The pattern on a surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Pattern {
    Plain,
    Checker,
    Stripes,
    Noise,
}

/// What is drawn in place of a scene, in the order of the shader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Drawing {
    /// The scene is shown.
    None,
    Flat,
    Gradient,
    Noise,
    Pattern,
    Text,
    Leaves,
    Scribble,
    Blot,
}

/// The sides from which solids are seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Sides {
    /// Those from which they are easily told apart.
    #[default]
    Clear,
    /// All.
    Any,
    /// Clear ones, and three times in ten any.
    Mixed,
}

/// One picture, in the layout of the shader; `scene.wgsl` explains each field.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Scene {
    pub(crate) eye: Vec3,
    pub(crate) focal: f32,
    pub(crate) right: Vec3,
    pub(crate) centre_x: f32,
    pub(crate) up: Vec3,
    pub(crate) centre_y: f32,
    pub(crate) forward: Vec3,
    pub(crate) size: f32,
    pub(crate) frame_x: Vec3,
    pub(crate) proportion_x: f32,
    pub(crate) frame_y: Vec3,
    pub(crate) proportion_y: f32,
    pub(crate) frame_z: Vec3,
    pub(crate) seed: u32,
    pub(crate) light: Vec3,
    pub(crate) shadow: f32,
    pub(crate) tile: [u32; 2],
    pub(crate) solid_a: u32,
    pub(crate) solid_b: u32,
    pub(crate) ground_a: u32,
    pub(crate) ground_b: u32,
    pub(crate) sky_top: u32,
    pub(crate) sky_bottom: u32,
    pub(crate) light_colour: u32,
    pub(crate) board_colour: u32,
    pub(crate) solid_pattern: u32,
    pub(crate) ground_pattern: u32,
    pub(crate) solid_scale: f32,
    pub(crate) ground_scale: f32,
    pub(crate) ground_height: f32,
    pub(crate) sky_clouds: f32,
    pub(crate) specular: f32,
    pub(crate) shininess: f32,
    pub(crate) ambient: f32,
    pub(crate) noise: f32,
    pub(crate) board_direction: Vec2,
    pub(crate) board_inner: f32,
    pub(crate) board_outer: f32,
    pub(crate) board_length: f32,
    pub(crate) exposure: f32,
    pub(crate) drawing: u32,
    padding: [u32; 5],
}

/// A camera on a sphere around the solid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Camera {
    /// Angle around the vertical axis, in radians.
    pub(crate) yaw: f32,
    /// Elevation above the horizon, in radians.
    pub(crate) pitch: f32,
    /// Rotation around the line of sight, in radians.
    pub(crate) roll: f32,
    /// Half the field of view, in radians.
    pub(crate) half_view: f32,
    /// The fraction of half the picture that the unit sphere takes up.
    pub(crate) share: f32,
}

impl Scene {
    /// A picture of a shape with everything else chosen at random, `size` pixels square.
    pub(crate) fn random(shape: Shape, sides: Sides, seed: u64, size: u32) -> Self {
        let mut dice = Dice::new(seed);
        let standing = dice.chance(0.6);
        let proportions = shape
            .proportions()
            .map(|[low, high]| dice.between(low, high));
        let proportions = Vec2::from(proportions);
        let (camera, frame) = pose(shape, sides, standing, &mut dice);
        let with_ground = standing || dice.chance(0.5);
        let ground_height = if !with_ground {
            NO_GROUND
        } else if standing {
            -shape.depth(proportions)
        } else {
            -dice.between(1.0, 1.3)
        };
        let colours = Colours::random(&mut dice);
        let mut scene = Self {
            solid_a: packed(colours.solid),
            solid_b: packed(colours.solid_mark),
            ground_a: packed(colours.ground),
            ground_b: packed(colours.ground_mark),
            sky_top: packed(colours.sky_top),
            sky_bottom: packed(colours.sky_bottom),
            light_colour: packed(vec3(1.0, dice.between(0.86, 1.0), dice.between(0.75, 1.0))),
            board_colour: packed(hsv(
                dice.unit(),
                dice.between(0.0, 0.7),
                dice.between(0.15, 0.9),
            )),
            solid_pattern: pattern(&mut dice, 0.45),
            ground_pattern: pattern(&mut dice, 0.4),
            solid_scale: dice.between(1.6, 3.0),
            ground_scale: dice.between(0.4, 1.4),
            ground_height,
            sky_clouds: if dice.chance(0.5) {
                dice.between(0.2, 0.9)
            } else {
                0.0
            },
            specular: if dice.chance(0.6) {
                dice.between(0.1, 0.8)
            } else {
                0.0
            },
            shininess: dice.between(5.0, 80.0),
            ambient: dice.between(0.22, 0.45),
            noise: if dice.chance(0.5) {
                dice.between(0.0, 0.035)
            } else {
                0.0
            },
            exposure: dice.between(0.9, 1.3),
            shadow: dice.between(0.5, 1.0),
            size: size as f32,
            seed: dice.bits(),
            ..Self::zeroed()
        };
        scene.set_frame(frame, proportions);
        scene.set_camera(camera);
        scene.light = light(scene.eye, &mut dice);
        // Keeps the solid inside the picture.
        let margin = 0.9 * (1.0 - camera.share);
        scene.centre_x = dice.between(-margin, margin);
        scene.centre_y = dice.between(-margin, margin);
        if dice.chance(0.35) {
            scene.set_board(camera.share, &mut dice);
        }
        if shape == Shape::Nothing {
            scene.empty(&mut dice);
        }
        scene
    }

    /// Leaves out the solid: the ground and the sky alone, another thing, or a drawing.
    fn empty(&mut self, dice: &mut Dice) {
        use Drawing::{Blot, Flat, Gradient, Leaves, Noise, None, Pattern, Scribble, Text};
        // Each as often as it stands here.
        let drawings = [
            Flat, Gradient, Gradient, Noise, Noise, Pattern, Pattern, Text, Text, Leaves, Leaves,
            Leaves, Scribble, Blot,
        ];
        let chosen = drawings[dice.bits() as usize % drawings.len()];
        match dice.unit() {
            ..0.18 => self.proportion_x = 0.0,
            ..0.48 => self.proportion_x = self.proportion_x.floor(),
            _ => self.drawing = chosen as u32,
        }
        debug_assert_ne!(chosen, None, "the scene is no drawing");
    }

    /// A well-lit picture for people: the shape is upright, without noise, board or tilt.
    pub(crate) fn display(shape: Shape, seed: u64, size: u32) -> Self {
        let mut scene = Self::random(shape, Sides::Clear, seed, size);
        let proportions = shape.proportions().map(|[low, high]| 0.5 * (low + high));
        let proportions = Vec2::from(proportions);
        scene.set_frame(Mat3::IDENTITY, proportions);
        scene.ground_height = -shape.depth(proportions);
        scene.light = vec3(0.45, 0.75, 0.5).normalize();
        (scene.centre_x, scene.centre_y) = (0.0, 0.0);
        (scene.board_length, scene.noise) = (0.0, 0.0);
        if shape == Shape::Nothing {
            (scene.proportion_x, scene.drawing) = (0.0, Drawing::None as u32);
        }
        scene
    }

    /// Sets the solid's axes in the world, and its proportions.
    fn set_frame(&mut self, frame: Mat3, proportions: Vec2) {
        (self.frame_x, self.frame_y, self.frame_z) = (frame.x_axis, frame.y_axis, frame.z_axis);
        (self.proportion_x, self.proportion_y) = proportions.into();
    }

    /// Sets the camera.
    pub(crate) fn set_camera(&mut self, camera: Camera) {
        let direction = camera.direction();
        // At the distance at which the unit sphere just fills its share of the picture.
        let half_angle = (camera.half_view.tan() * camera.share).atan();
        self.eye = direction / half_angle.sin();
        self.forward = -direction;
        let level = Vec3::Y.cross(direction).normalize();
        let upright = direction.cross(level);
        let (sin, cos) = camera.roll.sin_cos();
        self.right = cos * level + sin * upright;
        self.up = cos * upright - sin * level;
        self.focal = 1.0 / camera.half_view.tan();
    }

    /// Puts a board in front of the solid that hides a strip at its edge.
    fn set_board(&mut self, share: f32, dice: &mut Dice) {
        let (sin, cos) = dice.between(0.0, TAU).sin_cos();
        self.board_direction = vec2(cos, sin);
        // The strip of a disc beyond 0.4 of its radius is a quarter of its area.
        self.board_inner = share * dice.between(0.4, 0.8);
        self.board_outer = self.board_inner + dice.between(0.15, 0.4);
        self.board_length = dice.between(0.6, 2.5);
    }
}

impl Camera {
    /// The direction from the solid to the camera.
    fn direction(self) -> Vec3 {
        let (sin, cos) = self.pitch.sin_cos();
        vec3(cos * self.yaw.sin(), sin, cos * self.yaw.cos())
    }
}

/// Below this height, the shader draws no ground.
const NO_GROUND: f32 = -1000.0;

/// A camera and a rotation of the solid.
fn pose(shape: Shape, sides: Sides, standing: bool, dice: &mut Dice) -> (Camera, Mat3) {
    let any = match sides {
        Sides::Clear => false,
        Sides::Any => true,
        Sides::Mixed => dice.chance(0.3),
    };
    loop {
        let camera = Camera {
            yaw: dice.between(0.0, TAU),
            pitch: if standing {
                dice.between(0.06, 1.1)
            } else {
                dice.between(-0.3, 1.0)
            },
            roll: dice.between(-0.3, 0.3),
            half_view: dice.between(0.26, 0.5),
            share: dice.between(0.55, 0.92),
        };
        let turn = if standing {
            Quat::from_rotation_y(dice.between(0.0, TAU))
        } else {
            // Uniform over all rotations: the sine of the middle angle is uniform.
            let middle = dice.between(-1.0, 1.0).asin();
            let (first, last) = (dice.between(-PI, PI), dice.between(-PI, PI));
            Quat::from_euler(EulerRot::YXZ, first, middle, last)
        };
        let frame = Mat3::from_quat(turn);
        if any || shape.shows_from(frame.transpose() * camera.direction()) {
            return (camera, frame);
        }
    }
}

/// A direction towards the light: from above, and not from behind the solid.
fn light(eye: Vec3, dice: &mut Dice) -> Vec3 {
    loop {
        let mut coordinate = || dice.between(-1.0, 1.0);
        let light = vec3(coordinate(), coordinate(), coordinate());
        let length = light.length();
        if (0.1..1.0).contains(&length) {
            let light = light / length;
            if light.y > 0.25 && light.dot(eye.normalize()) > -0.25 {
                return light;
            }
        }
    }
}

/// Colours, encoded sRGB.
struct Colours {
    solid: Vec3,
    solid_mark: Vec3,
    ground: Vec3,
    ground_mark: Vec3,
    sky_top: Vec3,
    sky_bottom: Vec3,
}

impl Colours {
    /// Random colours that set the solid off from the background.
    fn random(dice: &mut Dice) -> Self {
        let muted = |dice: &mut Dice| {
            hsv(
                dice.unit(),
                dice.between(0.0, 0.55),
                dice.between(0.2, 0.95),
            )
        };
        loop {
            let solid = hsv(dice.unit(), dice.between(0.1, 1.0), dice.between(0.35, 1.0));
            let ground = muted(dice);
            let sky_bottom = muted(dice);
            let contrast = solid.distance(ground).min(solid.distance(sky_bottom));
            if contrast > 0.3 {
                let darker = dice.between(0.55, 0.85);
                return Self {
                    solid,
                    solid_mark: solid * darker,
                    ground,
                    ground_mark: ground * dice.between(0.6, 0.9),
                    sky_top: muted(dice),
                    sky_bottom,
                };
            }
        }
    }
}

/// With the given probability, a pattern other than plain.
fn pattern(dice: &mut Dice, probability: f32) -> u32 {
    let pattern = if !dice.chance(probability) {
        Pattern::Plain
    } else {
        let patterns = [Pattern::Checker, Pattern::Stripes, Pattern::Noise];
        patterns[dice.bits() as usize % patterns.len()]
    };
    pattern as u32
}

/// Converts hue, saturation and value, all from 0 to 1, to red, green and blue.
fn hsv(hue: f32, saturation: f32, value: f32) -> Vec3 {
    let channel = |turn: f32| {
        let distance = ((hue + turn).fract() * 6.0 - 3.0).abs() - 1.0;
        value * (1.0 - saturation * (1.0 - distance.clamp(0.0, 1.0)))
    };
    vec3(channel(0.0), channel(2.0 / 3.0), channel(1.0 / 3.0))
}

/// Packs a colour for the shader: red in the lowest byte.
fn packed(colour: Vec3) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the number is 0 to 255"
    )]
    let byte = |c: f32| (c.clamp(0.0, 1.0) * 255.0).round() as u8;
    let [r, g, b] = colour.to_array().map(byte);
    u32::from_le_bytes([r, g, b, 255])
}
