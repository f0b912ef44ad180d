//! The ways to compute a convolution: plain data that names itself.
//!
//! A [`Candidate`] is an algorithm with its tile. [`candidates`] lists those that a device can run for
//! a layer, the default first; [`Choices`] replaces defaults, layer by layer, with what `resnet tune`
//! has measured. The text of a layer and of a candidate is stable: it is what the cache of tuned
//! choices stores.

use std::collections::HashMap;
use std::fmt;

use serde::{Serialize, Serializer};

use super::defaults;
use super::options::{PlanOptions, Winograd};
use crate::error::Error;
use crate::graph::{Conv2d, Graph, Node, Op};
use crate::kernels::conv2d::{self, Geometry, Residual};
use crate::kernels::winograd::{self, OutTile};
use crate::kernels::{Precision, conv2d_texture};

/// A convolution up to its weights: layers of equal shape are equally fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvShape(Geometry);

impl ConvShape {
    /// The shape of a convolution. Where a residual lies makes no difference, only that there is one.
    pub fn new(geometry: Geometry) -> Self {
        Self(Geometry {
            residual: match geometry.residual {
                Residual::None => Residual::None,
                Residual::Buffer | Residual::InPlace => Residual::Buffer,
            },
            ..geometry
        })
    }

    /// The shape of a node, `None` when it is no convolution of this graph.
    pub fn of(graph: &Graph, node: &Node) -> Option<Self> {
        match &node.op {
            Op::Conv2d(conv) if graph.has_node(node) => {
                Some(Self(geometry(graph, node, conv, Residual::Buffer)))
            }
            _ => None,
        }
    }

    /// The geometry, with a residual, if there is one, in a buffer of its own.
    pub const fn geometry(&self) -> &Geometry {
        &self.0
    }
}

/// The geometry of a node; `residual` says where the residual lies if it has one.
pub(super) fn geometry(graph: &Graph, node: &Node, conv: &Conv2d, residual: Residual) -> Geometry {
    let weight = graph.tensor(conv.weight);
    Geometry {
        input: graph.shape(node.inputs[0]),
        output: graph.shape(node.output),
        kernel: [weight.dims()[2], weight.dims()[3]],
        stride: conv.stride,
        padding: conv.padding,
        groups: conv.groups,
        relu: conv.relu,
        residual: if node.inputs.len() > 1 {
            residual
        } else {
            Residual::None
        },
    }
}

impl fmt::Display for ConvShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Geometry {
            input,
            output,
            kernel,
            stride,
            padding,
            groups,
            relu,
            residual,
        } = &self.0;
        let [n, c, h, w] = input.dims();
        write!(f, "{n}x{c}x{h}x{w}-{}x{}x{}", output.c, output.h, output.w)?;
        write!(
            f,
            "-k{}x{}-s{}x{}",
            kernel[0], kernel[1], stride[0], stride[1]
        )?;
        write!(f, "-p{}.{}", padding.top, padding.left)?;
        if *groups > 1 {
            write!(f, "-g{groups}")?;
        }
        if *residual != Residual::None {
            f.write_str("-add")?;
        }
        if *relu {
            f.write_str("-relu")?;
        }
        Ok(())
    }
}

/// One way to compute a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Candidate {
    /// Four output channels of one pixel per thread, on buffers: for groups of few channels.
    Grouped,
    /// Tiles in workgroup memory, on buffers.
    Tiled(conv2d::Tile),
    /// The same with the reduction in so many slices, each with workgroups of its own, and a dispatch
    /// that adds them up.
    Split(conv2d::Tile, usize),
    /// Fewer multiplications in three dispatches, on buffers; the tile is that of the products.
    WinogradTiled(OutTile, conv2d::Tile),
    /// Cooperative matrices of halves, on buffers.
    Cooperative,
    /// A subgroup per tile, on textures.
    Texture(conv2d_texture::Tile),
    /// Fewer multiplications in three dispatches, on textures; the tile is that of the products.
    WinogradTexture(OutTile, conv2d_texture::Tile),
}

