//! Algorithms for convolutions on textures: what each of them launches and binds.

use std::fmt;

use super::Textures;
use crate::graph::{Conv2d, Graph, Node};
use crate::kernels::conv2d::Geometry;
use crate::kernels::textures::conv2d_texture::{self, Tile};
use crate::kernels::textures::{winograd_input_texture, winograd_output_texture};
use crate::kernels::winograd::{self, OutTile};
use crate::plan::candidate::{Candidate, ConvShape, choose};
use crate::plan::lower::{Bound, Dispatch, Lowered, Operand, Representation, residual_or};

/// An algorithm for convolutions on textures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnTextures {
    /// One subgroup per tile.
    Tiled(Tile),
    /// Winograd's algorithm, in three dispatches; the tile is that of the multiplication.
    Winograd(OutTile, Tile),
}

impl fmt::Display for OnTextures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tiled(tile) => write!(f, "texture-{tile}"),
            Self::Winograd(out_tile, tile) => {
                write!(f, "winograd{}-texture-{tile}", out_tile.side())
            }
        }
    }
}

impl Textures<'_> {
    /// A convolution by the algorithm that suits it.
    pub(super) fn convolution(&self, graph: &Graph, node: &Node, conv: &Conv2d) -> Lowered {
        let shape = ConvShape::of_conv(graph, node, conv);
        let geometry = shape.geometry();
        let chosen = match self.options.choices.get(&shape) {
            Some(Candidate::Textures(choice)) => Some(choice),
            _ => None,
        };
        let algorithms = (self.algorithms(geometry), || self.kinds(geometry));
        choose(self.options, chosen, algorithms, |algorithm| {
            self.lower_by(algorithm, geometry, graph, conv)
        })
    }

    fn lower_by(
        &self,
        algorithm: OnTextures,
        geometry: &Geometry,
        graph: &Graph,
        conv: &Conv2d,
    ) -> Lowered {
        let weight = graph.tensor(conv.weight);
        let bias = conv.bias.map(|bias| graph.tensor(bias));
        let dispatches = match algorithm {
            OnTextures::Tiled(tile) => {
                let weight = conv2d_texture::packing(weight, bias, tile.co as usize);
                vec![Dispatch::completing(geometry, true, |geometry| {
                    let operands = [
                        Operand::Input(0),
                        Operand::Parameters(0),
                        residual_or(Operand::Parameters(0), geometry),
                        Operand::Output,
                    ];
                    let launch = conv2d_texture::launch(geometry, tile);
                    Bound::new(launch, [("weight", weight.clone())], operands)
                })]
            }
            OnTextures::Winograd(out_tile, tile) => {
                let product = winograd::product(geometry, out_tile);
                let count = out_tile.components();
                let input = Bound::unary(winograd_input_texture::launch(geometry, out_tile));
                let weight = winograd::texels_packing(weight, bias, tile, out_tile);
                let operands = [
                    Operand::Input(0),
                    Operand::Parameters(0),
                    Operand::Parameters(0),
                    Operand::Output,
                ];
                let launch = winograd::product_launch(geometry, out_tile, tile);
                let products = Bound::new(launch, [("weight", weight)], operands);
                let output = Dispatch::completing(geometry, false, |geometry| {
                    let operands = [
                        Operand::Input(0),
                        residual_or(Operand::Input(0), geometry),
                        Operand::Output,
                    ];
                    let launch = winograd_output_texture::launch(geometry, out_tile);
                    Bound::new(launch, [], operands)
                });
                vec![
                    Dispatch::leaving((product.input, count), false, input),
                    Dispatch::leaving((product.output, count), true, products),
                    output,
                ]
            }
        };
        Lowered {
            from_to: [Representation::Native; 2],
            precision: self.options.precision,
            candidate: Some(Candidate::Textures(algorithm)),
            dispatches,
            is_folded: false,
        }
    }
}
