//! The window without a window: written as pictures, and reported on stdout as one line of JSON each.

#![expect(clippy::print_stdout, reason = "the program prints its result")]

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use eframe::egui::mutex::RwLock;
use eframe::egui::{self, Rect, pos2, vec2};
use eframe::egui_wgpu::{Renderer, RendererOptions, ScreenDescriptor};
use image::RgbaImage;
use resnet_wgpu::gpu::Context;
use resnet_wgpu::wgpu;
use serde::Serialize;

use crate::Arguments;
use crate::app::{Gpu, Viewer};
use crate::theme;
use crate::window::{SIZE, descriptor};

/// Change of yaw between pictures, so that no two show a solid from the same side.
const TURN: f32 = 0.7;

/// Rounds of measurements before the one that is shown.
const ROUNDS: usize = 2;

/// Pixels of the pictures in a point of the interface.
const SCALE: f32 = 1.25;

/// What a picture shows, and what the network made of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    frame: u32,
    shown: &'static str,
    pub(crate) label: String,
    probability: f32,
    /// Whether the hottest pixel of the map is on the solid.
    pub(crate) map_points_at_solid: bool,
    /// Intersection over union of the solid and the hotter half of the map's range.
    map_overlap: f32,
    /// Milliseconds on the GPU, where it has a clock.
    scene_milliseconds: Option<f64>,
    network_milliseconds: Option<f64>,
    map_milliseconds: Option<f64>,
}

/// Writes the requested pictures.
pub(crate) fn run(arguments: &Arguments, folder: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    let mut film = Film::new(arguments)?;
    for frame in 0..arguments.frames {
        let report = film.frame(frame)?;
        println!("{}", serde_json::to_string(&report)?);
        let part = folder.join(format!("frame-{frame:04}.png.part"));
        film.picture()?
            .save_with_format(&part, image::ImageFormat::Png)?;
        fs::rename(&part, part.with_extension(""))?;
        film.next();
    }
    Ok(())
}

/// Draws the interface into a texture.
pub(crate) struct Film {
    viewer: Viewer,
    ui: egui::Context,
    target: wgpu::Texture,
    seconds: f64,
}

