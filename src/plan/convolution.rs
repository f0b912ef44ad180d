//! What a candidate launches for a convolution, and what it binds.

use super::Constant;
use super::candidate::{Candidate, geometry};
use super::choose::{Choice, Operand, texels, vector};
use crate::graph::{Conv2d, Graph, Node};
use crate::kernels::conv2d::{Geometry, Residual};
use crate::kernels::winograd::OutTile;
use crate::kernels::{
    Packing, conv2d_grouped, conv2d_pointwise, conv2d_texture, conv2d_tiled, winograd,
    winograd_input, winograd_output,
};
use crate::tensor::LANES;

/// The launch of a convolution in one dispatch; `in_place` says that the result shares its buffer with
/// the residual.
pub(super) fn choice(
    graph: &Graph,
    node: &Node,
    conv: &Conv2d,
    candidate: Candidate,
    in_place: bool,
) -> Choice {
    let residual = if in_place {
        Residual::InPlace
    } else {
        Residual::Buffer
    };
    let geometry = geometry(graph, node, conv, residual);
    let (launch, packing, multiple) = match candidate {
        Candidate::Grouped => (
            conv2d_grouped::launch(&geometry),
            Packing::ConvGrouped,
            LANES,
        ),
        Candidate::Tiled(tile) => (
            if geometry.is_pointwise() {
                conv2d_pointwise::launch(&geometry, tile)
            } else {
                conv2d_tiled::launch(&geometry, tile)
            },
            Packing::ConvTiles(tile),
            tile.co as usize,
        ),
        Candidate::Texture(tile) => return on_textures(graph, conv, &geometry, tile),
        Candidate::WinogradTexture(..) => unreachable!("the planner makes stages of it"),
    };
    let weight = Constant {
        packing,
        tensors: vec![graph.tensor(conv.weight).clone()],
    };
    let residual = match geometry.residual {
        Residual::Buffer => Operand::Input(1),
        // The binding must be filled; the shader does not read it.
        Residual::None | Residual::InPlace => Operand::Constant(1),
    };
    Choice {
        launch,
        constants: vec![
            ("weight", weight),
            (
                "bias",
                vector(graph, conv.bias, geometry.output.c, multiple),
            ),
        ],
        operands: vec![
            Operand::Input(0),
            Operand::Constant(0),
            Operand::Constant(1),
            residual,
            Operand::Output,
        ],
    }
}

fn on_textures(
    graph: &Graph,
    conv: &Conv2d,
    geometry: &Geometry,
    tile: conv2d_texture::Tile,
) -> Choice {
    let residual = match geometry.residual {
        // The binding must be filled; the shader does not read it.
        Residual::None => Operand::Constant(0),
        Residual::Buffer | Residual::InPlace => Operand::Input(1),
    };
    Choice {
        launch: conv2d_texture::launch(geometry, tile),
        constants: vec![texels(graph, conv.weight, conv.bias, tile.co as usize)],
        operands: vec![
            Operand::Input(0),
            Operand::Constant(0),
            residual,
            Operand::Output,
        ],
    }
}

/// One of the dispatches of a Winograd convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// From the input to its components.
    Input,
    /// From components to components.
    Products,
    /// From components, and the residual, to the output.
    Output,
}

/// The launch of a stage of a Winograd convolution.
pub(super) fn stage(
    graph: &Graph,
    node: &Node,
    conv: &Conv2d,
    (out_tile, tile): (OutTile, conv2d_texture::Tile),
    stage: Stage,
) -> Choice {
    let geometry = geometry(graph, node, conv, Residual::Buffer);
    match stage {
        Stage::Input => Choice {
            launch: winograd_input::launch(&geometry, out_tile),
            constants: vec![],
            operands: vec![Operand::Input(0), Operand::Output],
        },
        Stage::Products => {
            let (role, mut weight) = texels(graph, conv.weight, conv.bias, 0);
            weight.packing = Packing::WinogradTexels {
                tile_co: tile.co as usize,
                out_tile,
            };
            Choice {
                launch: winograd::product_launch(&geometry, out_tile, tile),
                constants: vec![(role, weight)],
                operands: vec![
                    Operand::Input(0),
                    Operand::Constant(0),
                    Operand::Constant(0),
                    Operand::Output,
                ],
            }
        }
        Stage::Output => Choice {
            launch: winograd_output::launch(&geometry, out_tile),
            constants: vec![],
            operands: vec![
                Operand::Input(0),
                // The binding must be filled; the shader does not read it.
                Operand::Input(node.inputs.len() - 1),
                Operand::Output,
            ],
        },
    }
}
