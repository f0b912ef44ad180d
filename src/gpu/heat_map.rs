//! Paints a one-channel value into a texture of the host.

use super::Executor;
use super::dispatch::Dispatch;
use super::record::TextureCopy;
use super::resources::{create_scratch, create_table, side};
use super::texture::TextureRect;
use crate::error::Error;
use crate::graph::Role;
use crate::kernels::heat_map::{self, Picture};
use crate::plan::OutputKey;

/// How a map is painted.
///
/// The texture is two-dimensional, has the usage `COPY_DST`, and its format is `r32float` (for the
/// numbers themselves), or `rgba8unorm`, `bgra8unorm` or one of their sRGB forms (for colours,
/// which are written without conversion, so that an sRGB texture looks the same as any other). The
/// map becomes a smooth surface of the size of the rectangle: a cubic B-spline whose coefficients
/// are the map's values, each placed where its pixel sees the image
/// ([`Sites`](crate::explain::Sites)). The rectangle stands for the part that the network saw: the
/// whole image for rules that squash, its middle for rules that crop
/// ([`Preprocess::seen`](crate::picture::Preprocess::seen)).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HeatMap {
    /// The value that is painted; by default the class activation map.
    pub value: OutputKey<'static>,
    /// The image of the batch; by default the first.
    pub image: usize,
    /// Whether the smallest and the largest value of the surface become 0 and 1, which is the default;
    /// otherwise values are used unchanged, and clamped to 0..1 for colours.
    pub stretch: bool,
    /// The colours for the values from 0 to 1, by default [`Colors::Heat`]; `r32float` needs none.
    pub colors: Colors,
    /// The part of the texture that is painted; if `None`, all of it.
    pub rect: Option<TextureRect>,
    /// Multiplies the alpha of all colours, by default by 1.
    pub opacity: f32,
    /// Whether colours are multiplied by their alpha, for hosts that blend
    /// `colour + (1 − alpha) · below`, as egui does; by default they are not. In an sRGB texture it is
    /// the light that is multiplied, elsewhere the numbers.
    pub premultiplied: bool,
}

impl Default for HeatMap {
    fn default() -> Self {
        Self::of(Role::ClassMap)
    }
}

impl HeatMap {
    /// Paints a value in the default way.
    pub fn of(value: impl Into<OutputKey<'static>>) -> Self {
        Self {
            value: value.into(),
            image: 0,
            stretch: true,
            colors: Colors::Heat,
            rect: None,
            opacity: 1.0,
            premultiplied: false,
        }
    }
}

/// The colours of the values from 0 to 1.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Colors {
    /// Black to white, opaque.
    Gray,
    /// Blue, cyan, yellow, red, opaque.
    Rainbow,
    /// Transparent, then red, yellow and white, to be blended over the picture. Alpha grows with
    /// the value up to nine tenths and is not premultiplied.
    Heat,
    /// Transparent, then red, orange and yellow: as [`Colors::Heat`], without white at its core, and at
    /// most seven tenths opaque, so that what it lies on stays visible.
    Ember,
    /// Violet, blue, green and yellow, two thirds opaque: as readable for the colour-blind, and in print.
    Viridis,
    /// Dark, then transparent: what has large values is seen as it is.
    Spotlight,
    /// 256 colours, red first, alpha last.
    Table(Box<[[u8; 4]; 256]>),
}

#[doc(hidden)]
impl Colors {
    /// All 256 colours, RGBA.
    pub fn table(&self) -> [[u8; 4]; 256] {
        if let Self::Table(table) = self {
            return **table;
        }
        let mut table = [[0; 4]; 256];
        for (index, color) in (0u8..=255).zip(&mut table) {
            *color = self.color(f32::from(index) / 255.0);
        }
        table
    }

    fn color(&self, value: f32) -> [u8; 4] {
        let tent = |center: f32| byte(1.5 - (4.0 * value - center).abs());
        match self {
            Self::Gray => [byte(value), byte(value), byte(value), 255],
            Self::Rainbow => [tent(3.0), tent(2.0), tent(1.0), 255],
            Self::Ember => between(&EMBER, value),
            Self::Viridis => between(&VIRIDIS, value),
            Self::Spotlight => between(&SPOTLIGHT, value),
            Self::Heat | Self::Table(_) => [
                255,
                byte(2.0 * value - 0.6),
                byte(4.0 * value - 3.0),
                byte(0.9 * value),
            ],
        }
    }
}

/// A value, and its colour: red, green, blue and alpha, up to 255. Lines are straight in between.
type Stop = (f32, [f32; 4]);

const EMBER: [Stop; 4] = [
    (0.0, [200.0, 20.0, 30.0, 0.0]),
    (0.35, [225.0, 30.0, 20.0, 58.0]),
    (0.7, [255.0, 120.0, 10.0, 116.0]),
    (1.0, [255.0, 205.0, 40.0, 165.0]),
];

