//! Convolution by cooperative matrix multiplication in subgroups, on devices with tensor cores.
//! This is experimental in wgpu; see [`PlanOptions`](crate::plan::PlanOptions).

use super::conv2d::{BINDINGS, Geometry, Tile};
use super::{Kernel, Launch, Precision, number};

/// `shaders/conv2d_cooperative.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "conv2d_cooperative",
    source: include_str!("../../shaders/conv2d_cooperative.wgsl"),
    threads: 128,
    bindings: BINDINGS,
};

/// Side of the matrices.
pub const SIDE: u32 = 16;

/// The possible subgroup sizes: each subgroup multiplies at least one of the four quadrants of a
/// tile, and there is at least one subgroup.
pub const SUBGROUPS: [u32; 2] = [32, 128];

/// The tile of a workgroup, as in the shader; outputs per thread are an average.
pub const TILE: Tile = Tile {
    px: 64,
    co: 64,
    k: 32,
    per_thread_px: 8,
    per_thread_co: 4,
    arithmetic: Precision::F16,
};

/// One launch: `[ceil(N·OUT_H·OUT_W / TILE_PX), ceil(OUT_C / TILE_CO), 1]` workgroups.
pub fn launch(geometry: &Geometry) -> Launch {
    let [x, y] = TILE.workgroups(geometry);
    let mut overrides = geometry.overrides();
    overrides.extend(geometry.window_overrides());
    overrides.push(("IN_GROUPS", number(geometry.input.channel_groups())));
    Launch {
        overrides,
        tile: geometry.constants(),
        ..Launch::new(&KERNEL, [x, y, 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tile_is_the_one_that_the_shader_spells_out() {
        for (name, value) in TILE.constants().into_iter().take(3) {
            let declaration = format!("\nconst {name}: u32 = {value}u;\n");
            assert!(KERNEL.source.contains(&declaration), "{declaration}");
        }
        assert_eq!(TILE.threads() as usize, KERNEL.threads, "sums per thread");
        let side = format!("\nconst SIDE: u32 = {SIDE}u;\n");
        assert!(KERNEL.source.contains(&side), "{side}");
    }
}
