//! A batch of pictures by the rules of one network.

use super::{Picture, Rect, resize};
use crate::error::Error;
use crate::kernels::image_to_tensor::Normalization;
use crate::preprocess::{Crop, Preprocess, Resize};
use crate::tensor::{Shape, Tensor};

/// Pictures of one size, as the network gets them but for the normalisation.
#[derive(Clone, Debug)]
pub struct Batch {
    rgba: Vec<u8>,
    shape: Shape,
    normalization: Normalization,
}

impl Batch {
    /// Resizes and crops pictures.
    ///
    /// # Errors
    /// [`Error::Preprocess`] for rules that cannot be carried out, and for no picture at all.
    pub fn prepare(pictures: &[Picture], rules: &Preprocess) -> Result<Self, Error> {
        rules.check()?;
        if pictures.is_empty() {
            return Err(Error::Preprocess {
                reason: "there is no picture".to_owned(),
            });
        }
        let [h, w] = rules.size;
        let mut rgba = Vec::with_capacity(pictures.len() * h * w * 4);
        for picture in pictures {
            let fitted = fit(picture, rules);
            let pixels = fitted.rgb.as_chunks::<3>().0;
            rgba.extend(pixels.iter().flat_map(|&[r, g, b]| [r, g, b, 255]));
        }
        Ok(Self {
            rgba,
            shape: Shape::new(pictures.len(), 3, h, w),
            normalization: rules.normalization(),
        })
    }

    /// The pixels as 8-bit RGBA, image by image, row by row; red first, whatever the network wants.
    pub fn rgba(&self) -> &[u8] {
        &self.rgba
    }

    /// Shape of the network's input.
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// What turns the pixels into the network's input.
    pub const fn normalization(&self) -> &Normalization {
        &self.normalization
    }

    /// The network's input, computed here.
    pub fn tensor(&self) -> Tensor {
        let Normalization {
            mean,
            std,
            swap_red_blue,
        } = self.normalization;
        // There are only 256 values, so that each can be computed in 64 bits and rounded once.
        let tables = [0, 1, 2].map(|c| table(mean[c], std[c]));
        let plane = self.shape.h * self.shape.w;
        Tensor::from_fn(&self.shape.dims(), |index| {
            let (n, c, pixel) = (index / (3 * plane), index / plane % 3, index % plane);
            let lane = if swap_red_blue { 2 - c } else { c };
            tables[c][usize::from(self.rgba[(n * plane + pixel) * 4 + lane])]
        })
    }
}

/// `(value / 255 − mean) / std` of every value of a byte.
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

/// One picture at the size of the network.
fn fit(picture: &Picture, rules: &Preprocess) -> Picture {
    let [h, w] = rules.size;
    let full = match rules.resize {
        Resize::Squash => rules.size,
        Resize::Cover(cover) => covering([picture.height, picture.width], cover),
    };
    let rect = Rect {
        top: margin(full[0] - h, rules.crop),
        left: margin(full[1] - w, rules.crop),
        height: h,
        width: w,
    };
    resize::resize(picture, full, rect, rules.filter)
}

/// The smallest size of an image's proportions that covers a rectangle: one side fits exactly, the
/// other is cut off to an integer as torchvision's `int(edge * long / short)`.
const fn covering([h, w]: [usize; 2], [cover_h, cover_w]: [usize; 2]) -> [usize; 2] {
    if h * cover_w <= w * cover_h {
        [cover_h, cover_h * w / h]
    } else {
        [cover_w * h / w, cover_w]
    }
}

/// What is cut off before the centre, of all that is cut off along an axis.
const fn margin(cut: usize, crop: Crop) -> usize {
    let half = cut / 2;
    match crop {
        Crop::Floor => half,
        // Python rounds halves to the even neighbour.
        Crop::Round => half + (cut % 2) * (half % 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preprocess::Filter;

    #[test]
    fn sizes_are_torchvisions() {
        for (size, expected) in [
            // Short edge to 256, long edge int(256 * long / short).
            ([480, 640], [256, 341]),
            ([640, 480], [341, 256]),
            ([500, 333], [384, 256]),
            ([100, 100], [256, 256]),
            ([1, 3], [256, 768]),
        ] {
            assert_eq!(covering(size, [256, 256]), expected, "{size:?}");
        }
        assert_eq!(covering([100, 100], [64, 128]), [128, 128], "not square");
        assert_eq!(
            covering([100, 300], [64, 128]),
            [64, 192],
            "not square, wide"
        );
    }

    #[test]
    fn margins_round_halves_to_even_or_down() {
        // Python: [round(d / 2) for d in range(8)].
        let rounded = [0, 0, 1, 2, 2, 2, 3, 4];
        for (cut, expected) in rounded.into_iter().enumerate() {
            assert_eq!(margin(cut, Crop::Round), expected, "{cut}");
            assert_eq!(margin(cut, Crop::Floor), cut / 2, "{cut}");
        }
    }

    #[test]
    fn a_crop_is_a_part_of_the_whole_resized_image() {
        let rgb = (0..37 * 23 * 3u32).map(|i| (i * i / 7 % 251).to_le_bytes()[0]);
        let picture = Picture::new(37, 23, rgb.collect()).expect("filled");
        let filters = [
            Filter::Nearest,
            Filter::Box,
            Filter::Bilinear,
            Filter::Bicubic,
            Filter::Lanczos,
        ];
        for filter in filters {
            for size in [[20, 19], [50, 41], [37, 30]] {
                let whole = picture.resized(size, filter);
                let rect = Rect {
                    top: 3,
                    left: 5,
                    height: 11,
                    width: 7,
                };
                let part = resize::resize(&picture, size, rect, filter);
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
    fn a_long_thin_picture_takes_no_more_memory_than_its_crop() {
        // At full size it would be 256 × 16,776,960 pixels.
        let picture = Picture::new(1, 65_535, vec![7; 65_535 * 3]).expect("filled");
        let batch = Batch::prepare(&[picture], &Preprocess::TORCHVISION).expect("prepared");
        assert!(
            batch.rgba().chunks(4).all(|p| p == [7, 7, 7, 255]),
            "constant"
        );
    }
}