impl Film {
    pub(crate) fn new(arguments: &Arguments) -> Result<Self, Box<dyn Error>> {
        let instance =
            wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
        let adapter = wgpu::util::initialize_adapter_from_env_or_default(&instance, None);
        let adapter = pollster::block_on(adapter)?;
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor(&adapter)))?;
        let format = wgpu::TextureFormat::Rgba8Unorm;
        let renderer = Renderer::new(&device, format, RendererOptions::PREDICTABLE);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "constants"
        )]
        let size = SIZE.map(|points| (SCALE * points) as u32);
        let target = device.create_texture(&wgpu::TextureDescriptor {
            label: Some("target"),
            size: wgpu::Extent3d {
                width: size[0],
                height: size[1],
                depth_or_array_layers: 1,
            },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format,
            usage: wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC,
            view_formats: &[],
        });
        let gpu = Gpu {
            context: Context::of(device, queue),
            renderer: Arc::new(RwLock::new(renderer)),
            adapter: adapter.get_info().name,
        };
        let ui = egui::Context::default();
        theme::install(&ui);
        let mut viewer = Viewer::new(gpu, arguments, &ui);
        viewer.controls.spins = false;
        Ok(Self {
            viewer,
            ui,
            target,
            seconds: 0.0,
        })
    }

    /// The next solid, from another side and in other colours.
    pub(crate) fn next(&mut self) {
        let controls = &mut self.viewer.controls;
        controls.change_shape(1);
        controls.seed += 1;
        controls.camera.yaw += TURN;
        self.viewer.changed = true;
    }

    /// Draws until the network has seen the current picture and answered.
    fn settle(&mut self) -> Result<(), Box<dyn Error>> {
        loop {
            self.viewer.advance(&self.ui);
            if let Some(problem) = self.viewer.problem.take() {
                return Err(problem.into());
            }
            if self.viewer.is_settled() {
                return Ok(());
            }
            // A window would not wait.
            let device = &self.viewer.gpu.context.device;
            device.poll(wgpu::PollType::wait_indefinitely())?;
        }
    }

    /// What the current picture shows and is taken for.
    pub(crate) fn frame(&mut self, frame: u32) -> Result<Report, Box<dyn Error>> {
        self.viewer.forget_times();
        // More than once for the times: drivers compile what is drawn first.
        for _ in 0..ROUNDS {
            self.settle()?;
            self.viewer.look_once_more();
        }
        self.settle()?;
        // Twice: bars grow to their length in between.
        for _ in 0..2 {
            self.seconds += 1.0;
            self.draw();
        }
        let answer = self.viewer.answer.as_ref();
        let best = answer.and_then(|answer| answer.guesses.first()?.first());
        let (picture, map) = self.viewer.textures();
        let map = map.ok_or("there is no network")?;
        let (map_points_at_solid, map_overlap) = compare(&self.read(picture)?, &self.read(map)?);
        let times = &self.viewer.times;
        Ok(Report {
            frame,
            shown: self.viewer.controls.shape.name(),
            label: best.map(|guess| guess.label.clone()).unwrap_or_default(),
            probability: best.map_or(0.0, |guess| guess.probability),
            map_points_at_solid,
            map_overlap,
            scene_milliseconds: times.picture.median(),
            network_milliseconds: times.network(),
            map_milliseconds: times.map(),
        })
    }

    fn draw(&mut self) {
        let Context { device, queue, .. } = self.viewer.gpu.context.clone();
        let mut input = egui::RawInput {
            screen_rect: Some(Rect::from_min_size(pos2(0.0, 0.0), vec2(SIZE[0], SIZE[1]))),
            time: Some(self.seconds),
            max_texture_side: Some(device.limits().max_texture_dimension_2d as usize),
            ..egui::RawInput::default()
        };
        input
            .viewports
            .entry(egui::ViewportId::ROOT)
            .or_default()
            .native_pixels_per_point = Some(SCALE);
        let viewer = &mut self.viewer;
        let output = self.ui.run_ui(input, |ui| viewer.ui(ui));
        let jobs = self.ui.tessellate(output.shapes, output.pixels_per_point);
        let screen = ScreenDescriptor {
            size_in_pixels: [self.target.width(), self.target.height()],
            pixels_per_point: output.pixels_per_point,
        };
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut renderer = viewer.gpu.renderer.write();
        let mut changes = output.textures_delta;
        for (id, changes) in changes.set.drain() {
            for change in changes {
                renderer.update_texture(&device, &queue, id, &change);
            }
        }
        let more = renderer.update_buffers(&device, &queue, &mut encoder, &jobs, &screen);
        {
            let view = self
                .target
                .create_view(&wgpu::TextureViewDescriptor::default());
            let pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
                label: Some("interface"),
                color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                    view: &view,
                    depth_slice: None,
                    resolve_target: None,
                    ops: wgpu::Operations::default(),
                })],
                ..Default::default()
            });
            renderer.render(&mut pass.forget_lifetime(), &jobs, &screen);
        }
        queue.submit(more.into_iter().chain([encoder.finish()]));
        for id in changes.free.drain() {
            renderer.free_texture(&id);
        }
    }

    fn picture(&self) -> Result<RgbaImage, Box<dyn Error>> {
        let pixels = self.read(&self.target)?;
        let image = RgbaImage::from_raw(self.target.width(), self.target.height(), pixels);
        image.ok_or_else(|| "the target has other sizes than its pixels".into())
    }

    /// The bytes of a texture with four bytes per pixel, row by row. Waits for them.
    fn read(&self, texture: &wgpu::Texture) -> Result<Vec<u8>, Box<dyn Error>> {
        let Context { device, queue, .. } = &self.viewer.gpu.context;
        let row = 4 * texture.width();
        let pitch = row.next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT);
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("readback"),
            size: u64::from(pitch * texture.height()),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_texture_to_buffer(
            texture.as_image_copy(),
            wgpu::TexelCopyBufferInfo {
                buffer: &buffer,
                layout: wgpu::TexelCopyBufferLayout {
                    offset: 0,
                    bytes_per_row: Some(pitch),
                    rows_per_image: None,
                },
            },
            texture.size(),
        );
        queue.submit([encoder.finish()]);
        buffer.map_async(wgpu::MapMode::Read, .., |_| ());
        device.poll(wgpu::PollType::wait_indefinitely())?;
        let mapped = buffer.get_mapped_range(..)?;
        let rows = mapped.chunks_exact(pitch as usize);
        let rows = rows.flat_map(|bytes| &bytes[..row as usize]);
        Ok(rows.copied().collect())
    }
}

