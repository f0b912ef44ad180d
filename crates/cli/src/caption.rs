//! What stands below a heat map: the class, its probability, and what the colours mean.

use std::convert::Infallible;

use embedded_graphics::mono_font::iso_8859_1::{FONT_6X10, FONT_10X20};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::text::{Baseline, Text};
use resnet_run::{blended, see_through};
use resnet_wgpu::gpu::Colors;
use resnet_wgpu::picture::Picture;

const BACKGROUND: [u8; 3] = [20, 22, 26];
const TEXT: Rgb888 = Rgb888::new(235, 237, 240);
/// What the colours of the scale lie on, which may be clear.
const BELOW_SCALE: u8 = 128;

/// The width that a caption needs at least; a picture that is narrower gets a margin.
const LEAST_WIDTH: usize = 160;
/// Dots beyond this width are made larger instead.
const MOST_DOTS: usize = 1000;
/// From this width on there is room for the large font.
const LARGE_DOTS: usize = 400;

const LEAST: &str = "least";
const MOST: &str = "most";

/// A picture with a caption below it.
pub(crate) fn captioned(
    picture: &Picture,
    label: &str,
    percent: f32,
    colors: &Colors,
) -> Option<Picture> {
    let [height, width] = picture.size();
    let wide = width.max(LEAST_WIDTH);
    let caption = Caption::new(wide, label, percent, colors);
    let rows = picture.rgb().chunks_exact(width * 3);
    let margin = BACKGROUND.repeat(wide - width);
    let mut rgb = Vec::with_capacity((height + caption.height()) * wide * 3);
    for row in rows {
        rgb.extend_from_slice(row);
        rgb.extend_from_slice(&margin);
    }
    caption.write(wide, &mut rgb);
    Picture::new(height + caption.height(), wide, rgb)
}

/// Dots, each of which becomes a square of pixels.
struct Caption {
    /// Rows and columns.
    size: [usize; 2],
    dots: Vec<[u8; 3]>,
    /// The pixels of a dot along each side.
    scale: usize,
}

impl Caption {
    fn new(width: usize, label: &str, percent: f32, colors: &Colors) -> Self {
        let scale = width.div_ceil(MOST_DOTS);
        let columns = width.div_ceil(scale);
        let font = if columns < LARGE_DOTS {
            &FONT_6X10
        } else {
            &FONT_10X20
        };
        let [line, letter] = size_of(font);
        let gap = line / 2;
        let size = [2 * line + 3 * gap, columns];
        let mut caption = Self {
            size,
            dots: vec![BACKGROUND; size[0] * size[1]],
            scale,
        };
        let room = (columns - 2 * gap) / letter;
        caption.print(&title(label, percent, room), [gap, gap], font);
        let top = 2 * gap + line;
        caption.print(LEAST, [top, gap], font);
        let right = columns - gap - MOST.len() * letter;
        caption.print(MOST, [top, right], font);
        let left = gap + LEAST.len() * letter + letter;
        caption.draw_scale(top..top + line, left..right - letter, colors);
        caption
    }

    /// Writes a text whose top left corner is at a row and a column.
    fn print(&mut self, text: &str, [row, column]: [usize; 2], font: &MonoFont<'_>) {
        let style = MonoTextStyle::new(font, TEXT);
        let corner = Point::new(int(column), int(row));
        let Ok(_) = Text::with_baseline(text, corner, style, Baseline::Top).draw(self);
    }

    fn draw_scale(
        &mut self,
        rows: std::ops::Range<usize>,
        columns: std::ops::Range<usize>,
        colors: &Colors,
    ) {
        let table = see_through(colors);
        let last = columns.len().saturating_sub(1).max(1);
        for row in rows {
            for column in columns.clone() {
                let [over @ .., alpha] = table[(column - columns.start) * 255 / last];
                let color = over.map(|over| blended(BELOW_SCALE, over, alpha));
                self.dots[row * self.size[1] + column] = color;
            }
        }
    }

    const fn height(&self) -> usize {
        self.size[0] * self.scale
    }

