//! The column next to the picture: what is seen, the heat map's legend, and where the time goes.

use eframe::egui::{
    self, Align2, Color32, FontId, Mesh, Rect, RichText, Sense, Shape, Ui, pos2,
    text::{LayoutJob, TextFormat, TextWrapping},
    vec2,
};
use resnet_wgpu::gpu::Guess;

use crate::scale::Scale;
use crate::theme;
use crate::times::Times;

/// Guesses under this probability are told together.
const WORTH_SHOWING: f32 = 0.01;

/// The heat map as it is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heat {
    pub(crate) shown: bool,
    /// From 0 to 1.
    pub(crate) opacity: f32,
    pub(crate) scale: Scale,
}

/// The heading of a section.
pub(crate) fn section(ui: &mut Ui, title: &str) {
    ui.add_space(22.0);
    ui.label(RichText::new(title).size(theme::SMALL).color(theme::MUTED));
    ui.add_space(2.0);
}

/// The best guess in large letters, then the others that are worth telling. `shown` is what the picture
/// shows, where that is known.
pub(crate) fn guesses(ui: &mut Ui, guesses: &[Guess], shown: Option<&str>) {
    let Some((best, others)) = guesses.split_first() else {
        return;
    };
    let (text, color) = match shown {
        Some(shown) if shown == best.label => ("as shown".to_owned(), theme::RIGHT),
        Some(shown) => (format!("but it is: {shown}"), theme::WRONG),
        None => (certainty(best.probability).to_owned(), theme::ACCENT),
    };
    guess(ui, best, &BEST, color);
    ui.label(RichText::new(text).color(color));
    ui.add_space(10.0);
    let mut rest = 1.0 - best.probability;
    for other in others {
        if other.probability < WORTH_SHOWING {
            break;
        }
        rest -= other.probability;
        guess(ui, other, &OTHER, theme::PARTS[3]);
    }
    // Scores that are no distribution have no rest.
    if rest >= 0.0005 {
        ui.horizontal(|ui| {
            small(ui, "all others together");
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                small(ui, &percent(rest));
            });
        });
    }
}

const fn certainty(probability: f32) -> &'static str {
    if probability >= 0.9 {
        "almost certainly"
    } else if probability >= 0.5 {
        "probably"
    } else {
        "perhaps"
    }
}

fn percent(part: f32) -> String {
    format!("{:.1} %", 100.0 * part)
}

/// The sizes of a guess in points: its letters, its bar, and the column of its number.
struct Sizes {
    letters: f32,
    bar: f32,
    number: f32,
}

const BEST: Sizes = Sizes {
    letters: theme::LARGE,
    bar: 8.0,
    number: 112.0,
};

const OTHER: Sizes = Sizes {
    letters: theme::BODY,
    bar: 5.0,
    number: 64.0,
};

/// A guess: its name, cut where it does not fit, its probability in a column of its own, and a bar under
/// both.
fn guess(ui: &mut Ui, guess: &Guess, sizes: &Sizes, color: Color32) {
    let text = 1.3 * sizes.letters;
    let size = vec2(ui.available_width(), text + sizes.bar + 8.0);
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    let font = FontId::proportional(sizes.letters);
    let format = TextFormat::simple(font.clone(), theme::TEXT);
    let mut name = LayoutJob::single_section(guess.label.clone(), format);
    name.wrap = TextWrapping::truncate_at_width(rect.width() - sizes.number);
    let painter = ui.painter();
    let name = painter.layout_job(name);
    painter.galley(rect.left_top(), name, theme::TEXT);
    let number = percent(guess.probability);
    painter.text(
        rect.right_top(),
        Align2::RIGHT_TOP,
        number,
        font,
        theme::TEXT,
    );
    let track = Rect::from_min_size(
        pos2(rect.left(), rect.top() + text),
        vec2(rect.width(), sizes.bar),
    );
    let round = sizes.bar / 2.0;
    painter.rect_filled(track, round, theme::TRACK);
    let id = response.id.with(guess.class);
    let part = ui
        .ctx()
        .animate_value_with_time(id, guess.probability, 0.12);
    let width = (track.width() * part).max(sizes.bar);
    let filled = Rect::from_min_size(track.min, vec2(width, sizes.bar));
    painter.rect_filled(filled, round, color);
    response.on_hover_text(format!("{}, class {}", guess.label, guess.class));
}