const VIRIDIS: [Stop; 5] = [
    (0.0, [68.0, 1.0, 84.0, 165.0]),
    (0.25, [59.0, 82.0, 139.0, 165.0]),
    (0.5, [33.0, 145.0, 140.0, 165.0]),
    (0.75, [94.0, 201.0, 98.0, 165.0]),
    (1.0, [253.0, 231.0, 37.0, 165.0]),
];

const SPOTLIGHT: [Stop; 4] = [
    (0.0, [8.0, 9.0, 12.0, 235.0]),
    (0.4, [8.0, 9.0, 12.0, 190.0]),
    (0.8, [8.0, 9.0, 12.0, 0.0]),
    (1.0, [8.0, 9.0, 12.0, 0.0]),
];

/// The colour of a value from 0 to 1 between those of its neighbours.
fn between(stops: &[Stop], value: f32) -> [u8; 4] {
    let next = stops.partition_point(|&(at, _)| at < value);
    let next = next.clamp(1, stops.len() - 1);
    let ((from, low), (to, high)) = (stops[next - 1], stops[next]);
    let part = (value - from) / (to - from);
    std::array::from_fn(|i| byte((low[i] + part * (high[i] - low[i])) / 255.0))
}

/// The recorded commands that paint a map.
pub(super) struct Painted {
    pub(super) dispatch: Dispatch,
    pub(super) copy: TextureCopy,
}

/// The order of the bytes in a pixel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pixel {
    Scalar,
    Rgba,
    Bgra,
}

impl HeatMap {
    pub(super) fn paint(
        &self,
        device: &wgpu::Device,
        executor: &Executor,
        texture: &wgpu::Texture,
    ) -> Result<Painted, Error> {
        let (output, values) = executor.output(self.value.clone())?;
        let shape = output.shape;
        if shape.c != 1 || self.image >= shape.n {
            return Err(refuse(format!(
                "'{}' is {shape}, which has no map of one channel for image {}",
                output.name, self.image
            )));
        }
        let pixel = pixel_of(texture)?;
        if !(0.0..=1.0).contains(&self.opacity) {
            return Err(refuse(format!(
                "an opacity of {} is not between 0 and 1",
                self.opacity
            )));
        }
        let rect = TextureRect::within(self.rect, [texture.height(), texture.width()])?;

        let row_bytes = (rect.width * 4).next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT);
        let colors = (pixel != Pixel::Scalar)
            .then(|| words(&self.table_as(texture.format().is_srgb()), pixel));
        let size = [rect.height as usize, rect.width as usize];
        let table = heat_map::table(
            shape,
            &output.sites,
            &Picture {
                size,
                pitch: row_bytes as usize / 4,
                image: self.image,
                stretch: self.stretch,
                colors: colors.as_deref(),
            },
        );
        let table = create_table(device, "heat map table", &table)?;
        let pixels = create_scratch(
            device,
            "heat map",
            u64::from(row_bytes) * u64::from(rect.height),
            wgpu::BufferUsages::COPY_SRC,
        )?;
        let launch = heat_map::launch(size);
        let dispatch = Dispatch::new(
            device,
            "heat map",
            &launch,
            executor.helpers.heat_map.get(device, &launch)?,
            [values, &table, &pixels].map(wgpu::Buffer::as_entire_binding),
        )?;
        Ok(Painted {
            dispatch,
            copy: TextureCopy {
                from: pixels,
                layout: wgpu::TexelCopyBufferLayout {
                    offset: 0,
                    bytes_per_row: Some(row_bytes),
                    rows_per_image: None,
                },
                to: texture.clone(),
                origin: wgpu::Origin3d {
                    x: rect.left,
                    y: rect.top,
                    z: 0,
                },
                size: wgpu::Extent3d {
                    width: side(rect.width.into()),
                    height: rect.height,
                    depth_or_array_layers: 1,
                },
            },
        })
    }
}

impl HeatMap {
    /// The colours as a texture stores them, whose numbers are encoded light or just numbers.
    fn table_as(&self, light: bool) -> [[u8; 4]; 256] {
        let mut table = self.colors.table();
        for [color @ .., alpha] in &mut table {
            let opacity = f32::from(*alpha) / 255.0 * self.opacity;
            *alpha = byte(opacity);
            if self.premultiplied {
                for channel in color {
                    let value = f32::from(*channel) / 255.0;
                    *channel = byte(if light {
                        encoded(linear(value) * opacity)
                    } else {
                        value * opacity
                    });
                }
            }
        }
        table
    }
}

