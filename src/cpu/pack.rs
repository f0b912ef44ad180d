//! Packs convolution weights in the order in which the microkernel reads them.
//!
//! Output channels are cut into tiles of up to four blocks. Small groups are merged until they fill
//! blocks of 16 channels, with zero weights between groups: that takes up to 16 times the products
//! of a depthwise convolution, but no separate kernel.

use super::layout::{LANES, Line};

/// The shape of a weight, OIHW.
#[derive(Clone, Copy, Debug)]
pub(super) struct WeightShape {
    pub(super) out_c: usize,
    /// Input channels of all groups together.
    pub(super) in_c: usize,
    pub(super) kernel: [usize; 2],
    pub(super) groups: usize,
}

impl WeightShape {
    /// The number of groups that are merged into one.
    pub(super) fn merged(&self) -> usize {
        let needed = |channels: usize| LANES / gcd(LANES, channels);
        let [a, b] = [
            needed(self.in_c / self.groups),
            needed(self.out_c / self.groups),
        ];
        // Both are powers of two, so the larger one is a multiple of the smaller.
        a.max(b).min(self.groups)
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Output channels that are computed together.
#[derive(Debug)]
pub(super) struct CoTile {
    /// The first block of output channels.
    pub(super) first_block: usize,
    /// Number of blocks.
    pub(super) blocks: usize,
    /// The input channels that these outputs read.
    pub(super) in_c: std::ops::Range<usize>,
    /// `[input block][tap][lane][channels of the tile]`.
    pub(super) weights: Vec<Line>,
}

/// The bias, one line per block of output channels.
pub(super) fn bias_lines(out_c: usize, bias: Option<&[f32]>) -> Vec<Line> {
    let mut lines = vec![Line::ZERO; out_c.div_ceil(LANES)];
    for (line, bias) in lines.iter_mut().zip(bias.unwrap_or(&[]).chunks(LANES)) {
        line.0[..bias.len()].copy_from_slice(bias);
    }
    lines
}

/// Cuts the output channels into tiles of at most `max_blocks` blocks and packs their weights.
///
/// With `rows`, a row of taps with all its input channels is one run of lanes.
pub(super) fn pack(
    shape: WeightShape,
    weight: &[f32],
    max_blocks: usize,
    rows: bool,
) -> Vec<CoTile> {
    let in_per_group = shape.in_c / shape.groups;
    let out_per_group = shape.out_c / shape.groups;
    let [kernel_h, kernel_w] = shape.kernel;
    let at = |co: usize, ci: usize, ky: usize, kx: usize| {
        let group = co / out_per_group;
        if co >= shape.out_c || ci / in_per_group != group {
            return 0.0;
        }
        let ci = ci % in_per_group;
        weight[((co * in_per_group + ci) * kernel_h + ky) * kernel_w + kx]
    };

    let mut tiles = Vec::new();
    let merged = shape.merged();
    for first_group in (0..shape.groups).step_by(merged) {
        let end_group = (first_group + merged).min(shape.groups);
        let in_c = first_group * in_per_group..end_group * in_per_group;
        let out_blocks =
            first_group * out_per_group / LANES..(end_group * out_per_group).div_ceil(LANES);
        let count = out_blocks.len().div_ceil(max_blocks);
        for tile in 0..count {
            // Tiles of similar size: five blocks become three and two, not four and one.
            let first_block = out_blocks.start + out_blocks.len() * tile / count;
            let end_block = out_blocks.start + out_blocks.len() * (tile + 1) / count;
            let channels = first_block * LANES..end_block * LANES;
            let mut weights = Vec::new();
            let mut push = |ci, ky, kx| {
                for co in channels.clone().step_by(LANES) {
                    let line = std::array::from_fn(|lane| at(co + lane, ci, ky, kx));
                    weights.push(Line(line));
                }
            };
            if rows {
                for ky in 0..kernel_h {
                    for kx in 0..kernel_w {
                        in_c.clone().for_each(|ci| push(ci, ky, kx));
                    }
                }
            } else {
                for first_ci in in_c.clone().step_by(LANES) {
                    for ky in 0..kernel_h {
                        for kx in 0..kernel_w {
                            let block = first_ci..(first_ci + LANES).min(in_c.end);
                            block.for_each(|ci| push(ci, ky, kx));
                        }
                    }
                }
            }
            tiles.push(CoTile {
                first_block,
                blocks: end_block - first_block,
                in_c: in_c.clone(),
                weights,
            });
        }
    }
    tiles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_merged_until_they_fill_blocks() {
        let merged = |in_c, out_c, groups| {
            WeightShape {
                out_c,
                in_c,
                kernel: [1, 1],
                groups,
            }
            .merged()
        };
        assert_eq!(merged(64, 64, 1), 1, "nothing to merge");
        assert_eq!(merged(128, 128, 32), 4, "groups of 4");
        assert_eq!(merged(64, 64, 64), 16, "depthwise");
        assert_eq!(merged(64, 32, 2), 1, "groups of 32 and 16");
        assert_eq!(merged(96, 32, 32), 16, "groups of 3 and 1");
        assert_eq!(merged(6, 6, 3), 3, "never more than there are");
    }

    #[test]
    fn tiles_hold_zeros_between_groups_and_past_the_last_channel() {
        let shape = WeightShape {
            out_c: 2,
            in_c: 4,
            kernel: [1, 1],
            groups: 2,
        };
        let tiles = pack(shape, &[1.0, 2.0, 3.0, 4.0], 4, false);
        assert_eq!(tiles.len(), 1, "one tile");
        let lanes: Vec<[f32; 3]> = tiles[0]
            .weights
            .iter()
            .map(|l| [l.0[0], l.0[1], l.0[2]])
            .collect();
        let want = [
            [1.0, 0.0, 0.0],
            [2.0, 0.0, 0.0],
            [0.0, 3.0, 0.0],
            [0.0, 4.0, 0.0],
        ];
        assert_eq!(lanes, want, "one line per input channel");
    }
}
