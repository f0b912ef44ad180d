//! The layout of kernels and matrices: channels last in Keras files, channels first here.

use std::sync::Arc;

/// OIHW to HWIO, and `[out, in]` to `[in, out]`; the shape of a vector does not change.
pub(crate) fn channels_last(dims: &[usize]) -> Vec<usize> {
    match dims {
        [out_c, in_c, window @ ..] => [window, &[*in_c, *out_c]].concat(),
        _ => dims.to_vec(),
    }
}

/// The inverse of [`channels_last`].
pub(crate) fn channels_first(dims: &[usize]) -> Vec<usize> {
    match dims {
        [window @ .., in_c, out_c] => [&[*out_c, *in_c], window].concat(),
        _ => dims.to_vec(),
    }
}

/// Transposes data in the [`channels_last`] layout to the row-major layout of `shape`.
pub(crate) fn transpose(data: Arc<[f32]>, shape: &[usize]) -> Arc<[f32]> {
    let [out_c, in_c, window @ ..] = shape else {
        return data;
    };
    let matrices = Matrices {
        out_c: *out_c,
        in_c: *in_c,
        window: window.iter().product(),
    };
    let mut transposed: Arc<[f32]> = std::iter::repeat_n(0.0, data.len()).collect();
    // The data was just allocated, so it has no other owner.
    let Some(target) = Arc::get_mut(&mut transposed) else {
        return data;
    };
    for co in (0..matrices.out_c).step_by(TILE) {
        for ci in (0..matrices.in_c).step_by(TILE) {
            for k in 0..matrices.window {
                matrices.transpose_tile(&data, target, [co, ci, k]);
            }
        }
    }
    transposed
}

/// Side of the tiles in which matrices are transposed: one cache line of floats. Whole lines are
/// read because channel counts are powers of two, so that rows evict each other from the cache.
const TILE: usize = 16;

/// One `[in, out]` matrix for each position `k` of the kernel.
struct Matrices {
    out_c: usize,
    in_c: usize,
    window: usize,
}

impl Matrices {
    fn transpose_tile(&self, data: &[f32], target: &mut [f32], [co, ci, k]: [usize; 3]) {
        let height = TILE.min(self.in_c - ci);
        let width = TILE.min(self.out_c - co);
        let mut tile = [[0.0; TILE]; TILE];
        for (i, row) in tile[..height].iter_mut().enumerate() {
            let from = (k * self.in_c + ci + i) * self.out_c + co;
            row[..width].copy_from_slice(&data[from..from + width]);
        }
        for o in 0..width {
            for (i, row) in tile[..height].iter().enumerate() {
                target[((co + o) * self.in_c + ci + i) * self.window + k] = row[o];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hwio_becomes_oihw() {
        // Larger than one tile, and all different.
        let (h, w, i, o) = (2, 3, 35, 40);
        let code =
            |o: usize, i: usize, h: usize, w: usize| (((h * 3 + w) * 35 + i) * 40 + o) as f32;
        let hwio: Arc<[f32]> = (0..h * w * i * o).map(|n| n as f32).collect();
        let oihw = transpose(hwio, &[o, i, h, w]);
        let mut index = 0;
        for co in 0..o {
            for ci in 0..i {
                for ky in 0..h {
                    for kx in 0..w {
                        assert_eq!(oihw[index], code(co, ci, ky, kx), "[{co},{ci},{ky},{kx}]");
                        index += 1;
                    }
                }
            }
        }
        assert_eq!(channels_last(&[o, i, h, w]), [h, w, i, o], "shape");
        assert_eq!(channels_first(&[h, w, i, o]), [o, i, h, w], "and back");
        assert_eq!(channels_first(&[7]), [7], "vectors stay");
    }
}
