//! What a candidate launches for a convolution, and what it binds.

use super::Constant;
use super::candidate::{Candidate, geometry};
use super::choose::{Choice, Operand, texels, vector};
use crate::graph::{Conv2d, Graph, Node};
use crate::kernels::conv2d::{Geometry, Residual};
use crate::kernels::conv2d_tiled::Part;
use crate::kernels::textures::{conv2d_texture, winograd_input_texture, winograd_output_texture};
use crate::kernels::winograd::{self, OutTile};
use crate::kernels::{
    Launch, Packing, conv2d_cooperative, conv2d_grouped, conv2d_reduce, conv2d_tiled,
    winograd_input, winograd_output,
};
use crate::tensor::{LANES, Shape, Tensor};

/// One of the dispatches of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The only one.
    Whole,
    /// From the input to the components of Winograd's algorithm.
    Input,
    /// From the input or its components to sums.
    Products,
    /// From sums, and the residual, to the output.
    Output,
}

impl Stage {
    /// Whether it does what counts as the arithmetic of the layer.
    pub(super) const fn multiplies(self) -> bool {
        matches!(self, Self::Whole | Self::Products)
    }

    /// Whether it writes the output.
    pub(super) const fn completes(self) -> bool {
        matches!(self, Self::Whole | Self::Output)
    }
}

/// What a stage leaves for the next one: so many activations of one shape.
pub(super) type Intermediate = (Shape, usize);

/// The stages of a candidate before the one that completes the output, with what they leave; none when
/// it is one dispatch.
pub(super) fn stages(candidate: Candidate, geometry: &Geometry) -> Vec<(Stage, Intermediate)> {
    match candidate {
        Candidate::Grouped
        | Candidate::Tiled(_)
        | Candidate::Cooperative
        | Candidate::Texture(_) => vec![],
        Candidate::Split(_, slices) => vec![(Stage::Products, (geometry.output, slices))],
        Candidate::WinogradTiled(out_tile, _) | Candidate::WinogradTexture(out_tile, _) => {
            let product = winograd::product(geometry, out_tile);
            vec![
                (Stage::Input, (product.input, out_tile.components())),
                (Stage::Products, (product.output, out_tile.components())),
            ]
        }
    }
}

/// A convolution to be launched.
pub(super) struct Convolution<'a> {
    pub(super) graph: &'a Graph,
    pub(super) node: &'a Node,
    pub(super) conv: &'a Conv2d,
    pub(super) candidate: Candidate,
}

