//! How a texture of the host is interpreted.

use super::guarded;
use crate::error::Error;
use crate::kernels::resample::{Channels, Source, Video};
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
///
/// The last four are for video. An image takes one view of a texture of the format `NV12` or `P010`, of which both
/// planes are read. Or it takes two, as decoders write the same: luma in a texture of one channel, and after it Cb and
/// Cr in one of two channels and half the size, rounded up. Or it takes three, all of `r8unorm`: luma, Cb and
/// Cr (I420). Between samples chroma is interpolated linearly; it lies at the even
/// columns of the luma, and halfway between an even row and the next one, as in H.264 and H.265 by default
/// ("left"). The result is taken as encoded for a screen, as players do. A stream says which one it is; if
/// it does not, heights from 720 on are mostly [`Encoding::Bt709`], lower ones [`Encoding::Bt601`].
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
    /// Luma and chroma by ITU-R BT.601, in limited range: black is 16, and white 235 of 255.
    Bt601,
    /// Luma and chroma by ITU-R BT.601, from 0 to 255, as in JPEG.
    Bt601Full,
    /// Luma and chroma by ITU-R BT.709, in limited range.
    Bt709,
    /// Luma and chroma by ITU-R BT.709, from 0 to 255.
    Bt709Full,
}

impl Encoding {
    /// What red and blue contribute to luma, and whether it has the full range; `None` for colours.
    const fn video(self) -> Option<([f64; 2], bool)> {
        const BT601: [f64; 2] = [0.299, 0.114];
        const BT709: [f64; 2] = [0.2126, 0.0722];
        match self {
            Self::ByFormat | Self::Encoded | Self::Linear => None,
            Self::Bt601 => Some((BT601, false)),
            Self::Bt601Full => Some((BT601, true)),
            Self::Bt709 => Some((BT709, false)),
            Self::Bt709Full => Some((BT709, true)),
        }
    }
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

/// The formats of luma and chroma that can be read, in two textures.
const VIDEO_FORMATS: [[wgpu::TextureFormat; 2]; 2] = {
    use wgpu::TextureFormat as F;
    [[F::R8Unorm, F::Rg8Unorm], [F::R16Unorm, F::Rg16Unorm]]
};

/// The formats that have both in one texture.
const PLANAR_FORMATS: [wgpu::TextureFormat; 2] =
    [wgpu::TextureFormat::NV12, wgpu::TextureFormat::P010];

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
    /// first is for textures filled in the opposite order to their format. Of video it says that Cr
    /// precedes Cb, as in NV21 and YV12.
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

    /// A view of the level and in the format that are stated, or of each plane of a format that has several. wgpu
    /// does not tell which ones the host's has; of several layers it does not tell which one either, so that
    /// theirs is used as it is.
    pub(super) fn views(
        &self,
        device: &wgpu::Device,
        view: &wgpu::TextureView,
    ) -> Result<Vec<wgpu::TextureView>, Error> {
        let texture = view.texture();
        if self.is_planar(view) {
            return self.planes(device, texture);
        }
        if texture.depth_or_array_layers() > 1 {
            return Ok(vec![view.clone()]);
        }
        let format = Some(self.format_of(view));
        let view = self.view(device, texture, format, wgpu::TextureAspect::All)?;
        Ok(vec![view])
    }

    /// A view of each plane.
    fn planes(
        &self,
        device: &wgpu::Device,
        texture: &wgpu::Texture,
    ) -> Result<Vec<wgpu::TextureView>, Error> {
        let format = texture.format();
        let aspects = [wgpu::TextureAspect::Plane0, wgpu::TextureAspect::Plane1];
        let formats = aspects.map(|aspect| format.aspect_specific_format(aspect));
        let needed = formats.into_iter().flatten().chain([format]);
        let needed = needed.fold(wgpu::Features::empty(), |needed, format| {
            needed | format.required_features()
        });
        let missing = needed - device.features();
        if !missing.is_empty() {
            return Err(refuse(format!(
                "the planes of {format:?} are read on a device with {missing}; request that, or copy them to \
                 textures of their own"
            )));
        }
        let views = aspects.into_iter();
        views
            .map(|aspect| self.view(device, texture, None, aspect))
            .collect()
    }

    fn view(
        &self,
        device: &wgpu::Device,
        texture: &wgpu::Texture,
        format: Option<wgpu::TextureFormat>,
        aspect: wgpu::TextureAspect,
    ) -> Result<wgpu::TextureView, Error> {
        guarded(device, "view of a texture", || {
            texture.create_view(&wgpu::TextureViewDescriptor {
                label: Some("resnet-wgpu texture input"),
                format,
                aspect,
                base_mip_level: self.mip_level,
                mip_level_count: Some(1),
                ..Default::default()
            })
        })
    }

