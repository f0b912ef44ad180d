//! Colours, sizes and spacing of the interface.

use eframe::egui::{self, Color32, CornerRadius, FontId, Stroke, TextStyle, vec2};

pub(crate) const BACKGROUND: Color32 = Color32::from_rgb(15, 17, 21);
pub(crate) const PANEL: Color32 = Color32::from_rgb(22, 25, 31);
pub(crate) const TRACK: Color32 = Color32::from_rgb(40, 45, 54);
pub(crate) const TEXT: Color32 = Color32::from_rgb(232, 235, 240);
pub(crate) const MUTED: Color32 = Color32::from_rgb(146, 154, 168);
pub(crate) const ACCENT: Color32 = Color32::from_rgb(96, 165, 250);
pub(crate) const RIGHT: Color32 = Color32::from_rgb(74, 201, 140);
pub(crate) const WRONG: Color32 = Color32::from_rgb(245, 166, 80);
pub(crate) const ALARM: Color32 = Color32::from_rgb(240, 110, 110);

/// The parts of a frame, in the order of its times.
pub(crate) const PARTS: [Color32; 4] = [
    Color32::from_rgb(96, 165, 250),
    Color32::from_rgb(74, 201, 140),
    Color32::from_rgb(245, 150, 60),
    Color32::from_rgb(92, 100, 116),
];

pub(crate) const SMALL: f32 = 12.0;
pub(crate) const BODY: f32 = 14.0;
pub(crate) const LARGE: f32 = 30.0;

/// Radius of the corners of pictures, and of small things.
pub(crate) const ROUND: u8 = 10;
pub(crate) const ROUND_SMALL: u8 = 6;

/// Sets all of it.
pub(crate) fn install(ctx: &egui::Context) {
    ctx.set_theme(egui::Theme::Dark);
    ctx.all_styles_mut(|style| {
        for (name, size) in [
            (TextStyle::Small, SMALL),
            (TextStyle::Body, BODY),
            (TextStyle::Button, BODY),
            (TextStyle::Heading, LARGE),
        ] {
            style.text_styles.insert(name, FontId::proportional(size));
        }
        style.spacing.item_spacing = vec2(8.0, 6.0);
        style.spacing.button_padding = vec2(12.0, 6.0);
        style.spacing.slider_rail_height = 4.0;
        style.interaction.selectable_labels = false;
        let visuals = &mut style.visuals;
        visuals.panel_fill = PANEL;
        visuals.window_fill = PANEL;
        visuals.override_text_color = Some(TEXT);
        visuals.slider_trailing_fill = true;
        visuals.selection.bg_fill = ACCENT.gamma_multiply(0.45);
        visuals.selection.stroke = Stroke::new(1.0, TEXT);
        let widgets = &mut visuals.widgets;
        for (state, fill) in [
            (&mut widgets.inactive, Color32::from_rgb(38, 43, 52)),
            (&mut widgets.hovered, Color32::from_rgb(50, 57, 69)),
            (&mut widgets.active, Color32::from_rgb(62, 70, 85)),
        ] {
            (state.bg_fill, state.weak_bg_fill) = (fill, fill);
            state.bg_stroke = Stroke::NONE;
            state.expansion = 0.0;
            state.corner_radius = CornerRadius::same(ROUND_SMALL);
        }
        widgets.noninteractive.bg_stroke = Stroke::new(1.0, TRACK);
    });
}