impl Convolution<'_> {
    /// The launch of a stage; `in_place` says that the output shares its buffer with the residual.
    pub(super) fn choice(&self, stage: Stage, in_place: bool) -> Choice {
        let residual = if in_place {
            Residual::InPlace
        } else {
            Residual::Buffer
        };
        let geometry = geometry(self.graph, self.node, self.conv, residual);
        match (self.candidate, stage) {
            (Candidate::Grouped, _) => {
                let launch = conv2d_grouped::launch(&geometry);
                self.on_buffers(&geometry, launch, Packing::ConvGrouped)
            }
            (Candidate::Tiled(tile), _) => {
                let launch = conv2d_tiled::launch(&geometry, tile, Part::Whole);
                self.on_buffers(&geometry, launch, Packing::ConvTiles(tile))
            }
            (Candidate::Cooperative, _) => {
                let packing = Packing::ConvTiles(conv2d_cooperative::TILE);
                self.on_buffers(&geometry, conv2d_cooperative::launch(&geometry), packing)
            }
            (Candidate::Split(tile, slices), Stage::Products) => {
                let launch = conv2d_tiled::launch(&geometry, tile, Part::Slices(slices));
                self.products_on_buffers(launch, Packing::ConvTiles(tile))
            }
            (Candidate::Split(_, slices), _) => {
                self.output_on_buffers(&geometry, conv2d_reduce::launch(&geometry, slices))
            }
            (Candidate::WinogradTiled(out_tile, tile), stage) => match stage {
                Stage::Input => input(winograd_input::launch(&geometry, out_tile)),
                Stage::Products => {
                    let launch = winograd::tiled_launch(&geometry, out_tile, tile);
                    self.products_on_buffers(launch, Packing::WinogradTiles { tile, out_tile })
                }
                _ => {
                    self.output_on_buffers(&geometry, winograd_output::launch(&geometry, out_tile))
                }
            },
            (Candidate::Texture(tile), _) => self.on_textures(&geometry, tile),
            (Candidate::WinogradTexture(out_tile, tile), stage) => match stage {
                Stage::Input => input(winograd_input_texture::launch(&geometry, out_tile)),
                Stage::Products => self.products_on_textures(&geometry, out_tile, tile),
                _ => {
                    let launch = winograd_output_texture::launch(&geometry, out_tile);
                    self.output_on_textures(&geometry, launch)
                }
            },
        }
    }

    fn weight(&self) -> &Tensor {
        self.graph.tensor(self.conv.weight)
    }

    fn packed_weight(&self, packing: Packing) -> (&'static str, Constant) {
        let tensors = vec![self.weight().clone()];
        ("weight", Constant { packing, tensors })
    }

    /// The biases, padded to whole vectors: what lies past them is of channels that do not exist.
    fn bias(&self) -> (&'static str, Constant) {
        let out_c = self.weight().dims()[0];
        ("bias", vector(self.graph, self.conv.bias, out_c, LANES))
    }

    fn on_buffers(&self, geometry: &Geometry, launch: Launch, packing: Packing) -> Choice {
        Choice {
            launch,
            constants: vec![self.packed_weight(packing), self.bias()],
            operands: vec![
                Operand::Input(0),
                Operand::Constant(0),
                Operand::Constant(1),
                residual_or(Operand::Constant(1), geometry),
                Operand::Output,
            ],
        }
    }

    /// Bare sums: the bindings of biases and residual must be filled, the shader does not read them.
    fn products_on_buffers(&self, launch: Launch, packing: Packing) -> Choice {
        Choice {
            launch,
            constants: vec![self.packed_weight(packing)],
            operands: vec![
                Operand::Input(0),
                Operand::Constant(0),
                Operand::Constant(0),
                Operand::Constant(0),
                Operand::Output,
            ],
        }
    }

    fn output_on_buffers(&self, geometry: &Geometry, launch: Launch) -> Choice {
        Choice {
            launch,
            constants: vec![self.bias()],
            operands: vec![
                Operand::Input(0),
                Operand::Constant(0),
                residual_or(Operand::Constant(0), geometry),
                Operand::Output,
            ],
        }
    }

    fn on_textures(&self, geometry: &Geometry, tile: conv2d_texture::Tile) -> Choice {
        let Conv2d { weight, bias, .. } = *self.conv;
        Choice {
            launch: conv2d_texture::launch(geometry, tile),
            constants: vec![texels(self.graph, weight, bias, tile.co as usize)],
            operands: vec![
                Operand::Input(0),
                Operand::Constant(0),
                residual_or(Operand::Constant(0), geometry),
                Operand::Output,
            ],
        }
    }

    fn products_on_textures(
        &self,
        geometry: &Geometry,
        out_tile: OutTile,
        tile: conv2d_texture::Tile,
    ) -> Choice {
        let (role, mut weight) = texels(self.graph, self.conv.weight, self.conv.bias, 0);
        weight.packing = Packing::WinogradTexels {
            tile_co: tile.co as usize,
            out_tile,
        };
        Choice {
            launch: winograd::product_launch(geometry, out_tile, tile),
            constants: vec![(role, weight)],
            operands: vec![
                Operand::Input(0),
                Operand::Constant(0),
                Operand::Constant(0),
                Operand::Output,
            ],
        }
    }

    fn output_on_textures(&self, geometry: &Geometry, launch: Launch) -> Choice {
        Choice {
            launch,
            constants: vec![],
            operands: vec![
                Operand::Input(0),
                residual_or(Operand::Input(0), geometry),
                Operand::Output,
            ],
        }
    }
}

fn input(launch: Launch) -> Choice {
    Choice {
        launch,
        constants: vec![],
        operands: vec![Operand::Input(0), Operand::Output],
    }
}

/// What to bind as the residual: something else where the shader does not read it, since the binding must
/// be filled.
fn residual_or(other: Operand, geometry: &Geometry) -> Operand {
    match geometry.residual {
        Residual::Buffer => Operand::Input(1),
        Residual::None | Residual::InPlace => other,
    }
}
