//! The state that the user can change.

use crate::scene::{Camera, Scene, Shape};

/// Range of elevations at which all shapes can be told apart, in radians above the horizon.
const PITCHES: [f32; 2] = [0.12, 1.05];

/// Range of the fraction of the picture that the solid fills.
const SHARES: [f32; 2] = [0.5, 0.92];

/// Rotation in radians per second while the mouse is not held.
const SPIN: f32 = 0.4;

/// The state of the controls.
#[derive(Clone, Debug)]
pub(crate) struct Controls {
    pub(crate) shape: Shape,
    /// The seed of colours, material and surroundings.
    pub(crate) seed: u64,
    pub(crate) camera: Camera,
    pub(crate) spins: bool,
}

impl Controls {
    pub(crate) fn new(shape: Shape, seed: u64) -> Self {
        Self {
            shape,
            seed,
            camera: Camera {
                yaw: 0.5,
                pitch: 0.5,
                roll: 0.0,
                half_view: 0.35,
                share: 0.8,
            },
            spins: true,
        }
    }

    /// The scene to render, `size` pixels square.
    pub(crate) fn scene(&self, size: u32) -> Scene {
        let mut scene = Scene::display(self.shape, self.seed, size);
        scene.set_camera(self.camera);
        scene
    }

    /// Moves `by` shapes ahead in the list, which ends with an empty scene and wraps around.
    pub(crate) fn change_shape(&mut self, by: isize) {
        let count = Shape::ALL.len();
        let next = (self.shape as usize)
            .checked_add_signed(by)
            .unwrap_or(count - 1);
        self.shape = Shape::ALL[next % count];
    }

    /// Rotates the camera as the mouse is dragged, in units of the picture's height.
    pub(crate) fn drag(&mut self, [right, down]: [f32; 2]) {
        self.camera.yaw -= 3.0 * right;
        self.camera.pitch = (self.camera.pitch + 2.0 * down).clamp(PITCHES[0], PITCHES[1]);
    }

    /// Zooms as the wheel is turned.
    pub(crate) fn zoom(&mut self, lines: f32) {
        let share = self.camera.share * (0.05 * lines).exp();
        self.camera.share = share.clamp(SHARES[0], SHARES[1]);
    }

    /// Advances the animation.
    pub(crate) fn pass(&mut self, seconds: f32) {
        if self.spins {
            self.camera.yaw += SPIN * seconds;
        }
    }
}