    fn format_of(&self, view: &wgpu::TextureView) -> wgpu::TextureFormat {
        self.format.unwrap_or_else(|| view.texture().format())
    }

    const fn is_video(&self) -> bool {
        self.encoding.video().is_some()
    }

    /// Whether the view is of luma and chroma.
    fn is_planar(&self, view: &wgpu::TextureView) -> bool {
        PLANAR_FORMATS.contains(&self.format_of(view))
    }

    /// The number of views that an image takes, of those that begin with this one, and the number of its planes.
    pub(super) fn views_and_planes(&self, views: &[(&wgpu::TextureView, Self)]) -> (usize, usize) {
        if !self.is_video() {
            return (1, 1);
        }
        match views {
            [(view, _), ..] if self.is_planar(view) => (1, 2),
            [_, (cb, read), ..] if read.format_of(cb).components() == 1 => (3, 3),
            _ => (2, 2),
        }
    }

    /// Checks the view of a picture, of a video or of its luma.
    pub(super) fn check(&self, view: &wgpu::TextureView) -> Result<(), Error> {
        match (self.is_video(), self.is_planar(view)) {
            (true, true) => {
                self.check_as(view, &PLANAR_FORMATS)?;
                if view.texture().depth_or_array_layers() > 1 {
                    return Err(refuse("a texture of planes has one layer".to_owned()));
                }
            }
            (true, false) => self.check_as(view, &VIDEO_FORMATS.map(|[luma, _]| luma))?,
            (false, true) => {
                let format = self.format_of(view);
                return Err(refuse(format!(
                    "{format:?} is video; say how it is encoded, such as by `Encoding::Bt709`"
                )));
            }
            (false, false) => self.check_as(view, &FORMATS)?,
        }
        match self.exposure {
            Some(exposure) if !(exposure.is_finite() && exposure > 0.0) => Err(refuse(format!(
                "{exposure} is not an exposure; use 1 if in doubt"
            ))),
            Some(_) if self.is_video() => Err(refuse(format!(
                "an exposure is for light, and {:?} is not; leave it out",
                self.encoding
            ))),
            _ => Ok(()),
        }
    }

    /// Checks a view of the chroma that belongs to a video's luma; Cb and Cr may be `apart`.
    pub(super) fn check_chroma(
        &self,
        chroma: &wgpu::TextureView,
        (luma_read, luma): (&Self, &wgpu::TextureView),
        apart: bool,
    ) -> Result<(), Error> {
        let luma_format = luma_read.format_of(luma);
        let mut pairs = VIDEO_FORMATS.iter();
        let pair = pairs.find(|[format, _]| *format == luma_format);
        if apart {
            // What has more bits in three planes has them in the lower ones.
            let eight_bits = [wgpu::TextureFormat::R8Unorm];
            luma_read.check_as(luma, &eight_bits)?;
            self.check_as(chroma, &eight_bits)?;
        } else {
            self.check_as(chroma, &pair.map_or([luma_format], |[_, format]| [*format]))?;
        }
        let [height, width] = luma_read.size(luma);
        let want = [height.div_ceil(2), width.div_ceil(2)];
        let got = self.size(chroma);
        if got == want {
            return Ok(());
        }
        Err(refuse(format!(
            "chroma of {got:?} rows and columns does not belong to luma of {height} and {width}; \
             it must have half of them, {want:?}"
        )))
    }

    /// Checks what wgpu would only report to the host's error handler, or not at all.
    fn check_as(
        &self,
        view: &wgpu::TextureView,
        formats: &[wgpu::TextureFormat],
    ) -> Result<(), Error> {
        let texture = view.texture();
        let format = self.format_of(view);
        let reason = if !formats.contains(&format) {
            format!("the format {format:?} is none of {formats:?}; render or copy to one of them")
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
            return Ok(());
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
                Encoding::Linear => true,
                Encoding::Encoded
                | Encoding::Bt601
                | Encoding::Bt601Full
                | Encoding::Bt709
                | Encoding::Bt709Full => false,
            },
            channels: match self.channels {
                _ if format.components() == 1 && !self.is_video() => Channels::First,
                ChannelOrder::Bgr => Channels::Bgr,
                ChannelOrder::Rgb | ChannelOrder::Grey | ChannelOrder::Planes(_) => Channels::Rgb,
            },
            exposure: self.exposure,
            video: self
                .encoding
                .video()
                .map(|(red_and_blue, full_range)| Video {
                    red_and_blue,
                    full_range,
                    bits: match format {
                        wgpu::TextureFormat::R16Unorm | wgpu::TextureFormat::P010 => 10,
                        _ => 8,
                    },
                }),
        };
        Ok((source, [rect.height as usize, rect.width as usize]))
    }
}

pub(super) fn refuse(reason: String) -> Error {
    Error::Texture { reason }
}
