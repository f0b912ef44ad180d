//! A batch of pictures, preprocessed for one network.

use std::borrow::Cow;

use super::Picture;
use super::resample::fit;
use super::resize::Resizer;
use crate::error::Error;
use crate::picture::Normalization;
use crate::picture::{ChannelOrder, Preprocess};
use crate::tensor::{Shape, Tensor};

/// Pictures of equal size, ready for the network except for normalisation.
#[derive(Clone, Debug)]
pub struct Batch {
    content: Content,
    shape: Shape,
    rules: Preprocess,
}

/// Images, one after the other.
#[derive(Clone, Debug)]
enum Content {
    /// Rows of RGBA.
    Pixels(Vec<u8>),
    /// What the network reads, of which there are no pixels.
    Numbers(Vec<f32>),
}

impl Batch {
    /// Resizes and crops pictures.
    ///
    /// # Errors
    /// [`Error::Preprocess`] if the rules cannot be carried out, or if the list is empty.
    pub fn prepare(pictures: &[Picture], rules: &Preprocess) -> Result<Self, Error> {
        rules.check()?;
        refuse_arrays(rules)?;
        let parts = pictures.iter();
        let parts = parts.map(|picture| Self::of(picture.fitted(rules), rules));
        Self::join(&parts.collect::<Vec<_>>(), pictures.len())
    }

    /// Resizes and crops a picture whose rows of RGB lie elsewhere; none of them is kept.
    ///
    /// # Errors
    /// [`Error::Preprocess`] for rules that cannot be carried out, and for rows that are no picture of
    /// this size.
    #[doc(hidden)]
    pub fn of_rows<'a>(
        size: [usize; 2],
        rows: impl ExactSizeIterator<Item = Cow<'a, [u8]>>,
        rules: &Preprocess,
    ) -> Result<Self, Error> {
        let refuse = || Error::Preprocess {
            reason: format!(
                "the pixels do not fill a picture of {}x{}",
                size[0], size[1]
            ),
        };
        let rules = rules.for_image(size).unwrap_or(*rules);
        rules.check()?;
        refuse_arrays(&rules)?;
        if size.contains(&0) || rows.len() != size[0] {
            return Err(refuse());
        }
        let [vertical, horizontal] = fit(size, &rules);
        let mut resizer = Resizer::new(vertical, horizontal, rules.filter);
        for row in rows {
            if row.len() != size[1] * 3 {
                return Err(refuse());
            }
            resizer.push(&rules.channels.of(&row));
        }
        Ok(Self::of(resizer.finish(), &rules))
    }

    /// A batch of one picture, which has the scale of the rules.
    pub(super) fn of(fitted: Picture, rules: &Preprocess) -> Self {
        let fitted = framed(fitted, rules);
        let pixels = fitted.rgb.as_chunks::<3>().0;
        let rgba = pixels.iter().flat_map(|&[r, g, b]| [r, g, b, 255]);
        Self {
            content: Content::Pixels(rgba.collect()),
            shape: Shape::new(1, 3, rules.size[0], rules.size[1]),
            rules: *rules,
        }
    }

    /// A batch of one image that is an array: its channels, one after the other, for rules of its size.
    pub(super) fn of_numbers(numbers: Vec<f32>, rules: &Preprocess) -> Self {
        let [h, w] = rules.size;
        Self {
            content: Content::Numbers(numbers),
            shape: Shape::new(1, rules.channels.count(), h, w),
            rules: *rules,
        }
    }

    /// Joins batches, and pads them to `count` pictures by repeating the first one, for plans that
    /// take whole batches only.
    ///
    /// # Errors
    /// [`Error::Preprocess`] if the batches have different rules, if there are none, or if there
    /// are more than `count` pictures.
    #[doc(hidden)]
    pub fn join(parts: &[Self], count: usize) -> Result<Self, Error> {
        let refuse = |reason: &str| Error::Preprocess {
            reason: reason.to_owned(),
        };
        let first = parts.first().ok_or_else(|| refuse("there is no picture"))?;
        if parts.iter().any(|part| part.rules != first.rules) {
            return Err(refuse("the pictures were prepared by several rules"));
        }
        if parts.iter().map(|part| part.shape.n).sum::<usize>() > count {
            return Err(refuse("there are more pictures than the batch holds"));
        }
        let pixels = parts.iter().map(|part| match &part.content {
            Content::Pixels(rgba) => &rgba[..],
            Content::Numbers(_) => &[],
        });
        let numbers = parts.iter().map(|part| match &part.content {
            Content::Pixels(_) => &[],
            Content::Numbers(numbers) => &numbers[..],
        });
        let shape = Shape {
            n: count,
            ..first.shape
        };
        Ok(Self {
            content: match &first.content {
                Content::Pixels(_) => Content::Pixels(filled(pixels, count, shape.pixels() * 4)),
                Content::Numbers(_) => Content::Numbers(filled(numbers, count, shape.len())),
            },
            shape,
            rules: first.rules,
        })
    }

    /// The pixels as 8-bit RGBA, image by image, row by row; red first, whatever the network
    /// expects. There are none of images that are arrays.
    pub fn rgba(&self) -> &[u8] {
        match &self.content {
            Content::Pixels(rgba) => rgba,
            Content::Numbers(_) => &[],
        }
    }

    /// The network's input, normalised on the CPU.
    pub fn tensor(&self) -> Tensor {
        let rgba = match &self.content {
            Content::Pixels(rgba) => rgba,
            Content::Numbers(numbers) => {
                return Tensor::from_fn(&self.shape.dims(), |index| numbers[index]);
            }
        };
        let Normalization {
            mean,
            std,
            swap_red_blue,
        } = self.rules.normalization();
        // There are only 256 inputs: each result is computed in 64 bits and rounded once.
        let tables = [0, 1, 2].map(|c| table(mean[c], std[c]));
        let plane = self.shape.h * self.shape.w;
        Tensor::from_fn(&self.shape.dims(), |index| {
            let (n, c, pixel) = (index / (3 * plane), index / plane % 3, index % plane);
            let lane = if swap_red_blue { 2 - c } else { c };
            tables[c][usize::from(rgba[(n * plane + pixel) * 4 + lane])]
        })
    }
}

