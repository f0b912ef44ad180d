//! The ways to compute a convolution, as plain data with stable names.
//!
//! A [`Candidate`] is an algorithm of one of the back ends with its tile. [`candidates`] lists
//! those that a device can run for a layer, the default first; [`Choices`] replaces defaults, layer
//! by layer, with what `resnet tune` has measured. The text form of a layer and of a candidate is
//! stable, because the cache of tuned choices stores it.

use std::collections::HashMap;
use std::fmt;

use serde::{Serialize, Serializer};

use super::buffers::OnBuffers;
use super::lower::back_end;
use super::options::{PlanOptions, Winograd};
use super::textures::OnTextures;
use crate::error::Error;
use crate::graph::{Conv2d, Graph, Node, Op};
use crate::kernels::Precision;
use crate::kernels::conv2d::{Geometry, Residual};
use crate::kernels::winograd::{self, OutTile};

/// A convolution without its weights: layers with equal shapes are equally fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvShape(Geometry);

impl ConvShape {
    /// The shape of a convolution. It includes whether there is a residual, but not where that is.
    pub fn new(geometry: Geometry) -> Self {
        Self(Geometry {
            residual: match geometry.residual {
                Residual::None => Residual::None,
                Residual::Buffer | Residual::InPlace => Residual::Buffer,
            },
            ..geometry
        })
    }

    /// The shape of a node; `None` if it is not a convolution of this graph.
    pub fn of(graph: &Graph, node: &Node) -> Option<Self> {
        match &node.op {
            Op::Conv2d(conv) if graph.has_node(node) => Some(Self::of_conv(graph, node, conv)),
            _ => None,
        }
    }

    /// The shape of a node that is a convolution.
    pub(super) fn of_conv(graph: &Graph, node: &Node, conv: &Conv2d) -> Self {
        let weight = graph.tensor(conv.weight);
        Self(Geometry {
            input: graph.shape(node.inputs[0]),
            output: graph.shape(node.output),
            kernel: [weight.dims()[2], weight.dims()[3]],
            stride: conv.stride,
            padding: conv.padding,
            dilation: conv.dilation,
            groups: conv.groups,
            relu: conv.relu,
            residual: if node.inputs.len() > 1 {
                Residual::Buffer
            } else {
                Residual::None
            },
        })
    }

    /// The geometry; the residual, if there is one, counts as a separate buffer.
    pub const fn geometry(&self) -> &Geometry {
        &self.0
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
            dilation,
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
        if *dilation != [1, 1] {
            write!(f, "-d{}x{}", dilation[0], dilation[1])?;
        }
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

/// One way to compute a convolution: an algorithm of one of the back ends, with its tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Candidate {
    /// On storage buffers.
    Buffers(OnBuffers),
    /// On textures.
    Textures(OnTextures),
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Buffers(algorithm) => algorithm.fmt(f),
            Self::Textures(algorithm) => algorithm.fmt(f),
        }
    }
}

impl Serialize for Candidate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The candidates that a device can run for a layer, the default first, each once.
///
/// # Errors
/// [`Error::PathUnavailable`] if the device cannot run the kernels that the options ask for.
pub fn candidates(shape: &ConvShape, options: &PlanOptions) -> Result<Vec<Candidate>, Error> {
    Ok(back_end(options)?.candidates(shape))
}

/// The sizes of Winograd tiles that a layer may use.
pub(super) fn out_tiles(
    options: &PlanOptions,
    geometry: &Geometry,
) -> impl Iterator<Item = OutTile> {
    let wanted = match options.winograd {
        // Tiles of 4×4 lose four of the eleven significant bits of half precision.
        Winograd::Auto if options.precision == Precision::F16 => &[OutTile::Two][..],
        Winograd::Auto => &[OutTile::Two, OutTile::Four],
        Winograd::Off => &[],
        Winograd::Two => &[OutTile::Two],
        Winograd::Four => &[OutTile::Four],
    };
    let applies = winograd::applies(geometry);
    wanted.iter().copied().filter(move |_| applies)
}

/// The default and the other candidates, each once.
pub(super) fn distinct<A: PartialEq>(default: A, others: impl IntoIterator<Item = A>) -> Vec<A> {
    let mut distinct = vec![default];
    for other in others {
        if !distinct.contains(&other) {
            distinct.push(other);
        }
    }
    distinct
}

/// Candidates that replace the defaults of some layers, by layer shape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choices(HashMap<ConvShape, Candidate>);

#[doc(hidden)]
impl Choices {
    /// Replaces the default of a layer. The planner ignores a choice that is not among the layer's
    /// [`candidates`].
    pub fn set(&mut self, shape: ConvShape, candidate: Candidate) {
        self.0.insert(shape, candidate);
    }

    /// The candidate that replaces the default of a layer.
    pub fn get(&self, shape: &ConvShape) -> Option<Candidate> {
        self.0.get(shape).copied()
    }

    /// The number of layer shapes with a replacement.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no replacements.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(ConvShape, Candidate)> for Choices {
    fn from_iter<I: IntoIterator<Item = (ConvShape, Candidate)>>(choices: I) -> Self {
        Self(choices.into_iter().collect())
    }
}