/// Whether the hottest pixel of the map is on the solid, and the intersection over union of the
/// solid and the pixels at least half as hot. Both textures are RGBA and square: the map's alpha is
/// its heat, the picture's alpha the mask.
fn compare(picture: &[u8], map: &[u8]) -> (bool, f32) {
    let (picture, map) = (picture.as_chunks::<4>().0, map.as_chunks::<4>().0);
    let [side, of_picture] = [map.len(), picture.len()].map(usize::isqrt);
    let on_solid = |i: usize| {
        let [x, y] = [i % side, i / side].map(|at| (2 * at + 1) * of_picture / (2 * side));
        picture[y * of_picture + x][3] > 127
    };
    let heat: Vec<u8> = map.iter().map(|&[.., alpha]| alpha).collect();
    let hottest = (0..heat.len()).max_by_key(|&i| heat[i]).unwrap_or(0);
    let hot = |i: usize| u16::from(heat[i]) * 2 >= u16::from(heat[hottest]);
    let both = (0..heat.len()).filter(|&i| hot(i) && on_solid(i)).count();
    let either = (0..heat.len()).filter(|&i| hot(i) || on_solid(i)).count();
    (on_solid(hottest), both as f32 / either.max(1) as f32)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::scene::Shape;

    /// In how many of thirteen frames the network may be wrong (it is in one of twenty), and in how
    /// many its map may point outside the solid; the last frame shows an empty scene.
    const MISSES: usize = 1;

    #[test]
    fn the_network_names_every_solid_and_its_map_lies_on_it() {
        let arguments = Arguments::parse_from(["viewer", "--shape", "sphere", "--size", "128"]);
        let mut film = Film::new(&arguments).unwrap();
        let reports = Shape::ALL.map(|shape| {
            let report = film.frame(0).unwrap();
            assert_eq!(report.shown, shape.name(), "order");
            film.next();
            report
        });
        let wrong = reports.iter().filter(|r| r.label != r.shown).count();
        let solids = reports.iter().filter(|r| r.shown != Shape::Nothing.name());
        let beside = solids.filter(|r| !r.map_points_at_solid).count();
        assert!(wrong <= MISSES, "{wrong} labels are wrong: {reports:?}");
        assert!(
            beside <= MISSES,
            "{beside} maps point elsewhere: {reports:?}"
        );
    }

    #[test]
    fn files_are_opened_while_frames_go_on() {
        let cube = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/cube.png");
        let missing = "no/such/weights.pth";
        let arguments = Arguments::parse_from(["viewer", "--size", "128", cube]);
        let mut film = Film::new(&arguments).unwrap();
        film.viewer.advance(&film.ui);
        film.draw();
        assert!(film.viewer.shown.is_none(), "a frame before the network");
        let report = film.frame(0).unwrap();
        assert_eq!(report.label, "cube", "the picture that was opened");
        film.viewer.open(missing.into(), &film.ui);
        let refused = film.frame(1).unwrap_err().to_string();
        assert!(refused.contains(missing), "{refused}");
        film.viewer.close_still();
        assert_eq!(film.frame(2).unwrap().label, "torus", "the solid again");
    }

    #[test]
    fn a_map_is_compared_with_the_solid_under_it() {
        let side = 12;
        let left_half = |i: usize| [0, 0, 0, if i % side < side / 2 { 255 } else { 0 }];
        let picture: Vec<u8> = (0..side * side).flat_map(left_half).collect();
        // Four by four: heat in the upper left quarter, or in the right half.
        let quarter = |i: usize| [255, 0, 0, if i % 4 < 2 && i < 8 { 200 } else { 20 }];
        let map: Vec<u8> = (0..16).flat_map(quarter).collect();
        assert_eq!(compare(&picture, &map), (true, 0.5), "a quarter of a half");
        let right = |i: usize| [255, 0, 0, if i % 4 < 2 { 0 } else { 200 }];
        let map: Vec<u8> = (0..16).flat_map(right).collect();
        assert_eq!(compare(&picture, &map), (false, 0.0), "the other half");
    }
}
