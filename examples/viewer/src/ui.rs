//! What the window shows, and what its keys do.

use eframe::egui::{
    self, Align2, Color32, CornerRadius, FontId, Key, Rect, RichText, Sense, Ui, pos2, vec2,
};

use crate::app::Viewer;
use crate::panel;
use crate::theme;

const KEYS: &str = "left, right   another solid\nC   other colours\nspace   turn or stand still\n\
                    drag, wheel   orbit, zoom\nM   heat map on or off\nescape   back to the solids";

impl Viewer {
    /// Shows everything.
    pub(crate) fn ui(&mut self, ui: &mut Ui) {
        self.keys(ui);
        let side = egui::Frame::new().fill(theme::PANEL).inner_margin(24);
        egui::Panel::right("side")
            .default_size(340.0)
            .min_size(260.0)
            .max_size(560.0)
            .frame(side)
            .show(ui, |ui| {
                egui::ScrollArea::vertical()
                    .auto_shrink([false, false])
                    .show(ui, |ui| self.side(ui));
            });
        let middle = egui::Frame::new().fill(theme::BACKGROUND).inner_margin(24);
        egui::CentralPanel::default().frame(middle).show(ui, |ui| {
            let bar = 40.0;
            let available = ui.available_rect_before_wrap();
            let picture = available.with_max_y((available.bottom() - bar).max(available.top()));
            let shown = self.picture(ui, picture);
            // Under the picture, as wide as it is, if there is room for the buttons.
            let bar = available.with_min_y(picture.bottom() + 10.0);
            let narrow = Rect::from_x_y_ranges(shown.x_range(), bar.y_range());
            let bar = if narrow.width() >= 600.0 { narrow } else { bar };
            ui.scope_builder(egui::UiBuilder::new().max_rect(bar), |ui| self.bar(ui));
        });
        self.drops(ui.ctx());
    }

    fn keys(&mut self, ui: &Ui) {
        let pressed = |key| ui.input(|input| input.key_pressed(key));
        if ui.ctx().egui_wants_keyboard_input() {
            return;
        }
        if pressed(Key::M) {
            self.toggle_map();
        }
        if pressed(Key::Escape) {
            self.close_still();
        }
        if self.still.is_some() {
            return;
        }
        let mut changed = true;
        if pressed(Key::ArrowRight) {
            self.controls.change_shape(1);
        } else if pressed(Key::ArrowLeft) {
            self.controls.change_shape(-1);
        } else if pressed(Key::C) {
            self.controls.seed += 1;
        } else if pressed(Key::Space) {
            self.controls.spins = !self.controls.spins;
        } else {
            changed = false;
        }
        self.changed |= changed;
    }

    fn toggle_map(&mut self) {
        self.heat.shown = !self.heat.shown;
        self.changed |= self.heat.shown;
    }

    /// The picture, as large as it fits, and the heat map over what the network sees of it.
    /// Returns its place.
    fn picture(&mut self, ui: &mut Ui, available: Rect) -> Rect {
        let (id, size) = match &self.still {
            Some(still) => (still.id, still.size),
            None => (self.solid_id, [1, 1]),
        };
        #[expect(clippy::cast_precision_loss, reason = "a shape on the screen")]
        let size = vec2(size[0] as f32, size[1] as f32);
        let fits = (available.width() / size.x).min(available.height() / size.y);
        let rect = Rect::from_center_size(available.center(), size * fits.max(0.0));
        let round = CornerRadius::same(theme::ROUND);
        // The alpha of a rendered picture is a mask; behind it there is black.
        ui.painter().rect_filled(rect, round, Color32::BLACK);
        let image = |id, size| egui::Image::new((id, size)).corner_radius(round);
        image(id, rect.size()).paint_at(ui, rect);
        let sees = self.answer.is_some() && self.heat.shown;
        if let Some(shown) = self.shown.as_ref().filter(|s| sees && s.network.has_map()) {
            let size = self.still.as_ref().map_or([1024; 2], |still| still.size);
            let [left, top, right, bottom] =
                shown.network.seen([size[1] as usize, size[0] as usize]);
            let at = |x: f32, y: f32| {
                pos2(
                    rect.left() + x * rect.width(),
                    rect.top() + y * rect.height(),
                )
            };
            let seen = Rect::from_min_max(at(left, top), at(right, bottom));
            image(shown.map, seen.size())
                .tint(Color32::WHITE.gamma_multiply(self.heat.opacity))
                .paint_at(ui, seen);
        }
        if self.still.is_none() {
            let hand = ui.interact(rect, ui.scope_id().with("picture"), Sense::drag());
            if hand.dragged() {
                let moved = hand.drag_delta() / rect.height();
                self.controls.drag([moved.x, moved.y]);
                self.controls.spins = false;
                self.changed = true;
            }
            let wheel = ui.input(|input| input.smooth_scroll_delta.y);
            if hand.hovered() && wheel != 0.0 {
                self.controls.zoom(wheel / 40.0);
                self.changed = true;
            }
        }
        rect
    }

