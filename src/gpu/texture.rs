//! How a texture of the host is interpreted.

use crate::error::Error;
use crate::kernels::resample::Source;
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

/// How a view of a texture is read.
///
/// The view is two-dimensional, has one layer in `rgba8unorm`, `bgra8unorm`, one of their sRGB
/// forms, `rgba16float` or `rgba32float`, and its texture has the usage `TEXTURE_BINDING`. Its
/// first mip level is read. Colours are clamped to 0..1 and rounded to 8 bits, as if the image had
/// been saved to a file. Alpha is ignored, so premultiplied colours appear as over black.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextureRead {
    format: Option<wgpu::TextureFormat>,
    mip_level: u32,
    rect: Option<TextureRect>,
    origin: Origin,
    channels: ChannelOrder,
    encoding: Encoding,
}

impl TextureRead {
    /// Sets the format of the view, if it differs from its texture's.
    #[must_use]
    pub const fn format(mut self, format: wgpu::TextureFormat) -> Self {
        self.format = Some(format);
        self
    }

    /// Sets the mip level at which the view begins; by default 0.
    #[must_use]
    pub const fn mip_level(mut self, level: u32) -> Self {
        self.mip_level = level;
        self
    }

    /// Sets the part that is the image; by default all of it.
    #[must_use]
    pub const fn rect(mut self, rect: TextureRect) -> Self {
        self.rect = Some(rect);
        self
    }

    /// Sets which way up it is.
    #[must_use]
    pub const fn origin(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self
    }

    /// Sets the order of the channels as sampled. By default red comes first, also for BGRA
    /// formats; blue first is for textures filled in the opposite order to their format.
    #[must_use]
    pub const fn channels(mut self, channels: ChannelOrder) -> Self {
        self.channels = channels;
        self
    }

    /// Sets the meaning of the numbers.
    #[must_use]
    pub const fn encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// Height and width of the mip level at which the view begins.
    pub(super) fn size(&self, view: &wgpu::TextureView) -> [u32; 2] {
        let size = view.texture().size();
        let at_level = |side: u32| side.checked_shr(self.mip_level).unwrap_or(0).max(1);
        [size.height, size.width].map(at_level)
    }

    fn format_of(&self, view: &wgpu::TextureView) -> wgpu::TextureFormat {
        self.format.unwrap_or_else(|| view.texture().format())
    }

    /// Checks what wgpu would only report to the host's error handler, or not at all.
    pub(super) fn check(&self, view: &wgpu::TextureView) -> Result<(), Error> {
        use wgpu::TextureFormat as F;
        let texture = view.texture();
        let format = self.format_of(view);
        let known = [
            F::Rgba8Unorm,
            F::Rgba8UnormSrgb,
            F::Bgra8Unorm,
            F::Bgra8UnormSrgb,
            F::Rgba16Float,
            F::Rgba32Float,
        ];
        let reason = if !known.contains(&format) {
            format!("the format {format:?} is none of {known:?}; render or copy to one of them")
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

    /// The rectangle in the form that kernels take, and its height and width.
    pub(super) fn source(&self, view: &wgpu::TextureView) -> Result<(Source, [usize; 2]), Error> {
        let rect = TextureRect::within(self.rect, self.size(view))?;
        let source = Source {
            left: rect.left as usize,
            top: rect.top as usize,
            bottom_up: self.origin == Origin::BottomLeft,
            linear: match self.encoding {
                Encoding::ByFormat => self.format_of(view).is_srgb(),
                Encoding::Encoded => false,
                Encoding::Linear => true,
            },
            swap_red_blue: self.channels == ChannelOrder::Bgr,
        };
        Ok((source, [rect.height as usize, rect.width as usize]))
    }
}

fn refuse(reason: String) -> Error {
    Error::Texture { reason }
}