#[doc(hidden)]
impl Batch {
    /// The shape of the network's input.
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// The rules by which the pictures were prepared, and by which their pixels are to be
    /// normalised.
    pub const fn rules(&self) -> &Preprocess {
        &self.rules
    }
}

/// Joins the images of batches, and repeats the first one until there are `count`; `len` is the length of
/// all.
fn filled<'a, T: Copy + 'a>(
    parts: impl Iterator<Item = &'a [T]>,
    count: usize,
    len: usize,
) -> Vec<T> {
    let mut joined = Vec::with_capacity(len);
    parts.for_each(|part| joined.extend_from_slice(part));
    while joined.len() < len {
        joined.extend_from_within(..len / count);
    }
    joined
}

/// Refuses pictures where a network takes arrays.
fn refuse_arrays(rules: &Preprocess) -> Result<(), Error> {
    match rules.channels {
        ChannelOrder::Planes(count) => Err(Error::Preprocess {
            reason: format!(
                "the network takes arrays of {count} channels, not pictures; read them from .npy files"
            ),
        }),
        ChannelOrder::Rgb | ChannelOrder::Bgr | ChannelOrder::Grey => Ok(()),
    }
}

/// Pads a picture that is smaller than the network's input with the mean colour.
fn framed(part: Picture, rules: &Preprocess) -> Picture {
    let [height, width] = rules.size;
    if [part.height, part.width] == rules.size {
        return part;
    }
    let [first, second, third] = rules.mean.map(colour);
    let fill = match rules.channels {
        ChannelOrder::Rgb | ChannelOrder::Grey | ChannelOrder::Planes(_) => [first, second, third],
        ChannelOrder::Bgr => [third, second, first],
    };
    let top = (height - part.height) / 2;
    let left = (width - part.width) / 2;
    let mut rgb = fill.repeat(height * width);
    for (y, row) in part.rgb.chunks_exact(part.width * 3).enumerate() {
        let start = ((top + y) * width + left) * 3;
        rgb[start..start + row.len()].copy_from_slice(row);
    }
    Picture { height, width, rgb }
}

/// A mean as a byte: Python's `round(255 * mean)`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float is clamped by the conversion"
)]
fn colour(mean: f32) -> u8 {
    (255.0 * f64::from(mean)).round_ties_even() as u8
}

