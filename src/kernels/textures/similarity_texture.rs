//! Cosine similarity of a vector to each row of a matrix, on textures.

use crate::kernels::{Kernel, Launch, grid, load, number, write_single};
use crate::tensor::LANES;

/// `shaders/textures/similarity_texture.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "similarity_texture",
    source: include_str!("../../../shaders/textures/similarity_texture.wgsl"),
    threads: 8,
    bindings: &[load("input"), load("query"), write_single("output")],
};

/// Rows of a workgroup.
pub const ROWS: usize = BLOCK as usize;
const BLOCK: u32 = 64;

/// One launch over rows of `width` texels, for subgroups of so many lanes: 4, 8 or 16.
pub fn launch(rows: usize, width: usize, lanes: u32) -> Launch {
    Launch {
        overrides: vec![("WIDTH", number(width))],
        tile: vec![("THREADS", lanes), ("PER_THREAD", BLOCK / lanes)],
        threads: lanes as usize,
        ..Launch::new(&KERNEL, grid(rows.div_ceil(ROWS), 1))
    }
}

/// Rows of `width` texels each, in the order of the texture: `[block][texel][row of the block]`, with rows of zeros
/// at the end of the last block.
pub(crate) fn pack(rows: &[f32], width: usize) -> Vec<f32> {
    let (row_len, block_len) = (width * LANES, width * LANES * ROWS);
    let mut packed = vec![0.0; rows.len().next_multiple_of(block_len)];
    let blocks = packed.chunks_exact_mut(block_len);
    for (block, rows) in blocks.zip(rows.chunks(block_len)) {
        for (r, row) in rows.chunks_exact(row_len).enumerate() {
            for (k, texel) in row.chunks_exact(LANES).enumerate() {
                block[(k * ROWS + r) * LANES..][..LANES].copy_from_slice(texel);
            }
        }
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_of_a_block_lie_texel_by_texel() {
        // Number i of row r is 100·r + i; 65 rows of two texels.
        let code = |r: usize, i: usize| (100 * r + i) as f32;
        let rows: Vec<f32> = (0..65)
            .flat_map(|r| (0..8).map(move |i| code(r, i)))
            .collect();
        let packed = pack(&rows, 2);
        assert_eq!(packed.len(), 2 * 64 * 8, "two blocks");
        let texel = |at: usize| &packed[at * 4..][..4];
        assert_eq!(texel(3), [0, 1, 2, 3].map(|i| code(3, i)), "row 3");
        assert_eq!(
            texel(64 + 3),
            [4, 5, 6, 7].map(|i| code(3, i)),
            "further on"
        );
        assert_eq!(texel(128), [0, 1, 2, 3].map(|i| code(64, i)), "block 1");
        assert_eq!(texel(129), [0.0; 4], "no row");
    }
}
