//! How a texture of the host is interpreted.

use super::guarded;
use crate::error::Error;
use crate::kernels::resample::{Channels, Source};
use crate::picture::ChannelOrder;

/// Whether an image is stored top or bottom row first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// The first row is the topmost, as wgpu renders.
    #[default]
    TopLeft,
    /// The first row is the lowest, as OpenGL renders.
    BottomLeft,
}

/// How the numbers in a texture encode colours. Networks expect colours as in image files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Encoding {
    /// Linear for sRGB formats, which the sampler linearises; encoded for all others.
    #[default]
    ByFormat,
    /// As in an image file, in any format.
    Encoded,
    /// Proportional to light, as in HDR render targets: the sRGB transfer function is applied.
    Linear,
}

/// A rectangle of texels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TextureRect {
    /// First column.
    pub left: u32,
    /// First row in memory.
    pub top: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl TextureRect {
    /// Checks that a rectangle lies within this height and width; `None` stands for all of it.
    pub(super) fn within(rect: Option<Self>, [height, width]: [u32; 2]) -> Result<Self, Error> {
        let rect = rect.unwrap_or(Self {
            left: 0,
            top: 0,
            width,
            height,
        });
        let inside = |first: u32, count: u32, all: u32| {
            count > 0 && first.checked_add(count).is_some_and(|end| end <= all)
        };
        if inside(rect.left, rect.width, width) && inside(rect.top, rect.height, height) {
            return Ok(rect);
        }
        Err(refuse(format!(
            "{rect:?} is empty or not within {height} rows and {width} columns"
        )))
    }
}

/// The formats that can be read.
const FORMATS: [wgpu::TextureFormat; 14] = {
    use wgpu::TextureFormat as F;
    [
        F::Rgba8Unorm,
        F::Rgba8UnormSrgb,
        F::Bgra8Unorm,
        F::Bgra8UnormSrgb,
        F::Rgb10a2Unorm,
        F::Rgba16Unorm,
        F::Rg11b10Ufloat,
        F::Rgb9e5Ufloat,
        F::Rgba16Float,
        F::Rgba32Float,
        F::R8Unorm,
        F::R16Unorm,
        F::R16Float,
        F::R32Float,
    ]
};

/// How a view of a texture is read.
///
/// The view is two-dimensional and has one layer, in a format of three or four channels of 8 or 10 bits
/// or of floats, of four channels of 16 bits, or of one channel, which is then grey: among them are
/// `rgba8unorm` and `bgra8unorm` with their sRGB forms, `rgb10a2unorm`, `rg11b10ufloat`, `rgba16float`
/// and `r8unorm`. Its texture has the usage `TEXTURE_BINDING`. Its first mip level is read. Colours are
/// clamped to 0..1 and rounded to 8 bits, as if the image had
/// been saved to a file. Alpha is ignored, so premultiplied colours appear as over black.
///
/// By default all of the texture is read, as its format says:
///
/// ```
/// use resnet_wgpu::gpu::{Encoding, TextureRead};
///
/// let mut read = TextureRead::default();
/// read.encoding = Encoding::Linear;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct TextureRead {
    /// The format of the view, if it differs from its texture's.
    pub format: Option<wgpu::TextureFormat>,
    /// The mip level that is read, and at which the view begins.
    pub mip_level: u32,
    /// The part that is the image; if `None`, all of it.
    pub rect: Option<TextureRect>,
    /// Which way up it is.
    pub origin: Origin,
    /// The order of the channels as sampled. By default red comes first, also for BGRA formats; blue
    /// first is for textures filled in the opposite order to their format.
    pub channels: ChannelOrder,
    /// The meaning of the numbers.
    pub encoding: Encoding,
    /// Takes the numbers as light without an upper bound, as in HDR render targets, whatever the
    /// encoding: multiplies them by this exposure and maps x to
    /// `x (2.51 x + 0.03) / (x (2.43 x + 0.59) + 0.14)`, at most 1, before they are encoded. Otherwise
    /// light beyond 1 is clamped. Choose the factor as for a screen: 1 shows 1 as bright as 0.80.
    pub exposure: Option<f32>,
}

