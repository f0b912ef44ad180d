//! The state of the program, and what happens in a frame.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use eframe::egui::mutex::RwLock;
use eframe::egui::{self, TextureId};
use eframe::egui_wgpu::Renderer;
use resnet_wgpu::gpu::{Answer, Context};
use resnet_wgpu::wgpu;

use crate::Arguments;
use crate::controls::Controls;
use crate::files::{Opened, Opening, Pixels};
use crate::network::{Network, texture};
use crate::panel::Heat;
use crate::scale::Scale;
use crate::solid::Solid;
use crate::times::{Run, Timer, Times};

/// Pipelines that are compiled in each frame before the first run.
const WARM: usize = 1;

/// One of so many live runs makes no map, which tells what the map takes.
const LABELS_ALONE: u32 = 30;

/// The device of the interface, and its renderer.
#[derive(Clone)]
pub(crate) struct Gpu {
    pub(crate) context: Context,
    pub(crate) renderer: Arc<RwLock<Renderer>>,
    pub(crate) adapter: String,
}

impl Gpu {
    /// Shows a texture in the interface.
    fn show(&self, texture: &wgpu::Texture) -> (TextureId, wgpu::TextureView) {
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        let mut renderer = self.renderer.write();
        let filter = wgpu::FilterMode::Linear;
        let id = renderer.register_native_texture(&self.context.device, &view, filter);
        (id, view)
    }

    fn hide(&self, id: TextureId) {
        self.renderer.write().free_texture(&id);
    }
}

/// A picture from a file.
pub(crate) struct Still {
    pub(crate) name: String,
    pub(crate) size: [u32; 2],
    pub(crate) id: TextureId,
    view: wgpu::TextureView,
}

/// A network, and its map in the interface.
pub(crate) struct Shown {
    pub(crate) network: Network,
    pub(crate) map: TextureId,
}

/// The whole program.
pub(crate) struct Viewer {
    pub(crate) gpu: Gpu,
    pub(crate) controls: Controls,
    solid: Solid,
    pub(crate) solid_id: TextureId,
    /// What is shown instead of the solid.
    pub(crate) still: Option<Still>,
    pub(crate) shown: Option<Shown>,
    /// The network that takes over once it is warm.
    pub(crate) next: Option<Network>,
    pub(crate) openings: Vec<Opening>,
    pub(crate) heat: Heat,
    pub(crate) answer: Option<Answer>,
    pub(crate) times: Times,
    timer: Option<Timer>,
    pub(crate) problem: Option<String>,
    /// Whether the picture has changed since it was drawn, and since the network saw it.
    pub(crate) changed: bool,
    unseen: bool,
    /// Runs until one without a map.
    until_labels: u32,
    last_frame: Option<Instant>,
    /// Whether nothing was drawn so far.
    is_new: bool,
}

impl Viewer {
    pub(crate) fn new(gpu: Gpu, arguments: &Arguments, ui: &egui::Context) -> Self {
        let Context { device, queue, .. } = &gpu.context;
        let solid = Solid::new(device, arguments.size);
        let (solid_id, _) = gpu.show(solid.texture());
        let mut viewer = Self {
            timer: Timer::new(device, queue),
            controls: Controls::new(arguments.shape, arguments.seed),
            solid,
            solid_id,
            still: None,
            shown: None,
            next: None,
            openings: Vec::new(),
            heat: Heat {
                shown: true,
                opacity: 1.0,
                scale: Scale::Ember,
            },
            answer: None,
            times: Times::default(),
            problem: None,
            changed: true,
            unseen: true,
            until_labels: 0,
            last_frame: None,
            is_new: true,
            gpu,
        };
        viewer.open(arguments.weights.clone(), ui);
        for file in &arguments.files {
            viewer.open(file.clone(), ui);
        }
        viewer
    }

    /// Opens a picture or a weight file, in the background.
    pub(crate) fn open(&mut self, path: PathBuf, ui: &egui::Context) {
        self.openings
            .push(Opening::start(&self.gpu.context, path, ui.clone()));
    }

    /// Whether the picture moves.
    pub(crate) const fn is_live(&self) -> bool {
        self.still.is_none() && self.controls.spins
    }

    /// Whether nothing more will happen by itself.
    pub(crate) fn is_settled(&self) -> bool {
        let waits = self.shown.as_ref().is_some_and(|s| s.network.is_waiting());
        let looks = self.unseen && self.shown.is_some();
        !waits && !looks && self.next.is_none() && self.openings.is_empty() && !self.is_live()
    }

    /// Goes back to the solids.
    pub(crate) fn close_still(&mut self) {
        if let Some(still) = self.still.take() {
            self.gpu.hide(still.id);
            self.look_again();
        }
    }

    /// The picture is another one.
    fn look_again(&mut self) {
        (self.changed, self.unseen) = (true, true);
        self.until_labels = 0;
        self.forget_times();
        self.answer = None;
    }

    /// Changes the colours of the map.
    pub(crate) fn repaint_map(&mut self) {
        if let Some(shown) = &mut self.shown {
            if let Err(error) = shown.network.paint(self.heat.scale) {
                self.problem = Some(error.to_string());
            }
            self.unseen = true;
        }
    }

