//! The layout of the window.

use crate::controls::Controls;
use crate::network::{Seen, TOP};
use crate::panel::{Canvas, Colour};

/// Colours of background, text, secondary text, and bars.
const DARK: Colour = [0.09, 0.10, 0.12, 1.0];
const LIGHT: Colour = [0.93, 0.94, 0.95, 1.0];
const MUTED: Colour = [0.55, 0.58, 0.62, 1.0];
const TRACK: Colour = [0.17, 0.18, 0.21, 1.0];
const RIGHT: Colour = [0.25, 0.68, 0.45, 1.0];
const OTHER: Colour = [0.28, 0.45, 0.66, 1.0];

/// Opacity of the heat map.
const HEAT: f32 = 0.85;

/// The rectangle of the picture, and the left edge of the column next to it.
const PICTURE: [f32; 4] = [20.0, 20.0, 500.0, 500.0];
const LEFT: f32 = 550.0;
const WIDTH: f32 = 390.0;

const KEYS: [[&str; 2]; 6] = [
    ["drag, wheel", "orbit, zoom"],
    ["left, right", "another shape"],
    ["C", "other colours"],
    ["M", "heat map on or off"],
    ["space", "turn or stand still"],
    ["escape", "leave"],
];

/// Statistics of the most recent frames.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    pub(crate) adapter: String,
    /// The time since the previous frame; `None` for the first.
    pub(crate) frame_milliseconds: Option<f64>,
    /// The number of frames over which a run of the network is spread.
    pub(crate) split: u32,
}

/// Lays out one frame for a target of the given size in pixels.
pub(crate) fn frame(size: [u32; 2], controls: &Controls, seen: &Seen, status: &Status) -> Canvas {
    let mut canvas = Canvas::new(size);
    canvas.background(DARK);
    canvas.picture(PICTURE, if controls.shows_map { HEAT } else { 0.0 });
    let shown = controls.shape.name();
    canvas.text([LEFT, 22.0], 15.0, MUTED, "what is shown");
    canvas.text([LEFT, 40.0], 32.0, LIGHT, shown);
    canvas.text([LEFT, 96.0], 15.0, MUTED, "what the network sees");
    bars(&mut canvas, shown, seen);
    times(&mut canvas, seen, status);
    for (row, [key, meaning]) in (0u8..).zip(KEYS) {
        let y = 408.0 + 18.5 * f32::from(row);
        canvas.text([LEFT, y], 15.0, LIGHT, key);
        canvas.text([LEFT + 120.0, y], 15.0, MUTED, meaning);
    }
    canvas
}

/// Draws the most likely classes with their probabilities; the class shown is green.
fn bars(canvas: &mut Canvas, shown: &str, seen: &Seen) {
    for (row, (label, probability)) in (0u8..).zip(seen.top.iter().take(TOP)) {
        let y = 118.0 + 36.0 * f32::from(row);
        let colour = if label == shown { RIGHT } else { OTHER };
        canvas.fill([LEFT, y, WIDTH, 30.0], TRACK);
        canvas.fill([LEFT, y, WIDTH * probability, 30.0], colour);
        canvas.text([LEFT + 10.0, y + 6.0], 18.0, LIGHT, label);
        let percent = format!("{:.1} %", 100.0 * probability);
        canvas.text_to([LEFT + WIDTH - 10.0, y + 6.0], 18.0, LIGHT, &percent);
    }
}

fn times(canvas: &mut Canvas, seen: &Seen, status: &Status) {
    let frame = status.frame_milliseconds.map_or_else(
        || "-".to_owned(),
        |ms| format!("{ms:.1} ms, {:.0} per second", 1000.0 / ms),
    );
    let network = match (seen.milliseconds, status.split) {
        (Some(ms), _) => format!("{ms:.1} ms"),
        (None, 1) => "-".to_owned(),
        (None, frames) => format!("spread over {frames} frames"),
    };
    let rows = [
        ("frame", &frame),
        ("network", &network),
        ("on", &status.adapter),
    ];
    for (row, (name, value)) in (0u8..).zip(rows) {
        let y = 318.0 + 22.0 * f32::from(row);
        canvas.text([LEFT, y], 15.0, MUTED, name);
        canvas.text([LEFT + 80.0, y], 15.0, LIGHT, value);
    }
}