impl TextureRead {
    /// The same for another part of it.
    pub(super) const fn at(mut self, rect: TextureRect) -> Self {
        self.rect = Some(rect);
        self
    }

    /// The rows and columns of the level at which the view begins.
    pub(super) fn size(&self, view: &wgpu::TextureView) -> [u32; 2] {
        let size = view.texture().size();
        let at_level = |side: u32| side.checked_shr(self.mip_level).unwrap_or(0).max(1);
        [size.height, size.width].map(at_level)
    }

    /// A view of the level and in the format that are stated. wgpu does not tell which ones the host's has;
    /// of several layers it does not tell which one either, so that theirs is used as it is.
    pub(super) fn view(
        &self,
        device: &wgpu::Device,
        view: &wgpu::TextureView,
    ) -> Result<wgpu::TextureView, Error> {
        let texture = view.texture();
        if texture.depth_or_array_layers() > 1 {
            return Ok(view.clone());
        }
        guarded(device, "view of a texture", || {
            texture.create_view(&wgpu::TextureViewDescriptor {
                label: Some("resnet-wgpu texture input"),
                format: Some(self.format_of(view)),
                base_mip_level: self.mip_level,
                mip_level_count: Some(1),
                ..Default::default()
            })
        })
    }

    fn format_of(&self, view: &wgpu::TextureView) -> wgpu::TextureFormat {
        self.format.unwrap_or_else(|| view.texture().format())
    }

    /// Checks what wgpu would only report to the host's error handler, or not at all.
    pub(super) fn check(&self, view: &wgpu::TextureView) -> Result<(), Error> {
        let texture = view.texture();
        let format = self.format_of(view);
        let reason = if !FORMATS.contains(&format) {
            format!("the format {format:?} is none of {FORMATS:?}; render or copy to one of them")
        } else if format.remove_srgb_suffix() != texture.format().remove_srgb_suffix() {
            let own = texture.format();
            format!("a view of {own:?} cannot have the format {format:?}")
        } else if !texture
            .usage()
            .contains(wgpu::TextureUsages::TEXTURE_BINDING)
        {
            "the texture lacks the usage TEXTURE_BINDING".to_owned()
        } else if texture.sample_count() > 1 {
            let samples = texture.sample_count();
            format!("the texture has {samples} samples; resolve it first")
        } else if self.mip_level >= texture.mip_level_count() {
            format!(
                "there is no mip level {}, the texture has {}",
                self.mip_level,
                texture.mip_level_count()
            )
        } else {
            return match self.exposure {
                Some(exposure) if !(exposure.is_finite() && exposure > 0.0) => Err(refuse(
                    format!("{exposure} is not an exposure; use 1 if in doubt"),
                )),
                _ => Ok(()),
            };
        };
        Err(refuse(reason))
    }

    /// The rectangle in the form that the kernels take, and its rows and columns.
    pub(super) fn source(
        &self,
        size: [u32; 2],
        texture: wgpu::TextureFormat,
    ) -> Result<(Source, [usize; 2]), Error> {
        let rect = TextureRect::within(self.rect, size)?;
        let format = self.format.unwrap_or(texture);
        let source = Source {
            left: rect.left as usize,
            top: rect.top as usize,
            bottom_up: self.origin == Origin::BottomLeft,
            linear: match self.encoding {
                _ if self.exposure.is_some() => true,
                Encoding::ByFormat => format.is_srgb(),
                Encoding::Encoded => false,
                Encoding::Linear => true,
            },
            channels: match self.channels {
                _ if format.components() == 1 => Channels::First,
                ChannelOrder::Bgr => Channels::Bgr,
                ChannelOrder::Rgb | ChannelOrder::Grey | ChannelOrder::Planes(_) => Channels::Rgb,
            },
            exposure: self.exposure,
        };
        Ok((source, [rect.height as usize, rect.width as usize]))
    }
}

fn refuse(reason: String) -> Error {
    Error::Texture { reason }
}
