//! Algorithms for convolutions on buffers: what each of them launches and binds.

use std::fmt;

use super::{Buffers, vector};
use crate::graph::{Conv2d, Graph, Node};
use crate::kernels::conv2d::{self, Geometry, Residual, Tile};
use crate::kernels::conv2d_tiled::Part;
use crate::kernels::winograd::OutTile;
use crate::kernels::{
    Launch, Packing, conv2d_cooperative, conv2d_grouped, conv2d_reduce, conv2d_tiled, winograd,
    winograd_input, winograd_output,
};
use crate::plan::candidate::{Candidate, ConvShape, choose};
use crate::plan::lower::{Bound, Dispatch, Lowered, Operand, residual_or};
use crate::plan::projection::projection_of;

/// An algorithm for convolutions on buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnBuffers {
    /// Each thread computes four output channels of one pixel: for groups of few channels.
    Grouped,
    /// Tiles in workgroup memory.
    Tiled(Tile),
    /// The same with the reduction split into this many slices, each with its own workgroups, and
    /// another dispatch that adds them up.
    Split(Tile, usize),
    /// Tiles whose reduction goes on over the projection that is the residual.
    Folded(Tile),
    /// The same with the reduction split.
    FoldedSplit(Tile, usize),
    /// Winograd's algorithm, in three dispatches; the tile is that of the multiplication.
    Winograd(OutTile, Tile),
    /// Cooperative matrices in half precision.
    Cooperative,
}

impl fmt::Display for OnBuffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grouped => f.write_str("grouped"),
            Self::Tiled(tile) => write!(f, "tiled-{tile}"),
            Self::Split(tile, slices) => write!(f, "split{slices}-tiled-{tile}"),
            Self::Folded(tile) => write!(f, "folded-tiled-{tile}"),
            Self::FoldedSplit(tile, slices) => write!(f, "folded-split{slices}-tiled-{tile}"),
            Self::Winograd(out_tile, tile) => {
                write!(f, "winograd{}-tiled-{tile}", out_tile.side())
            }
            Self::Cooperative => f.write_str("cooperative"),
        }
    }
}

impl OnBuffers {
    /// Whether it computes the projection that is the residual, too.
    pub(in crate::plan) const fn folds(self) -> bool {
        matches!(self, Self::Folded(_) | Self::FoldedSplit(..))
    }
}