/// `(value / 255 − mean) / std` for every byte value.
fn table(mean: f32, std: f32) -> [f32; 256] {
    let mut table = [0.0; 256];
    for (value, entry) in (0u8..=255).zip(&mut table) {
        let scaled = (f64::from(value) / 255.0 - f64::from(mean)) / f64::from(std);
        #[expect(clippy::cast_possible_truncation, reason = "rounding is what is meant")]
        let rounded = scaled as f32;
        *entry = rounded;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::resample::Axis;
    use crate::picture::resize;
    use crate::picture::{Filter, Resize};

    #[test]
    fn a_crop_is_a_part_of_the_whole_resized_image() {
        let rgb = (0..37 * 23 * 3u32).map(|i| (i * i / 7 % 251).to_le_bytes()[0]);
        let picture = Picture::new(37, 23, rgb.collect()).expect("filled");
        let filters = [
            Filter::Nearest,
            Filter::Box,
            Filter::Bilinear,
            Filter::Bicubic,
            Filter::Hamming,
            Filter::Lanczos,
        ];
        for filter in filters {
            for size in [[20, 19], [50, 41], [37, 30]] {
                let whole = picture.resized(size, filter);
                let axis = |from, to, first, count| Axis {
                    from,
                    to,
                    first,
                    count,
                };
                let rows = axis(picture.height, size[0], 3, 11);
                let columns = axis(picture.width, size[1], 5, 7);
                let part = resize::resize(&picture, rows, columns, filter);
                for y in 0..11 {
                    let from = ((y + 3) * size[1] + 5) * 3;
                    assert_eq!(
                        part.rgb[y * 21..][..21],
                        whole.rgb[from..][..21],
                        "{filter:?} {size:?}, row {y}"
                    );
                }
            }
        }
    }

    #[test]
    fn an_image_that_does_not_fill_its_frame_gets_margins_of_the_mean() {
        let picture = Picture::new(2, 7, vec![9; 2 * 7 * 3]).expect("filled");
        let rules = Preprocess {
            size: [8, 7],
            resize: Resize::Contain([8, 7]),
            mean: [0.485, 0.5, 1.0],
            ..Preprocess::NOTEBOOK
        };
        let batch = Batch::prepare(&[picture], &rules).expect("prepared");
        let row = |y: usize| &batch.rgba()[y * 28..][..4];
        assert_eq!(row(2), [124, 128, 255, 255], "above");
        assert_eq!(row(3), [9, 9, 9, 255], "the first row of the image");
        assert_eq!(row(4), [9, 9, 9, 255], "the last");
        assert_eq!(row(5), [124, 128, 255, 255], "below");
    }

    #[test]
    fn channels_are_normalised_in_the_order_of_the_network() {
        let picture = Picture::new(1, 1, vec![255, 51, 0]).expect("filled");
        let rules = Preprocess {
            size: [1, 1],
            mean: [0.0, 0.2, 0.5],
            std: [1.0, 0.5, 0.25],
            ..Preprocess::NOTEBOOK
        };
        let batch = Batch::prepare(&[picture.clone(), picture], &rules).expect("prepared");
        assert_eq!(batch.rgba(), [255, 51, 0, 255, 255, 51, 0, 255], "RGBA");
        let tensor = batch.tensor();
        let close = |got: &[f32], expected: [f32; 3]| {
            let pairs = got.iter().zip(expected);
            assert!(pairs.clone().all(|(x, y)| (x - y).abs() < 1e-6), "{got:?}");
        };
        close(&tensor.data()[..3], [1.0, 0.0, -2.0]);
        close(&tensor.data()[3..], [1.0, 0.0, -2.0]);
    }

    #[test]
    fn a_grey_network_gets_the_luma_of_pillow_in_all_channels() {
        let rgb = vec![255, 51, 0, 0, 0, 255, 255, 255, 255];
        let picture = Picture::new(1, 3, rgb).expect("filled");
        let rules = Preprocess {
            size: [1, 3],
            channels: ChannelOrder::Grey,
            ..Preprocess::NOTEBOOK
        };
        let batch = Batch::prepare(&[picture], &rules).expect("prepared");
        let luma = batch.rgba().chunks(4).map(|pixel| &pixel[..3]);
        assert_eq!(luma.collect::<Vec<_>>(), [[106; 3], [29; 3], [255; 3]]);
    }

    #[test]
    fn a_long_thin_picture_takes_no_more_memory_than_its_crop() {
        // At full size the resized image would have 256 × 16,776,960 pixels.
        let picture = Picture::new(1, 65_535, vec![7; 65_535 * 3]).expect("filled");
        let batch = Batch::prepare(&[picture], &Preprocess::TORCHVISION).expect("prepared");
        assert!(
            batch.rgba().chunks(4).all(|p| p == [7, 7, 7, 255]),
            "constant"
        );
    }
}
