//! Tables for the two passes that turn part of a host's texture into a network's image.
//!
//! The passes compute what `image::Batch` does on the CPU, in the same integers: first
//! horizontally, then vertically, each rounded to 8 bits. Whatever depends on the texture's size is
//! in a table, so that another size needs no new pipeline.

use crate::picture::resample::{Axis, Tap, fit};
use crate::picture::{Filter, Preprocess};

/// A rectangle of a texture, and how its texels are interpreted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Source {
    /// The first column of the rectangle.
    pub left: usize,
    /// The first row of the rectangle in memory, whichever way up the image is.
    pub top: usize,
    /// Whether the first row in memory is the bottom row of the image.
    pub bottom_up: bool,
    /// Whether the sampler returns linear light, which has to be encoded again.
    pub linear: bool,
    /// Which channels are the colour.
    pub channels: Channels,
    /// The factor for linear light before it is tone mapped; it is only clamped if `None`.
    pub exposure: Option<f32>,
    /// What the texels are if they are not colours: luma, with chroma in another texture.
    pub video: Option<Video>,
}

/// Luma and chroma of a video, as ITU-T H.273 defines them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Video {
    /// What red and blue contribute to luma.
    pub red_and_blue: [f64; 2],
    /// Whether luma and chroma use all codes, not only those from 16 on and to 235 or 240 of 255.
    pub full_range: bool,
    /// The bits of a code: 8, or 10 in the upper bits of 16.
    pub bits: u32,
}

impl Video {
    /// The numbers of the shader's `Conversion`, as bits.
    fn conversion(&self) -> [i32; 7] {
        let [red, blue] = self.red_and_blue;
        let green = 1.0 - red - blue;
        let all = f64::from((1u32 << self.bits) - 1);
        let step = f64::from(1u32 << (self.bits - 8));
        // The code that a sample of 1 stands for.
        let sampled = if self.bits == 8 {
            255.0
        } else {
            65535.0 / f64::from(1u32 << (16 - self.bits))
        };
        let (black, luma_codes, chroma_codes) = if self.full_range {
            (0.0, all, all)
        } else {
            (16.0 * step, 219.0 * step, 224.0 * step)
        };
        let chroma_scale = 2.0 * sampled / chroma_codes;
        [
            black / sampled,
            sampled / luma_codes,
            128.0 * step / sampled,
            chroma_scale * (1.0 - red),
            -chroma_scale * (1.0 - blue) * blue / green,
            -chroma_scale * (1.0 - red) * red / green,
            chroma_scale * (1.0 - blue),
        ]
        .map(bits)
    }
}

/// A number in 32 bits as a table entry.
#[expect(clippy::cast_possible_truncation, reason = "the shader has 32 bits")]
fn bits(number: f64) -> i32 {
    (number as f32).to_bits().cast_signed()
}

/// The channels of a texel that are its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// Red, green and blue.
    Rgb = 0,
    /// Blue, green and red.
    Bgr = 1,
    /// The first alone, for a grey picture.
    First = 2,
}

/// The `table` of each pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Passes {
    /// From the texture to rows of the final width.
    pub rows: Vec<i32>,
    /// From those rows to the final image.
    pub columns: Vec<i32>,
}

/// The passes for one image, whose first pixel is `first_pixel` of the output.
pub(crate) fn passes(
    source: Source,
    [rows, columns]: [Axis; 2],
    filter: Filter,
    first_pixel: usize,
) -> Passes {
    let mut row_taps = rows.taps(filter);
    // Rows that no output row depends on are not resampled.
    let first = row_taps.iter().map(|tap| tap.first).min().unwrap_or(0);
    let end = row_taps.iter().map(Tap::end).max().unwrap_or(0);
    for tap in &mut row_taps {
        tap.first -= first;
    }
    let [top, step] = if source.bottom_up {
        [int(source.top + rows.from - 1 - first), -1]
    } else {
        [int(source.top + first), 1]
    };
    let rows_header = [
        int(columns.count),
        int(end - first),
        int(source.left),
        top,
        step,
        source.linear.into(),
        source.channels as i32,
        // As bits; no factor is a factor of zero, which would make no picture.
        source.exposure.unwrap_or(0.0).to_bits().cast_signed(),
    ];
    let conversion = source.video.map_or([0; 7], |video| video.conversion());
    let rows_header = [&rows_header[..], &conversion].concat();
    let columns_header = [int(columns.count), int(rows.count), int(first_pixel)];
    Passes {
        rows: table(&rows_header, &columns.taps(filter)),
        columns: table(&columns_header, &row_taps),
    }
}

/// The integers that both tables have at most, for any part of a texture of so many rows and columns.
pub(crate) fn room(size: [usize; 2], rules: &Preprocess) -> [usize; 2] {
    let [rows, columns] = fit(size, rules).map(|axis| axis.most_weights(rules.filter));
    let [height, width] = rules.size;
    [
        ROWS_HEADER + width * (3 + columns),
        COLUMNS_HEADER + height * (3 + rows),
    ]
}

/// Integers before the taps, as in the shaders.
const ROWS_HEADER: usize = 15;
const COLUMNS_HEADER: usize = 3;

/// A header, then the range and the position of the weights for each tap, then the weights.
fn table(header: &[i32], taps: &[Tap]) -> Vec<i32> {
    let mut table = header.to_vec();
    let mut weights = header.len() + taps.len() * 3;
    for tap in taps {
        table.extend([int(tap.first), int(tap.weights.len()), int(weights)]);
        weights += tap.weights.len();
    }
    table.extend(taps.iter().flat_map(|tap| &tap.weights));
    table
}

/// A size as a table entry.
fn int(size: usize) -> i32 {
    i32::try_from(size).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: Source = Source {
        left: 5,
        top: 7,
        bottom_up: false,
        linear: false,
        channels: Channels::Bgr,
        exposure: None,
        video: None,
    };

    fn axis(from: usize, to: usize, first: usize, count: usize) -> Axis {
        Axis {
            from,
            to,
            first,
            count,
        }
    }

    #[test]
    fn tables_list_what_each_pixel_reads() {
        // Rows 2 and 3 of 4 at their size; columns 4 → 2 with a box, each the mean of two.
        let passes = passes(SOURCE, [axis(4, 4, 2, 2), axis(4, 2, 0, 2)], Filter::Box, 9);
        let half = 1 << (crate::picture::resample::PRECISION_BITS - 1);
        assert_eq!(
            passes.rows,
            [
                2, 2, 5, 9, 1, 0, 1,
                0, // header: the first row read is row 2 of the rectangle
                0, 0, 0, 0, 0, 0, 0, // no video
                0, 2, 21, 2, 2, 23, // two taps of two
                half, half, half, half,
            ],
            "rows"
        );
        let one = 2 * half;
        assert_eq!(
            passes.columns,
            [2, 2, 9, 0, 1, 9, 1, 1, 10, one, one],
            "columns"
        );
    }

    #[test]
    fn an_image_that_is_upside_down_in_memory_is_read_upwards() {
        let source = Source {
            bottom_up: true,
            ..SOURCE
        };
        let passes = passes(source, [axis(4, 4, 1, 2), axis(1, 1, 0, 1)], Filter::Box, 0);
        // The image's row 1 of 4 is row 2 in memory.
        assert_eq!(passes.rows[3..5], [7 + 2, -1], "top and step");
    }
}