impl Buffers<'_> {
    /// A convolution by the algorithm that suits it.
    pub(super) fn convolution(&self, graph: &Graph, node: &Node, conv: &Conv2d) -> Lowered {
        let shape = ConvShape::of_conv(graph, node, conv);
        let geometry = shape.geometry();
        let chosen = match self.options.choices.get(&shape) {
            Some(Candidate::Buffers(choice)) => Some(choice),
            _ => None,
        };
        let algorithms = (self.algorithms(geometry), || self.kinds(geometry));
        let projection = projection_of(graph, node).map(|(_, projection)| projection);
        choose(self.options, chosen, algorithms, |algorithm| {
            let projection = projection.filter(|_| algorithm.folds());
            self.lower_by(algorithm, geometry, graph, (conv, projection))
        })
    }

    /// A convolution, and perhaps the projection that is its residual, by an algorithm.
    fn lower_by(
        &self,
        algorithm: OnBuffers,
        geometry: &Geometry,
        graph: &Graph,
        (conv, projection): (&Conv2d, Option<&Conv2d>),
    ) -> Lowered {
        let weight = graph.tensor(conv.weight);
        let projected = projection.map(|projection| graph.tensor(projection.weight));
        let tiles = |tile| match projected {
            Some(projected) => conv2d::tiles_of_both([weight, projected], tile),
            None => conv2d::tiles(weight, tile),
        };
        let folded = projection.and_then(|_| geometry.folded());
        let geometry = folded.as_ref().unwrap_or(geometry);
        let convolution = Convolution {
            geometry,
            // Padded to whole vectors; the padding belongs to no channel.
            bias: match projection {
                Some(projection) => {
                    let biases = [conv.bias, projection.bias];
                    let biases = biases.map(|bias| bias.map(|bias| graph.tensor(bias)));
                    Packing::sum_of_vectors(biases, geometry.output.c)
                }
                None => vector(graph, conv.bias, geometry.output.c),
            },
        };
        let dispatches = match algorithm {
            OnBuffers::Grouped => {
                let weight = conv2d_grouped::packing(weight);
                vec![convolution.whole(&weight, conv2d_grouped::launch)]
            }
            OnBuffers::Tiled(tile) | OnBuffers::Folded(tile) => {
                let weight = tiles(tile);
                let launch = |geometry: &_| conv2d_tiled::launch(geometry, tile, Part::Whole);
                vec![convolution.whole(&weight, launch)]
            }
            OnBuffers::Cooperative => {
                let weight = tiles(conv2d_cooperative::TILE);
                vec![convolution.whole(&weight, conv2d_cooperative::launch)]
            }
            OnBuffers::Split(tile, slices) | OnBuffers::FoldedSplit(tile, slices) => {
                let launch = conv2d_tiled::launch(geometry, tile, Part::Slices(slices));
                let sums = bind_products(geometry, launch, tiles(tile));
                vec![
                    Dispatch::leaving((geometry.output, slices), true, sums),
                    convolution.output(|geometry| conv2d_reduce::launch(geometry, slices)),
                ]
            }
            OnBuffers::Winograd(out_tile, tile) => {
                let product = winograd::product(geometry, out_tile);
                let count = out_tile.components();
                let input = Bound::unary(winograd_input::launch(geometry, out_tile));
                let products = bind_products(
                    &product,
                    winograd::tiled_launch(geometry, out_tile, tile),
                    winograd::tiles_packing(weight, tile, out_tile),
                );
                vec![
                    Dispatch::leaving((product.input, count), false, input),
                    Dispatch::leaving((product.output, count), true, products),
                    convolution.output(|geometry| winograd_output::launch(geometry, out_tile)),
                ]
            }
        };
        Lowered {
            from_to: [self.maps(); 2],
            precision: self.precision,
            candidate: Some(Candidate::Buffers(algorithm)),
            dispatches,
            is_folded: projection.is_some(),
        }
    }
}

/// The data that the dispatches of a convolution share.
struct Convolution<'a> {
    geometry: &'a Geometry,
    bias: Packing,
}

impl Convolution<'_> {
    /// A dispatch that does all the work.
    fn whole(&self, weight: &Packing, launch: impl Fn(&Geometry) -> Launch) -> Dispatch {
        Dispatch::completing(self.geometry, true, |geometry| {
            let operands = [
                Operand::Input(0),
                Operand::Parameters(0),
                Operand::Parameters(1),
                residual_or(Operand::Parameters(1), geometry),
                Operand::Output,
            ];
            let parameters = [("weight", weight.clone()), ("bias", self.bias.clone())];
            Bound::new(launch(geometry), parameters, operands)
        })
    }

    /// The last dispatch, which turns sums into the output.
    fn output(&self, launch: impl Fn(&Geometry) -> Launch) -> Dispatch {
        // A projection is part of the sums.
        let geometry = Geometry {
            residual: match self.geometry.residual {
                Residual::Folded => Residual::None,
                elsewhere => elsewhere,
            },
            ..*self.geometry
        };
        Dispatch::completing(&geometry, false, |geometry| {
            let operands = [
                Operand::Input(0),
                Operand::Parameters(0),
                residual_or(Operand::Parameters(0), geometry),
                Operand::Output,
            ];
            Bound::new(launch(geometry), [("bias", self.bias.clone())], operands)
        })
    }
}

/// Binds a multiplication without epilogue. The bindings for the bias, and the residual if it is not the input of a
/// projection, must be filled, though the shader does not read them.
fn bind_products(geometry: &Geometry, launch: Launch, weight: Packing) -> Bound {
    let operands = [
        Operand::Input(0),
        Operand::Parameters(0),
        Operand::Parameters(0),
        match geometry.residual {
            Residual::Folded => Operand::Input(1),
            Residual::None | Residual::Buffer | Residual::InPlace => Operand::Parameters(0),
        },
        Operand::Output,
    ];
    Bound::new(launch, [("weight", weight)], operands)
}