/// The sRGB transfer function, IEC 61966-2-1, and its inverse.
fn encoded(linear: f32) -> f32 {
    if linear <= 0.003_130_8 {
        linear * 12.92
    } else {
        1.055 * linear.powf(1.0 / 2.4) - 0.055
    }
}

fn linear(encoded: f32) -> f32 {
    if encoded <= 0.040_45 {
        encoded / 12.92
    } else {
        ((encoded + 0.055) / 1.055).powf(2.4)
    }
}

/// A part of one as a byte.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to a byte before"
)]
fn byte(x: f32) -> u8 {
    (x.clamp(0.0, 1.0) * 255.0 + 0.5) as u8
}

fn refuse(reason: String) -> Error {
    Error::Texture { reason }
}

/// The pixel format of the texture, if it can be painted.
fn pixel_of(texture: &wgpu::Texture) -> Result<Pixel, Error> {
    use wgpu::TextureFormat as F;
    if !texture.usage().contains(wgpu::TextureUsages::COPY_DST) {
        return Err(refuse("the texture lacks the usage COPY_DST".to_owned()));
    }
    if texture.dimension() != wgpu::TextureDimension::D2 || texture.sample_count() > 1 {
        return Err(refuse("the texture must be 2-D with one sample".to_owned()));
    }
    match texture.format() {
        F::R32Float => Ok(Pixel::Scalar),
        F::Rgba8Unorm | F::Rgba8UnormSrgb => Ok(Pixel::Rgba),
        F::Bgra8Unorm | F::Bgra8UnormSrgb => Ok(Pixel::Bgra),
        format => Err(refuse(format!(
            "a map cannot be painted to {format:?}; use R32Float, Rgba8Unorm or Bgra8Unorm"
        ))),
    }
}

/// Colours as 32-bit words, in the byte order of the texture.
fn words(table: &[[u8; 4]; 256], pixel: Pixel) -> Vec<u32> {
    let word = |&[r, g, b, a]: &[u8; 4]| match pixel {
        Pixel::Bgra => u32::from_le_bytes([b, g, r, a]),
        Pixel::Rgba | Pixel::Scalar => u32::from_le_bytes([r, g, b, a]),
    };
    table.iter().map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_run_from_their_first_to_their_last() {
        let gray = Colors::Gray.table();
        assert_eq!([gray[0], gray[255]], [[0, 0, 0, 255], [255; 4]], "gray");
        let rainbow = Colors::Rainbow.table();
        assert_eq!(rainbow[0], [0, 0, 128, 255], "dark blue");
        assert_eq!(rainbow[255], [128, 0, 0, 255], "dark red");
        let heat = Colors::Heat.table();
        assert_eq!(heat[0][3], 0, "nothing");
        assert_eq!(heat[255], [255, 255, 255, 230], "white");
        assert!(
            heat.windows(2).all(|w| w[0][3] <= w[1][3]),
            "alpha never falls"
        );
        for (colors, stops) in [
            (Colors::Ember, &EMBER[..]),
            (Colors::Viridis, &VIRIDIS),
            (Colors::Spotlight, &SPOTLIGHT),
        ] {
            let table = colors.table();
            let ends = [table[0], table[255]].map(|color| color.map(f32::from));
            assert_eq!(ends, [stops[0].1, stops[stops.len() - 1].1], "{colors:?}");
            let step = |pair: &[[u8; 4]]| (0..4).map(|i| pair[0][i].abs_diff(pair[1][i])).max();
            let largest = table.windows(2).filter_map(step).max();
            assert!(largest <= Some(8), "{colors:?} has a step of {largest:?}");
        }
    }

    #[test]
    fn colors_are_multiplied_as_the_texture_stores_them() {
        let mut how = HeatMap {
            opacity: 0.5,
            ..HeatMap::default()
        };
        // Straight alpha: the opacity changes nothing else.
        assert_eq!(how.table_as(false)[255], [255, 255, 255, 115], "straight");
        how.premultiplied = true;
        let [r, g, b, a] = how.table_as(false)[255];
        assert_eq!([r, g, b, a], [115; 4], "numbers");
        // 0.451 of white light is encoded as 0.70.
        assert_eq!(how.table_as(true)[255], [179, 179, 179, 115], "light");
        assert_eq!(how.table_as(true)[0], [0; 4], "nothing adds nothing");
        let ember = Colors::Ember.table();
        assert!(
            ember.iter().all(|c| c[2] <= 40 && c[3] <= 179),
            "no white core"
        );
    }

    #[test]
    fn a_word_has_the_bytes_of_the_format() {
        let table = Box::new([[1, 2, 3, 4]; 256]);
        assert_eq!(words(&table, Pixel::Rgba)[9], 0x0403_0201, "red first");
        assert_eq!(words(&table, Pixel::Bgra)[9], 0x0401_0203, "blue first");
    }
}