fn small(ui: &mut Ui, text: &str) -> egui::Response {
    ui.label(RichText::new(text).size(theme::SMALL).color(theme::MUTED))
}

/// Switch, opacity, scale and legend of the heat map. Returns whether the scale was changed.
pub(crate) fn heat(ui: &mut Ui, heat: &mut Heat, subject: Option<&str>) -> bool {
    ui.checkbox(&mut heat.shown, "Show what speaks for it")
        .on_hover_text("key: M");
    let before = heat.scale;
    ui.add_enabled_ui(heat.shown, |ui| {
        ui.horizontal(|ui| {
            for scale in Scale::ALL {
                ui.selectable_value(&mut heat.scale, scale, scale.name());
            }
        });
        ui.add_space(2.0);
        legend(ui, heat, subject);
        ui.add_space(4.0);
        ui.horizontal(|ui| {
            small(ui, "Opacity");
            ui.spacing_mut().slider_width = ui.available_width() - 70.0;
            let slider = egui::Slider::new(&mut heat.opacity, 0.0..=1.0)
                .custom_formatter(|part, _| format!("{:.0} %", 100.0 * part))
                .custom_parser(|text| {
                    let number: f64 = text.trim_end_matches(['%', ' ']).parse().ok()?;
                    Some(number / 100.0)
                });
            ui.add(slider);
        });
    });
    heat.scale != before
}

/// The colours of the map from little to much, over grey.
fn legend(ui: &mut Ui, heat: &Heat, subject: Option<&str>) {
    const STEPS: u16 = 64;
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), 12.0), Sense::hover());
    let mut mesh = Mesh::default();
    let colors = heat.scale.colors().table();
    for step in 0..=STEPS {
        let part = f32::from(step) / f32::from(STEPS);
        let [r, g, b, a] = colors[usize::from(step) * (colors.len() - 1) / usize::from(STEPS)];
        let color = Color32::from_rgba_unmultiplied(r, g, b, a).gamma_multiply(heat.opacity);
        let x = rect.left() + part * rect.width();
        let first = u32::from(step) * 2;
        mesh.colored_vertex(pos2(x, rect.top()), color);
        mesh.colored_vertex(pos2(x, rect.bottom()), color);
        if step < STEPS {
            mesh.add_triangle(first, first + 1, first + 2);
            mesh.add_triangle(first + 1, first + 3, first + 2);
        }
    }
    let painter = ui.painter();
    painter.rect_filled(rect, 0.0, Color32::from_gray(120));
    painter.add(Shape::mesh(mesh));
    let font = FontId::proportional(theme::SMALL);
    let (row, _) = ui.allocate_exact_size(vec2(ui.available_width(), 16.0), Sense::hover());
    let painter = ui.painter();
    painter.text(
        row.left_top(),
        Align2::LEFT_TOP,
        "least",
        font.clone(),
        theme::MUTED,
    );
    let most = subject.map_or_else(
        || "most".to_owned(),
        |what| format!("speaks most for {what}"),
    );
    painter.text(row.right_top(), Align2::RIGHT_TOP, most, font, theme::MUTED);
}

