//! Which kernel runs a node: one table, read top to bottom.

use super::tiles::tile_for;
use super::{Constant, Winograd};
use crate::graph::{BatchNorm, Conv2d, Graph, Node, Op, ParamId, ValueId};
use crate::kernels::conv2d::{Geometry, Residual};
use crate::kernels::winograd::OutTile;
use crate::kernels::{
    Launch, Packing, Storage, avg_pool, avg_pool_texture, batch_norm, conv2d_grouped,
    conv2d_pointwise, conv2d_texture, conv2d_tiled, flatten, global_avg_pool,
    global_avg_pool_texture, linear, linear_texture, max_pool, max_pool_texture, relu,
    residual_add, softmax, winograd, winograd_input, winograd_output,
};
use crate::tensor::{LANES, Shape, Tensor};

/// One buffer of a launch, in the order of the kernel's bindings.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operand {
    /// An input of the node.
    Input(usize),
    /// A constant of the choice.
    Constant(usize),
    /// The node's result.
    Output,
}

/// A launch and what to bind to it.
pub(super) struct Choice {
    pub(super) launch: Launch,
    /// Role of the parameter, for labels, and the parameter.
    pub(super) constants: Vec<(&'static str, Constant)>,
    pub(super) operands: Vec<Operand>,
}

/// Where the kernel of a node finds its inputs and leaves its result.
pub(super) fn storages_of(node: &Node, textures: bool) -> [Storage; 2] {
    match node.op {
        Op::Conv2d(conv) if textures && conv.groups == 1 => [Storage::Texture; 2],
        Op::MaxPool { .. } | Op::AvgPool { .. } | Op::GlobalAvgPool if textures => {
            [Storage::Texture; 2]
        }
        Op::Linear { .. } if textures => [Storage::Texture, Storage::Buffer],
        _ => [Storage::Buffer; 2],
    }
}

/// The input whose buffer the result may take over, element by element. Never on textures: a kernel
/// reads or writes one, not both.
pub(super) fn in_place_input(node: &Node, textures: bool) -> Option<ValueId> {
    match node.op {
        Op::Conv2d(_) if storages_of(node, textures)[0] == Storage::Texture => None,
        Op::Conv2d(_) => node.inputs.get(1).copied(),
        _ => None,
    }
}

/// The kernel of a node on textures, `None` when it runs on buffers.
pub(super) fn texture_kernel_for(graph: &Graph, node: &Node) -> Option<Choice> {
    if storages_of(node, true)[0] == Storage::Buffer {
        return None;
    }
    let x = graph.shape(node.inputs[0]);
    let y = graph.shape(node.output);
    let unary = |launch| Choice {
        launch,
        constants: vec![],
        operands: vec![Operand::Input(0), Operand::Output],
    };
    Some(match node.op {
        Op::Conv2d(conv) => conv2d_on_textures(graph, node, &conv),
        Op::MaxPool { window, pad_value } => {
            unary(max_pool_texture::launch(x, y, &window, pad_value))
        }
        Op::AvgPool {
            window,
            count_padding,
        } => unary(avg_pool_texture::launch(x, y, &window, count_padding)),
        Op::GlobalAvgPool => unary(global_avg_pool_texture::launch(x)),
        Op::Linear { weight, bias } => Choice {
            launch: linear_texture::launch(x, y),
            constants: vec![texels(graph, weight, bias, linear_texture::TILE_CO)],
            operands: vec![Operand::Input(0), Operand::Constant(0), Operand::Output],
        },
        _ => return None,
    })
}

/// Weights and biases for a kernel on textures.
fn texels(
    graph: &Graph,
    weight: ParamId,
    bias: Option<ParamId>,
    tile_co: usize,
) -> (&'static str, Constant) {
    let params = [Some(weight), bias].into_iter().flatten();
    (
        "weight",
        Constant {
            packing: Packing::Texels { tile_co },
            tensors: params.map(|p| graph.tensor(p).clone()).collect(),
        },
    )
}

/// The kernel of a node on buffers; `in_place` says that the result shares its buffer with [`in_place_input`].
pub(super) fn kernel_for(graph: &Graph, node: &Node, in_place: bool) -> Choice {
    let x = graph.shape(node.inputs[0]);
    let y = graph.shape(node.output);
    let unary = |launch| Choice {
        launch,
        constants: vec![],
        operands: vec![Operand::Input(0), Operand::Output],
    };
    match node.op {
        Op::Conv2d(conv) => conv2d(graph, node, &conv, in_place),
        Op::BatchNorm(norm) => {
            let tensors =
                |params: &[ParamId]| params.iter().map(|&p| graph.tensor(p).clone()).collect();
            let BatchNorm {
                gamma,
                beta,
                mean,
                variance,
                epsilon,
                relu,
            } = norm;
            let scale = Constant {
                packing: Packing::BatchNormScale(epsilon.into()),
                tensors: tensors(&[gamma, variance]),
            };
            let shift = Constant {
                packing: Packing::BatchNormShift(epsilon.into()),
                tensors: tensors(&[gamma, beta, mean, variance]),
            };
            Choice {
                launch: batch_norm::launch(x, relu),
                constants: vec![("scale", scale), ("shift", shift)],
                operands: vec![
                    Operand::Input(0),
                    Operand::Constant(0),
                    Operand::Constant(1),
                    Operand::Output,
                ],
            }
        }
        Op::Relu => unary(relu::launch(x)),
        Op::Add { relu } => Choice {
            launch: residual_add::launch(x, relu),
            constants: vec![],
            operands: vec![Operand::Input(0), Operand::Input(1), Operand::Output],
        },
        Op::MaxPool { window, pad_value } => unary(max_pool::launch(x, y, &window, pad_value)),
        Op::AvgPool {
            window,
            count_padding,
        } => unary(avg_pool::launch(x, y, &window, count_padding)),
        Op::GlobalAvgPool => unary(global_avg_pool::launch(x)),
        Op::Flatten { order } => unary(flatten::launch(x, order)),
        Op::Linear { weight, bias } => Choice {
            launch: linear::launch(x, y),
            constants: vec![
                (
                    "weight",
                    Constant {
                        packing: Packing::Linear,
                        tensors: vec![graph.tensor(weight).clone()],
                    },
                ),
                ("bias", vector(graph, bias, y.c, LANES)),
            ],
            operands: vec![
                Operand::Input(0),
                Operand::Constant(0),
                Operand::Constant(1),
                Operand::Output,
            ],
        },
        Op::Softmax => unary(softmax::launch(x)),
    }
}

fn geometry_of(graph: &Graph, node: &Node, conv: &Conv2d, in_place: bool) -> Geometry {
    let weight: &Tensor = graph.tensor(conv.weight);
    let has_residual = node.inputs.len() > 1;
    Geometry {
        input: graph.shape(node.inputs[0]),
        output: graph.shape(node.output),
        kernel: [weight.dims()[2], weight.dims()[3]],
        stride: conv.stride,
        padding: conv.padding,
        groups: conv.groups,
        relu: conv.relu,
        residual: match (has_residual, in_place) {
            (false, _) => Residual::None,
            (true, false) => Residual::Buffer,
            (true, true) => Residual::InPlace,
        },
    }
}

/// A tile of the texture kernel and its speed where it fits exactly, in GFLOP/s on one core of Zen 4
/// (Mesa 22.3, LLVM 15). `shaders/README.md` has the tiles that lost.
const TEXTURE_TILES: [(conv2d_texture::Tile, u64); 2] = [
    (
        conv2d_texture::Tile {
            co: 32,
            px_groups: 7,
        },
        42,
    ),
    (
        conv2d_texture::Tile {
            co: 32,
            px_groups: 5,
        },
        41,
    ),
];

/// Images have three channels: a step has a quarter less to multiply, and a smaller tile wins.
const TEXTURE_STEM_TILE: conv2d_texture::Tile = conv2d_texture::Tile {
    co: 32,
    px_groups: 4,
};

/// The tile that should be fastest, and the time of all workgroups of one problem on one core.
fn texture_tile(geometry: &Geometry) -> (conv2d_texture::Tile, u64) {
    let steps = geometry.kernel[0] * geometry.kernel[1] * geometry.input.channel_groups();
    let picoseconds = |(tile, speed): (conv2d_texture::Tile, u64)| {
        let [x, y] = tile.workgroups(geometry);
        // Eight lanes, four products of a step, two operations each.
        let outputs = u64::from(tile.co * tile.px_groups);
        let step = outputs * 8 * 4 * 2 * 1000 / speed;
        // Four outputs are a texel; a store takes 40 ns with what comes before the loop.
        let rest = outputs / 4 * 40_000;
        x * y * (steps as u64 * step + rest)
    };
    if geometry.input.c == 3 {
        return (TEXTURE_STEM_TILE, picoseconds((TEXTURE_STEM_TILE, 38)));
    }
    let timed = TEXTURE_TILES.map(|tile| (tile.0, picoseconds(tile)));
    let best = timed.into_iter().min_by_key(|&(_, time)| time);
    best.unwrap_or((TEXTURE_STEM_TILE, 0))
}

/// The sides of Winograd tiles for a convolution on textures, `None` to compute it directly.
pub(super) fn winograd_for(graph: &Graph, node: &Node, wanted: Winograd) -> Option<OutTile> {
    let Op::Conv2d(conv) = node.op else {
        return None;
    };
    let geometry = geometry_of(graph, node, &conv, false);
    if !winograd::applies(&geometry) {
        return None;
    }
    match wanted {
        Winograd::Off => None,
        Winograd::Two => Some(OutTile::Two),
        Winograd::Four => Some(OutTile::Four),
        Winograd::Auto => {
            let (_, direct) = texture_tile(&geometry);
            let timed = [OutTile::Two, OutTile::Four].map(|t| (t, winograd_time(&geometry, t)));
            let best = timed.into_iter().min_by_key(|&(_, time)| time);
            // A gain below a tenth is within the error of the estimate.
            best.filter(|(_, time)| time * 10 < direct * 9)
                .map(|(out_tile, _)| out_tile)
        }
    }
}

/// Time of the three dispatches on one core, in picoseconds: 15 ns for each texel fetched and 40 ns
/// for each one stored by eight lanes, as much again for the sums.
fn winograd_time(geometry: &Geometry, out_tile: OutTile) -> u64 {
    let product = winograd::product(geometry, out_tile);
    let components = out_tile.components() as u64;
    let outputs = (out_tile.side() * out_tile.side()) as u64;
    let (_, products) = texture_tile(&product);
    let lanes = |shape: Shape| ((shape.pixels() * shape.channel_groups()) as u64).div_ceil(8);
    let before = lanes(product.input) * components * (15 + 40 + 15) * 1000;
    let after = lanes(product.output) * (components * (15 + 10) + outputs * 40) * 1000;
    components * products + before + after
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

pub(super) fn winograd_stage(
    graph: &Graph,
    node: &Node,
    out_tile: OutTile,
    stage: Stage,
) -> Option<Choice> {
    let Op::Conv2d(conv) = node.op else {
        return None;
    };
    let geometry = geometry_of(graph, node, &conv, false);
    Some(match stage {
        Stage::Input => Choice {
            launch: winograd_input::launch(&geometry, out_tile),
            constants: vec![],
            operands: vec![Operand::Input(0), Operand::Output],
        },
        Stage::Products => {
            let (tile, _) = texture_tile(&winograd::product(&geometry, out_tile));
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
    })
}

fn conv2d_on_textures(graph: &Graph, node: &Node, conv: &Conv2d) -> Choice {
    let geometry = geometry_of(graph, node, conv, false);
    let (tile, _) = texture_tile(&geometry);
    let residual = match geometry.residual {
        // The binding must be filled; the shader does not read it.
        Residual::None => Operand::Constant(0),
        Residual::Buffer | Residual::InPlace => Operand::Input(1),
    };
    Choice {
        launch: conv2d_texture::launch(&geometry, tile),
        constants: vec![texels(graph, conv.weight, conv.bias, tile.co as usize)],
        operands: vec![
            Operand::Input(0),
            Operand::Constant(0),
            residual,
            Operand::Output,
        ],
    }
}

fn conv2d(graph: &Graph, node: &Node, conv: &Conv2d, in_place: bool) -> Choice {
    let weight: &Tensor = graph.tensor(conv.weight);
    let geometry = geometry_of(graph, node, conv, in_place);
    let tile = tile_for(&geometry);
    let (launch, packing, multiple) = if geometry.groups > 1 {
        // Tiles would multiply mostly zeros: a group of ResNeXt-50 has 4 to 32 channels.
        (
            conv2d_grouped::launch(&geometry),
            Packing::ConvGrouped,
            LANES,
        )
    } else if geometry.is_pointwise() {
        (
            conv2d_pointwise::launch(&geometry, tile),
            Packing::ConvTiles(tile),
            tile.co as usize,
        )
    } else {
        (
            conv2d_tiled::launch(&geometry, tile),
            Packing::ConvTiles(tile),
            tile.co as usize,
        )
    };
    let weight = Constant {
        packing,
        tensors: vec![weight.clone()],
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

/// A per-channel vector, zeros when there is none.
fn vector(graph: &Graph, param: Option<ParamId>, len: usize, multiple: usize) -> Constant {
    Constant {
        packing: Packing::Vector { len, multiple },
        tensors: param.map(|p| graph.tensor(p).clone()).into_iter().collect(),
    }
}
