//! `--plot`: the layers under the roofline, and their times in network order, as an SVG.

use std::fmt::Write as _;

use super::layers::LayerTime;
use super::peak::Peak;
use super::report::Report;
use resnet_wgpu::internals::files::NewFile;

use crate::failure::Failure;
use crate::output::sizes;

/// Colours that colour-blind readers can tell apart: Okabe & Ito 2008, then Tol's muted set.
const COLOURS: [&str; 12] = [
    "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#882255", "#999933",
    "#332288", "#117733", "#aa4499", "#777777",
];

const LEFT: f64 = 80.0;
const LEGEND: f64 = 245.0;
const MIN_WIDTH: f64 = 1100.0;
/// Height of a bar including its gap: enough for one line of text.
const BAR: f64 = 17.0;

/// Draws the chart for the first batch size.
pub(super) fn write(report: &Report, mut file: NewFile) -> Result<(), Failure> {
    let Some(layers) = report.layers.chunk_by(|a, b| a.batch == b.batch).next() else {
        return Err(Failure::runtime(
            "--plot: there are no times of layers, so there is nothing to draw",
        ));
    };
    let is_seen = |peak: &&Peak| peak.gflops > 0.0 && peak.gigabytes_per_s > 0.0;
    let Some(peak) = report.peak.as_ref().filter(is_seen) else {
        return Err(Failure::runtime(
            "--plot: every layer is too short for the clock of this adapter",
        ));
    };
    let batch = layers[0].batch;
    if layers.len() < report.layers.len() {
        log::info!("--plot: the chart is that of batch {batch}");
    }
    let model = &report.model;
    let title = format!(
        "{} at {}, batch {batch}, {}, fusion {}",
        model.name,
        sizes(&model.size),
        report.precision,
        model.fusion
    );
    let svg = chart(&title, &report.adapter_line(), layers, peak);
    file.write(svg.as_bytes())?;
    Ok(file.finish()?)
}

fn chart(title: &str, adapter: &str, layers: &[LayerTime], peak: &Peak) -> String {
    let width = MIN_WIDTH.max(LEFT + layers.len() as f64 * BAR + LEGEND);
    let mut svg = Svg::new(width, 990.0);
    svg.text((LEFT, 30.0), "title", title);
    svg.text((LEFT, 50.0), "note", adapter);
    let roofline = Area {
        left: LEFT,
        top: 100.0,
        right: width - LEGEND,
        bottom: 480.0,
    };
    draw_roofline(&mut svg, roofline, layers, peak);
    let bars = Area {
        top: 590.0,
        bottom: 850.0,
        ..roofline
    };
    draw_bars(&mut svg, bars, layers);
    draw_legend(&mut svg, roofline, layers);
    svg.finish()
}

type Point = (f64, f64);

/// The position of a diagram.
#[derive(Clone, Copy)]
struct Area {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

/// A logarithmic axis.
struct LogAxis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl LogAxis {
    fn place(&self, value: f64) -> f64 {
        let part = (value / self.low).log10() / (self.high / self.low).log10();
        self.from + part * (self.to - self.from)
    }

