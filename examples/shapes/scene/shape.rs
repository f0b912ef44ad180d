//! The solids: their names, their sizes, and the sides from which they can be told apart.

use glam::{Vec2, Vec3};

/// The number of classes: the solids, and nothing of the kind.
pub(crate) const CLASSES: u32 = 13;

/// The things that the shader's `other_thing` knows.
pub(crate) const OTHER_THINGS: f32 = 13.0;

/// The solid in a picture, which is its class. The order is that of the classes, and of `SHAPE` in
/// the shader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Shape {
    Sphere,
    Cube,
    Cylinder,
    Cone,
    Torus,
    Pyramid,
    Octahedron,
    Capsule,
    HexagonalPrism,
    Star,
    Cross,
    Arch,
    /// None of them: an empty scene, another thing, a drawing.
    Nothing,
}

impl Shape {
    /// All of them, by class.
    pub(crate) const ALL: [Self; CLASSES as usize] = [
        Self::Sphere,
        Self::Cube,
        Self::Cylinder,
        Self::Cone,
        Self::Torus,
        Self::Pyramid,
        Self::Octahedron,
        Self::Capsule,
        Self::HexagonalPrism,
        Self::Star,
        Self::Cross,
        Self::Arch,
        Self::Nothing,
    ];

    /// The label.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sphere => "sphere",
            Self::Cube => "cube",
            Self::Cylinder => "cylinder",
            Self::Cone => "cone",
            Self::Torus => "torus",
            Self::Pyramid => "pyramid",
            Self::Octahedron => "octahedron",
            Self::Capsule => "capsule",
            Self::HexagonalPrism => "hexagonal prism",
            Self::Star => "star",
            Self::Cross => "cross",
            Self::Arch => "arch",
            Self::Nothing => "nothing",
        }
    }

    /// The ranges of the two proportions in the shader's distance function of this shape. Every
    /// solid stays within the unit sphere.
    pub(super) const fn proportions(self) -> [[f32; 2]; 2] {
        match self {
            Self::Sphere | Self::Cube | Self::Octahedron => [[0.0, 0.0], [0.0, 0.0]],
            Self::Cylinder => [[0.42, 0.6], [0.5, 0.75]],
            Self::Cone => [[0.5, 0.68], [0.5, 0.7]],
            Self::Torus => [[0.62, 0.7], [0.18, 0.27]],
            Self::Pyramid => [[0.5, 0.58], [0.42, 0.55]],
            Self::Capsule => [[0.28, 0.4], [0.42, 0.55]],
            Self::HexagonalPrism => [[0.5, 0.62], [0.3, 0.6]],
            Self::Star => [[0.36, 0.46], [0.12, 0.25]],
            Self::Cross => [[0.2, 0.3], [0.15, 0.3]],
            Self::Arch => [[0.12, 0.17], [0.15, 0.25]],
            // Which thing it is, in whole numbers, and what varies it.
            Self::Nothing => [[1.0, OTHER_THINGS + 1.0], [0.0, 1.0]],
        }
    }

    /// How far the solid extends below its centre when it stands upright.
    pub(super) const fn depth(self, proportions: Vec2) -> f32 {
        match self {
            Self::Sphere => 0.9,
            Self::Cube => 0.57,
            Self::Cylinder | Self::Cone | Self::Pyramid | Self::HexagonalPrism => proportions.y,
            Self::Torus => proportions.y,
            Self::Octahedron => 0.98,
            Self::Capsule => proportions.x + proportions.y,
            Self::Star => 0.761,
            Self::Cross => 0.88,
            Self::Arch => 0.6,
            Self::Nothing => 0.9,
        }
    }

    /// Whether the shape can easily be recognised from this side. `view` points towards the camera, in the
    /// solid's own frame.
    ///
    /// From some sides two shapes look the same: a cone from its tip is a disc, a pyramid from
    /// below is the face of a cube, a torus from its edge has the outline of a capsule. Light and shadow tell
    /// some of them apart, and nothing tells others.
    pub(crate) fn shows_from(self, view: Vec3) -> bool {
        let side = view.abs();
        match self {
            Self::Sphere | Self::Nothing => true,
            // At least two faces must show.
            Self::Cube => side.max_element() < 0.93,
            // The top and the side must show.
            Self::Cylinder | Self::HexagonalPrism => (0.3..0.9).contains(&side.y),
            Self::Cone => (-0.35..0.8).contains(&view.y),
            Self::Pyramid => (-0.25..0.75).contains(&view.y),
            // The hole must show.
            Self::Torus => side.y > 0.48,
            // Both halves must show, as half of it is a pyramid. The faces of the far half are
            // turned to the camera if the other two coordinates outweigh the largest.
            Self::Octahedron => 2.0 * side.max_element() < 0.97 * side.element_sum(),
            Self::Capsule => side.y < 0.8,
            Self::Star | Self::Cross | Self::Arch => side.z > 0.5,
        }
    }
}