    /// Does what a frame has to do before it is drawn: draws the scene, and lets the network look at it.
    /// Nothing waits.
    pub(crate) fn advance(&mut self, ui: &egui::Context) {
        self.tick();
        self.take_files();
        if let Err(error) = self.record() {
            self.problem = Some(error.to_string());
        }
        if !self.is_settled() {
            ui.request_repaint();
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        let last = self.last_frame.replace(now);
        if let Some(last) = last.filter(|_| self.is_live()) {
            let seconds = (now - last).as_secs_f64();
            self.times.frame.add(1000.0 * seconds);
            #[expect(clippy::cast_possible_truncation, reason = "an animation")]
            self.controls.pass(seconds.min(0.5) as f32);
            self.changed = true;
        } else {
            self.times.frame.clear();
        }
    }

    fn take_files(&mut self) {
        for mut opening in std::mem::take(&mut self.openings) {
            match opening.poll() {
                None => self.openings.push(opening),
                Some(Err(problem)) => self.problem = Some(problem),
                Some(Ok(Opened::Picture(pixels))) => self.upload(pixels),
                Some(Ok(Opened::Network(mut network))) => {
                    match network.prepare(self.solid.view(), self.heat.scale) {
                        Ok(()) => self.next = Some(*network),
                        Err(error) => self.problem = Some(error.to_string()),
                    }
                }
            }
        }
    }

    fn upload(&mut self, pixels: Pixels) {
        let start = Instant::now();
        let Context { device, queue, .. } = &self.gpu.context;
        let texture = texture(
            device,
            "picture",
            pixels.size,
            wgpu::TextureUsages::COPY_DST,
        );
        let layout = wgpu::TexelCopyBufferLayout {
            offset: 0,
            bytes_per_row: Some(4 * pixels.size[0]),
            rows_per_image: None,
        };
        let size = texture.size();
        queue.write_texture(texture.as_image_copy(), &pixels.rgba, layout, size);
        let (id, view) = self.gpu.show(&texture);
        self.close_still();
        self.look_again();
        self.still = Some(Still {
            name: pixels.name,
            size: pixels.size,
            id,
            view,
        });
        let upload = 1000.0 * start.elapsed().as_secs_f64();
        self.times.picture.add(pixels.milliseconds + upload);
    }

    fn record(&mut self) -> Result<(), resnet_wgpu::Error> {
        let Context { device, queue, .. } = &self.gpu.context;
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        if let Some(timer) = &self.timer {
            timer.mark(&mut encoder, 0);
        }
        // Not in the first frame, which shows the window: drivers take their time over what they draw first.
        let draws = self.still.is_none() && self.changed && !std::mem::take(&mut self.is_new);
        if draws {
            self.solid.draw(queue, &mut encoder, &self.controls);
        }
        if let Some(timer) = &self.timer {
            timer.mark(&mut encoder, 1);
        }
        self.unseen |= self.changed;
        self.changed &= self.still.is_none() && !draws;
        let mut run = None;
        let mut is_warm = false;
        if let Some(next) = &mut self.next {
            is_warm = next.warm(&mut encoder, WARM);
        } else if let Some(shown) = self.shown.as_mut().filter(|_| self.unseen) {
            let picture = self
                .still
                .as_ref()
                .map_or(self.solid.view(), |still| &still.view);
            let mapped = self.heat.shown && shown.network.has_map();
            let kind = if mapped && self.until_labels > 0 {
                Run::Mapped
            } else {
                Run::Labels
            };
            shown.network.record(kind, &mut encoder, picture)?;
            // After a run without a map comes one with it, on the same picture.
            self.unseen = mapped && kind == Run::Labels;
            self.until_labels = if kind == Run::Labels {
                LABELS_ALONE
            } else {
                self.until_labels - 1
            };
            run = Some(kind);
        }
        if let Some(timer) = &mut self.timer {
            timer.mark(&mut encoder, 2);
            if draws || run.is_some() {
                timer.send(&mut encoder, run, draws);
            }
        }
        queue.submit([encoder.finish()]);
        self.receive()?;
        if is_warm {
            self.switch();
        }
        Ok(())
    }

    /// Takes what has arrived.
    fn receive(&mut self) -> Result<(), resnet_wgpu::Error> {
        // An error is the device's end, which the next call of the library tells better.
        let _ = self.gpu.context.device.poll(wgpu::PollType::Poll);
        if let Some(timer) = &mut self.timer {
            timer.receive(&mut self.times);
        }
        if let Some(shown) = &mut self.shown
            && let Some(answer) = shown.network.receive()?
        {
            self.answer = Some(answer);
        }
        Ok(())
    }

    /// The next network takes over.
    fn switch(&mut self) {
        let Some(network) = self.next.take() else {
            return;
        };
        let (map, _) = self.gpu.show(network.map());
        if let Some(old) = self.shown.replace(Shown { network, map }) {
            self.gpu.hide(old.map);
        }
        let picture = std::mem::take(&mut self.times.picture);
        self.look_again();
        self.times.picture = picture;
    }
}

impl Viewer {
    /// Draws the picture again, and has the network look at it both ways: for times.
    pub(crate) const fn look_once_more(&mut self) {
        (self.changed, self.unseen) = (true, true);
        self.until_labels = 0;
    }

    pub(crate) fn forget_times(&mut self) {
        self.times = Times::default();
        if let Some(timer) = &mut self.timer {
            timer.forget();
        }
    }

    /// The texture that the network looks at, and that of its map: for pictures without a window.
    pub(crate) fn textures(&self) -> (&wgpu::Texture, Option<&wgpu::Texture>) {
        let map = self.shown.as_ref().map(|shown| shown.network.map());
        (self.solid.texture(), map)
    }
}