impl Candidate {
    /// Whether it is one of Winograd's algorithms.
    pub const fn is_winograd(&self) -> bool {
        matches!(self, Self::WinogradTiled(..) | Self::WinogradTexture(..))
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grouped => f.write_str("grouped"),
            Self::Tiled(tile) => write!(f, "tiled-{tile}"),
            Self::Split(tile, slices) => write!(f, "split{slices}-tiled-{tile}"),
            Self::WinogradTiled(out_tile, tile) => {
                write!(f, "winograd{}-tiled-{tile}", out_tile.side())
            }
            Self::Cooperative => f.write_str("cooperative"),
            Self::Texture(tile) => write!(f, "texture-{tile}"),
            Self::WinogradTexture(out_tile, tile) => {
                write!(f, "winograd{}-texture-{tile}", out_tile.side())
            }
        }
    }
}

impl Serialize for Candidate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a device can run for a layer, the default first, each once.
///
/// # Errors
/// [`Error::PathUnavailable`] when the device cannot run the kernels that the options ask for.
pub fn candidates(shape: &ConvShape, options: &PlanOptions) -> Result<Vec<Candidate>, Error> {
    let default = defaults::candidate_for(shape, options)?;
    let geometry = shape.geometry();
    let mut candidates = vec![default];
    if geometry.groups > 1 {
        return Ok(candidates);
    }
    let out_tiles = [OutTile::Two, OutTile::Four].into_iter();
    let mut out_tiles = out_tiles.filter(|&o| allows(options, geometry, o));
    if options.textures()? {
        let tiles = || defaults::texture_tiles(&options.limits);
        candidates.extend(tiles().map(Candidate::Texture));
        for out_tile in out_tiles.by_ref() {
            candidates.extend(tiles().map(|tile| Candidate::WinogradTexture(out_tile, tile)));
        }
    } else {
        let tiles = defaults::tiles(options);
        candidates.extend(tiles.iter().copied().map(Candidate::Tiled));
        if defaults::may_cooperate(geometry, options) {
            candidates.push(Candidate::Cooperative);
        }
        for slices in defaults::SLICES {
            let tiles = tiles.iter().copied();
            let tiles = tiles.filter(|&tile| defaults::may_split(geometry, tile, slices));
            candidates.extend(tiles.map(|tile| Candidate::Split(tile, slices)));
        }
        for out_tile in out_tiles.by_ref() {
            let tiles = defaults::PRODUCT_TILES.into_iter();
            candidates.extend(tiles.map(|tile| Candidate::WinogradTiled(out_tile, tile)));
        }
    }
    if default.is_winograd() && options.winograd != Winograd::Auto {
        candidates.retain(Candidate::is_winograd);
    }
    let mut seen = Vec::new();
    candidates.retain(|&candidate| {
        let is_new = !seen.contains(&candidate);
        seen.push(candidate);
        is_new
    });
    Ok(candidates)
}

/// Whether a layer may be computed in such tiles.
pub(super) fn allows(options: &PlanOptions, geometry: &Geometry, out_tile: OutTile) -> bool {
    let wanted = match options.winograd {
        // Tiles of 4×4 lose four bits of the eleven that halves have.
        Winograd::Auto => options.precision == Precision::F32 || out_tile == OutTile::Two,
        Winograd::Off => false,
        Winograd::Two => out_tile == OutTile::Two,
        Winograd::Four => out_tile == OutTile::Four,
    };
    wanted && winograd::applies(geometry)
}

/// Candidates that replace the defaults of some layers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choices(HashMap<ConvShape, Candidate>);

impl Choices {
    /// Replaces the default of a layer. The planner ignores what is not among its [`candidates`].
    pub fn set(&mut self, shape: ConvShape, candidate: Candidate) {
        self.0.insert(shape, candidate);
    }

    /// What replaces the default of a layer.
    pub fn get(&self, shape: &ConvShape) -> Option<Candidate> {
        self.0.get(shape).copied()
    }

    /// Number of layers.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether all defaults stand.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(ConvShape, Candidate)> for Choices {
    fn from_iter<I: IntoIterator<Item = (ConvShape, Candidate)>>(choices: I) -> Self {
        Self(choices.into_iter().collect())
    }
}

/// What computes a layer: the choice, where there is a possible one, else the default.
pub(super) fn chosen(shape: &ConvShape, options: &PlanOptions) -> Result<Candidate, Error> {
    match options.choices.get(shape) {
        Some(choice) if candidates(shape, options)?.contains(&choice) => Ok(choice),
        _ => defaults::candidate_for(shape, options),
    }
}