    /// The ticks in range: 1, 2 and 5 times each power of ten, or only the powers if many.
    fn ticks(&self) -> Vec<f64> {
        let decades = (self.high / self.low).log10();
        let steps: &[f64] = if decades <= 4.0 {
            &[1.0, 2.0, 5.0]
        } else {
            &[1.0]
        };
        let powers = (-12..=12).map(|power| 10.0f64.powi(power));
        let ticks = powers.flat_map(|power| steps.iter().map(move |step| step * power));
        ticks
            .filter(|tick| (self.low..=self.high).contains(tick))
            .collect()
    }
}

fn draw_roofline(svg: &mut Svg, area: Area, layers: &[LayerTime], peak: &Peak) {
    let layers: Vec<_> = layers.iter().filter(|layer| layer.gflops > 0.0).collect();
    let ridge = peak.gflops / peak.gigabytes_per_s;
    let intensities = layers.iter().map(|layer| layer.intensity());
    let rates = layers.iter().map(|layer| layer.gflops);
    let x = LogAxis {
        low: intensities.clone().fold(ridge, f64::min) / 1.6,
        high: intensities.fold(ridge, f64::max) * 1.6,
        from: area.left,
        to: area.right,
    };
    let y = LogAxis {
        low: rates.fold(peak.gflops, f64::min) / 1.6,
        high: peak.gflops * 2.5,
        from: area.bottom,
        to: area.top,
    };
    let heading = (area.left, area.top - 12.0);
    svg.text(heading, "heading", "Layers under the roofline");
    draw_axes(svg, area, &x, &y);
    draw_roof(svg, area, &x, &y, peak);
    let slowest = layers.iter().map(|layer| layer.ms).fold(0.0, f64::max);
    for layer in &layers {
        // The area of a circle is proportional to the time.
        let radius = 3.0 + 9.0 * (layer.ms / slowest).sqrt();
        let at = (x.place(layer.intensity()), y.place(layer.gflops));
        svg.circle(at, radius, layer);
    }
}

fn draw_axes(svg: &mut Svg, area: Area, x: &LogAxis, y: &LogAxis) {
    for tick in x.ticks() {
        let at = x.place(tick);
        svg.line((at, area.top), (at, area.bottom), "grid");
        svg.text((at, area.bottom + 18.0), "tick middle", &number(tick));
    }
    for tick in y.ticks() {
        let at = y.place(tick);
        svg.horizontal(area, at, tick);
    }
    svg.text(
        (f64::midpoint(area.left, area.right), area.bottom + 40.0),
        "axis middle",
        "arithmetic intensity, FLOP per byte of inputs, parameters and output",
    );
    svg.upright(area, "GFLOP/s");
}

/// Draws the upper bounds set by memory and arithmetic.
fn draw_roof(svg: &mut Svg, area: Area, x: &LogAxis, y: &LogAxis, peak: &Peak) {
    let ridge = peak.gflops / peak.gigabytes_per_s;
    // The memory bound starts at the left edge, or at the bottom if it enters there.
    let start = x.low.max(y.low / peak.gigabytes_per_s);
    let corner = (x.place(ridge), y.place(peak.gflops));
    let from = (x.place(start), y.place(start * peak.gigabytes_per_s));
    svg.line(from, corner, "roof");
    svg.line(corner, (area.right, corner.1), "roof");
    let arithmetic = format!("{} GFLOP/s, {}", number(peak.gflops), peak.gflops_of);
    // Above the circles of the fastest layers.
    let above = (area.right - 6.0, corner.1 - 18.0);
    svg.text(above, "roof-label end", &arithmetic);
    let rate = number(peak.gigabytes_per_s);
    let memory = format!("{rate} GB/s, {}", peak.gigabytes_per_s_of);
    let (dx, dy) = (corner.0 - from.0, corner.1 - from.1);
    // Along the line if that is long enough, otherwise in the free corner above it.
    if dx.hypot(dy) > 7.0 * memory.chars().count() as f64 {
        let middle = (from.0 + dx / 2.0, from.1 + dy / 2.0 - 12.0);
        let degrees = dy.atan2(dx).to_degrees();
        svg.turned(middle, degrees, "roof-label middle", &memory);
    } else {
        let corner = (area.left + 8.0, area.top + 16.0);
        svg.text(corner, "roof-label", &memory);
    }
}

fn draw_bars(svg: &mut Svg, area: Area, layers: &[LayerTime]) {
    let heading = (area.left, area.top - 14.0);
    svg.text(heading, "heading", "Time of each layer, in network order");
    let slowest = layers.iter().map(|layer| layer.ms).fold(0.0, f64::max);
    let step = tick_step(slowest / 5.0);
    let height = area.bottom - area.top;
    let place = |ms: f64| area.bottom - 0.97 * height * ms / slowest;
    let mut tick = 0.0;
    while tick <= slowest {
        svg.horizontal(area, place(tick), tick);
        tick += step;
    }
    svg.upright(area, "milliseconds");
    let slot = (area.right - area.left) / layers.len() as f64;
    for (index, layer) in layers.iter().enumerate() {
        let left = area.left + (index as f64 + 0.15) * slot;
        let top = place(layer.ms);
        svg.bar((left, top), (0.7 * slot, area.bottom - top), layer);
        let label = (left + 0.35 * slot + 4.0, area.bottom + 12.0);
        svg.turned(label, -60.0, "small end", &layer.node);
    }
}

fn draw_legend(svg: &mut Svg, area: Area, layers: &[LayerTime]) {
    let total: f64 = layers.iter().map(|layer| layer.ms).sum();
    let left = area.right + 24.0;
    let mut top = area.top + 8.0;
    svg.text((left, top), "axis", "kernel, share of time");
    for kernel in svg.kernels.clone() {
        top += 20.0;
        let colour = svg.colour(kernel);
        let of_kernel = layers.iter().filter(|layer| layer.kernel == kernel);
        let ms: f64 = of_kernel.map(|layer| layer.ms).sum();
        let share = ms / total * 100.0;
        let y = top - 10.0;
        let _ = writeln!(
            svg.text,
            r#"<rect x="{left:.1}" y="{y:.1}" width="12" height="12" fill="{colour}"/>"#
        );
        let label = format!("{kernel}  {share:.1}%");
        svg.text((left + 18.0, top), "tick", &label);
    }
    for line in ["Larger circles take longer.", "Layers without arithmetic"] {
        top += 28.0;
        svg.text((left, top), "note", line);
    }
    svg.text((left, top + 16.0), "note", "are below only.");
}

/// The smallest round number not below the given one: 1, 2 or 5 times a power of ten.
fn tick_step(least: f64) -> f64 {
    let power = 10.0f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|step| step * power);
    let enough = steps.into_iter().find(|&step| step >= least);
    enough.unwrap_or(10.0 * power)
}