    /// What is shown, and how to change it.
    fn bar(&mut self, ui: &mut Ui) {
        ui.horizontal_centered(|ui| {
            if let Some(still) = &self.still {
                ui.label(&still.name);
                let size = format!("{} × {}", still.size[0], still.size[1]);
                ui.label(RichText::new(size).color(theme::MUTED));
                if ui.button("Back to the solids").clicked() {
                    self.close_still();
                }
            } else {
                self.solid_bar(ui);
            }
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                ui.label(RichText::new("Keys").color(theme::MUTED))
                    .on_hover_text(KEYS);
                if ui.available_width() > 200.0 {
                    ui.add_space(8.0);
                    let hint = "Drop a picture or a weight file";
                    ui.label(RichText::new(hint).color(theme::MUTED));
                }
            });
        });
    }

    fn solid_bar(&mut self, ui: &mut Ui) {
        if ui.button("‹").clicked() {
            self.controls.change_shape(-1);
            self.changed = true;
        }
        let name = RichText::new(self.controls.shape.name());
        ui.add_sized(vec2(112.0, 20.0), egui::Label::new(name));
        if ui.button("›").clicked() {
            self.controls.change_shape(1);
            self.changed = true;
        }
        ui.add_space(8.0);
        if ui.button("Other colours").clicked() {
            self.controls.seed += 1;
            self.changed = true;
        }
        let turn = if self.controls.spins {
            "Stand still"
        } else {
            "Turn"
        };
        if ui.button(turn).clicked() {
            self.controls.spins = !self.controls.spins;
        }
    }

    /// The column at the right.
    fn side(&mut self, ui: &mut Ui) {
        if let Some(problem) = &self.problem
            && panel::problem(ui, problem)
        {
            self.problem = None;
        }
        self.loading(ui);
        let shown = self.still.is_none().then(|| self.controls.shape.name());
        let best = self
            .answer
            .as_ref()
            .and_then(|answer| answer.guesses.first());
        match (best, &self.answer) {
            (Some(guesses), _) => panel::guesses(ui, guesses, shown),
            (None, Some(answer)) => {
                let numbers = answer.features.first().map_or(0, Vec::len);
                ui.label(RichText::new("A vector").size(theme::LARGE));
                ui.label(format!(
                    "This network names nothing: it gives {numbers} numbers."
                ));
            }
            (None, None) => {}
        }
        let subject = best
            .and_then(|guesses| guesses.first())
            .map(|guess| guess.label.clone());
        if self
            .shown
            .as_ref()
            .is_some_and(|shown| shown.network.has_map())
        {
            panel::section(ui, "Heat map");
            let was_shown = self.heat.shown;
            if panel::heat(ui, &mut self.heat, subject.as_deref()) {
                self.repaint_map();
            }
            self.changed |= self.heat.shown && !was_shown;
        }
        if self.answer.is_some() {
            panel::section(ui, "Times");
            let picture = if self.still.is_some() {
                "Read and upload"
            } else {
                "Scene"
            };
            panel::times(ui, &self.times, picture, self.is_live());
        }
        ui.add_space(22.0);
        let network = self
            .shown
            .as_ref()
            .map(|shown| match shown.network.classes {
                Some(classes) => format!("{}, {classes} classes", shown.network.name),
                None => shown.network.name.clone(),
            });
        for line in network.iter().chain([&self.gpu.adapter]) {
            ui.label(RichText::new(line).size(theme::SMALL).color(theme::MUTED));
        }
    }

    /// How far whatever is being opened is.
    fn loading(&self, ui: &mut Ui) {
        for opening in &self.openings {
            panel::progress(ui, &format!("{}: {}", opening.step, opening.name), None);
        }
        if let Some(next) = &self.next {
            let (done, all) = next.warmth();
            let text = format!("Compiling kernels: {done} of {all}");
            #[expect(clippy::cast_precision_loss, reason = "a part of a width")]
            panel::progress(ui, &text, Some(done as f32 / all.max(1) as f32));
        }
        if !self.openings.is_empty() || self.next.is_some() {
            ui.add_space(18.0);
        }
    }

    /// Files over the window, and files that were dropped.
    fn drops(&mut self, ctx: &egui::Context) {
        let dropped = ctx.input(|input| {
            let files = input.raw.dropped_files.iter();
            files.map(|file| file.path().to_owned()).collect::<Vec<_>>()
        });
        for path in dropped {
            self.open(path, ctx);
        }
        if ctx.input(|input| !input.raw.hovered_files.is_empty()) {
            let layer = egui::LayerId::new(egui::Order::Foreground, egui::Id::unique("drop"));
            let painter = ctx.layer_painter(layer);
            let screen = ctx.content_rect();
            painter.rect_filled(screen, 0.0, Color32::from_black_alpha(190));
            let font = FontId::proportional(theme::LARGE);
            let text = "Drop it here";
            painter.text(
                screen.center(),
                Align2::CENTER_CENTER,
                text,
                font,
                theme::TEXT,
            );
        }
    }
}
