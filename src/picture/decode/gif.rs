//! GIF: the first frame.

use std::io::Cursor;

use gif::{ColorOutput, DecodeOptions};
use image::metadata::Orientation;

use super::{Picture, Refused, Source, admitted, other};

/// Decodes a GIF.
pub(super) fn decode(bytes: &[u8]) -> Result<Source<'static>, Refused> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    let mut decoder = options.read_info(Cursor::new(bytes)).map_err(other)?;
    let screen = [decoder.height(), decoder.width()];
    let frame = decoder.next_frame_info().map_err(other)?;
    let frame = frame.ok_or_else(|| "there is no picture in the file".to_owned())?;
    let [top, left] = [frame.top, frame.left].map(usize::from);
    let [rows, columns] = [frame.height, frame.width].map(usize::from);
    // A frame that extends beyond the screen enlarges it.
    let bottom = u64::from(screen[0]).max((top + rows) as u64);
    let right = u64::from(screen[1]).max((left + columns) as u64);
    let ([height, width], turn) = admitted(bottom, right)?;
    let background = frame.transparent.unwrap_or(0);
    let mut indices = vec![0; rows * columns];
    decoder.read_into_buffer(&mut indices).map_err(other)?;
    let palette = decoder.palette().map_err(other)?.as_chunks().0;
    // An index without a palette entry is a grey value.
    let color = |index: u8| {
        palette
            .get(usize::from(index))
            .copied()
            .unwrap_or([index; 3])
    };
    let mut rgb = color(background).repeat(height * width);
    for (y, row) in indices.chunks_exact(columns.max(1)).enumerate() {
        let start = ((top + y) * width + left) * 3;
        let place = rgb[start..][..columns * 3].as_chunks_mut().0;
        for (pixel, &index) in place.iter_mut().zip(row) {
            *pixel = color(index);
        }
    }
    let picture = Picture { height, width, rgb };
    Ok(Source::all(picture, turn, Orientation::NoTransforms))
}