    /// Appends its pixels to those of a picture.
    fn write(&self, width: usize, rgb: &mut Vec<u8>) {
        for dots in self.dots.chunks_exact(self.size[1]) {
            let row = (0..width).flat_map(|x| dots[x / self.scale]);
            let row: Vec<u8> = row.collect();
            for _ in 0..self.scale {
                rgb.extend_from_slice(&row);
            }
        }
    }
}

impl OriginDimensions for Caption {
    fn size(&self) -> Size {
        let [rows, columns] = self
            .size
            .map(|side| u32::try_from(side).unwrap_or(u32::MAX));
        Size::new(columns, rows)
    }
}

impl DrawTarget for Caption {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Infallible>
    where
        I: IntoIterator<Item = Pixel<Rgb888>>,
    {
        for Pixel(at, color) in pixels {
            let (Ok(column), Ok(row)) = (usize::try_from(at.x), usize::try_from(at.y)) else {
                continue;
            };
            if row < self.size[0] && column < self.size[1] {
                self.dots[row * self.size[1] + column] = [color.r(), color.g(), color.b()];
            }
        }
        Ok(())
    }
}

/// Height and width of a letter.
const fn size_of(font: &MonoFont<'_>) -> [usize; 2] {
    let size = font.character_size;
    [size.height as usize, size.width as usize]
}

fn int(side: usize) -> i32 {
    i32::try_from(side).unwrap_or(i32::MAX)
}

/// A label and its probability in at most so many letters. The label is cut where it must be.
fn title(label: &str, percent: f32, room: usize) -> String {
    let percent = format!(" {percent:.1} %");
    let room = room.saturating_sub(percent.len());
    if label.chars().count() <= room {
        return label.to_owned() + &percent;
    }
    let cut: String = label.chars().take(room.saturating_sub(2)).collect();
    format!("{}..{percent}", cut.trim_end_matches([' ', ',']))
}

/// Whether the font has all letters of a label: those of ISO 8859-1.
pub(crate) fn is_printable(label: &str) -> bool {
    label
        .chars()
        .all(|c| matches!(c, ' '..='~' | '\u{a0}'..='\u{ff}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caption_is_below_the_picture_and_has_the_width_of_both() {
        for (height, width) in [(3, 5), (160, 160), (224, 224), (1200, 1601), (10, 4000)] {
            let picture = Picture::new(height, width, vec![7; height * width * 3]);
            let picture = picture.expect("a picture");
            let whole = captioned(&picture, "tabby", 93.25, &Colors::Ember).expect("a picture");
            let [tall, wide] = whole.size();
            assert_eq!(wide, width.max(LEAST_WIDTH), "{height}x{width}");
            assert!(
                (35..=height.max(400)).contains(&(tall - height)),
                "{height}x{width}: {tall}"
            );
            for (row, of) in whole
                .rgb()
                .chunks(wide * 3)
                .zip(picture.rgb().chunks(width * 3))
            {
                assert_eq!(&row[..width * 3], of, "the picture");
            }
            let caption = &whole.rgb()[height * wide * 3..];
            let light = caption.iter().filter(|&&byte| byte > 230).count();
            assert!(light > 100, "{height}x{width}: it says something");
            let [red, green, blue] = [0, 1, 2].map(|c| caption.iter().skip(c).step_by(3));
            let mut colors = red.zip(green).zip(blue);
            assert!(
                colors.any(|((&r, &g), &b)| r > 150 && g < 160 && b < 100),
                "a scale"
            );
        }
    }

    #[test]
    fn what_is_too_long_is_cut_and_its_probability_is_not() {
        assert_eq!(title("tabby", 93.25, 30), "tabby 93.2 %");
        assert_eq!(
            title("African hunting dog, hyena dog", 0.04, 20),
            "African hunt.. 0.0 %"
        );
        assert_eq!(title("tiger, cat", 100.0, 16), "tiger.. 100.0 %");
        assert!(is_printable("Mädchen"), "Western European letters");
        assert!(!is_printable("虎斑猫") && !is_printable("a\nb"), "others");
    }
}