/// Formats a number with about three digits.
fn number(value: f64) -> String {
    let magnitude = value.abs();
    let digits = match magnitude {
        0.0 | 100.0.. => 0,
        10.0.. => 1,
        0.1.. => 2,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// A drawing in progress. Writing to a string cannot fail.
struct Svg {
    text: String,
    /// Kernels in the order of their colours.
    kernels: Vec<&'static str>,
}

const STYLE: &str = "\
text { font-family: Helvetica, Arial, 'DejaVu Sans', sans-serif; fill: #222 }
.title { font-size: 18px; font-weight: bold }
.heading { font-size: 14px; font-weight: bold }
.axis { font-size: 13px }
.tick, .note, .roof-label { font-size: 12px }
.small { font-size: 11px }
.middle { text-anchor: middle }
.end { text-anchor: end }
.note { fill: #555 }
.roof-label { fill: #a00 }
.grid { stroke: #ddd; stroke-width: 1 }
.roof { stroke: #a00; stroke-width: 2 }
";

impl Svg {
    fn new(width: f64, height: f64) -> Self {
        let mut text = String::new();
        let _ = write!(
            text,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\">\n<style>\n{STYLE}</style>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
        );
        Self {
            text,
            kernels: Vec::new(),
        }
    }

    fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }

    fn line(&mut self, (x1, y1): Point, (x2, y2): Point, class: &str) {
        let _ = writeln!(
            self.text,
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" class="{class}"/>"#
        );
    }

    fn text(&mut self, at: Point, class: &str, text: &str) {
        self.turned(at, 0.0, class, text);
    }

    fn turned(&mut self, (x, y): Point, degrees: f64, class: &str, text: &str) {
        let text = escaped(text);
        let _ = writeln!(
            self.text,
            r#"<text transform="translate({x:.1} {y:.1}) rotate({degrees:.1})" class="{class}">{text}</text>"#
        );
    }

    /// The title of the vertical axis.
    fn upright(&mut self, area: Area, text: &str) {
        let at = (24.0, f64::midpoint(area.top, area.bottom));
        self.turned(at, -90.0, "axis middle", text);
    }

    /// A grid line at the height of a value.
    fn horizontal(&mut self, area: Area, y: f64, value: f64) {
        self.line((area.left, y), (area.right, y), "grid");
        self.text((area.left - 8.0, y + 4.0), "tick end", &number(value));
    }

    fn circle(&mut self, (x, y): Point, radius: f64, layer: &LayerTime) {
        let (colour, hint) = (self.colour(layer.kernel), hint(layer));
        let _ = writeln!(
            self.text,
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius:.1}" fill="{colour}" fill-opacity="0.65" stroke="{colour}">{hint}</circle>"#
        );
    }

    fn bar(&mut self, (x, y): Point, (width, height): Point, layer: &LayerTime) {
        let (colour, hint) = (self.colour(layer.kernel), hint(layer));
        let _ = writeln!(
            self.text,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{colour}">{hint}</rect>"#
        );
    }

    fn colour(&mut self, kernel: &'static str) -> &'static str {
        let known = self.kernels.iter().position(|&name| name == kernel);
        let index = known.unwrap_or_else(|| {
            self.kernels.push(kernel);
            self.kernels.len() - 1
        });
        COLOURS[index % COLOURS.len()]
    }
}

/// The tooltip of a layer.
fn hint(layer: &LayerTime) -> String {
    let text = format!(
        "{} ({}): {} ms, {} GFLOP/s, {} GB/s, {:.1}% of peak",
        layer.node,
        layer.kernel,
        number(layer.ms),
        number(layer.gflops),
        number(layer.gigabytes_per_s),
        layer.share_of_peak * 100.0
    );
    format!("<title>{}</title>", escaped(&text))
}

/// Escapes text for XML.
fn escaped(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;");
    let escaped = escaped.replace('>', "&gt;");
    escaped.replace(char::is_control, "\u{fffd}")
}

#[cfg(test)]
#[path = "../../tests/unit/plot.rs"]
mod tests;