/// A bar of the parts of a frame, and each with its milliseconds.
pub(crate) fn times(ui: &mut Ui, times: &Times, picture: &str, is_live: bool) {
    let rest = if is_live { times.rest() } else { None };
    let rows = [
        (picture, times.picture.median()),
        ("Network", times.network()),
        ("Heat map", times.map()),
        ("Window and waiting", rest),
    ];
    let all: f64 = rows.iter().filter_map(|&(_, time)| time).sum();
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), 8.0), Sense::hover());
    ui.painter().rect_filled(rect, 4.0, theme::TRACK);
    let mut left = rect.left();
    for ((_, time), color) in rows.iter().zip(theme::PARTS) {
        let Some(time) = time.filter(|_| all > 0.0) else {
            continue;
        };
        #[expect(clippy::cast_possible_truncation, reason = "a part of a width")]
        let width = (time / all) as f32 * rect.width();
        let part = Rect::from_min_size(pos2(left, rect.top()), vec2(width, rect.height()));
        ui.painter().rect_filled(part, 0.0, color);
        left += width;
    }
    ui.add_space(4.0);
    for ((name, time), color) in rows.iter().zip(theme::PARTS) {
        if let Some(time) = time {
            row(ui, name, &milliseconds(*time), Some(color));
        }
    }
    if let Some(frame) = times.frame.median().filter(|_| is_live) {
        let second = format!(
            "{} · {:.0} a second",
            milliseconds(frame),
            1000.0 / frame.max(0.01)
        );
        row(ui, "Frame", &second, None);
    }
}

fn milliseconds(time: f64) -> String {
    if time < 10.0 {
        format!("{time:.2} ms")
    } else {
        format!("{time:.0} ms")
    }
}

fn row(ui: &mut Ui, name: &str, value: &str, color: Option<Color32>) {
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), 18.0), Sense::hover());
    let painter = ui.painter();
    let middle = rect.center().y;
    if let Some(color) = color {
        let dot = Rect::from_center_size(pos2(rect.left() + 4.0, middle), vec2(8.0, 8.0));
        painter.rect_filled(dot, 2.0, color);
    }
    let font = FontId::proportional(theme::BODY);
    let (name_color, indent) = match color {
        Some(_) => (theme::MUTED, 18.0),
        None => (theme::TEXT, 0.0),
    };
    let at = pos2(rect.left() + indent, middle);
    painter.text(at, Align2::LEFT_CENTER, name, font.clone(), name_color);
    let at = pos2(rect.right(), middle);
    painter.text(at, Align2::RIGHT_CENTER, value, font, theme::TEXT);
}

/// What is being done, and how far it is: a part from 0 to 1, or `None` if that is not known.
pub(crate) fn progress(ui: &mut Ui, what: &str, part: Option<f32>) {
    ui.add_space(4.0);
    ui.label(RichText::new(what).color(theme::TEXT));
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), 4.0), Sense::hover());
    let painter = ui.painter();
    painter.rect_filled(rect, 2.0, theme::TRACK);
    let [from, to] = match part {
        Some(part) => [0.0, part],
        None => {
            #[expect(clippy::cast_possible_truncation, reason = "a part of a second")]
            let at = (ui.input(|input| input.time) * 0.6).fract() as f32 * 1.3;
            [(at - 0.3).max(0.0), at.min(1.0)]
        }
    };
    let x = |part: f32| rect.left() + part * rect.width();
    let filled = Rect::from_min_max(pos2(x(from), rect.top()), pos2(x(to), rect.bottom()));
    painter.rect_filled(filled, 2.0, theme::ACCENT);
}

/// What went wrong, until it is dismissed; returns whether it was.
pub(crate) fn problem(ui: &mut Ui, text: &str) -> bool {
    let frame = egui::Frame::new()
        .fill(theme::ALARM.gamma_multiply(0.14))
        .corner_radius(theme::ROUND_SMALL)
        .inner_margin(12);
    let shown = frame.show(ui, |ui| {
        ui.set_width(ui.available_width());
        ui.label(RichText::new(text).color(theme::TEXT));
        ui.button("Close").clicked()
    });
    shown.inner
}
