//! Frames without a window: written as pictures, and reported on stdout as one line of JSON each.

#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Instant;

use image::RgbaImage;
use resnet_wgpu::wgpu;
use serde::Serialize;

use crate::Arguments;
use crate::controls::Controls;
use crate::host::Host;
use crate::layout::Status;
use crate::panel::Canvas;
use crate::stage::Stage;

/// Change of yaw between frames, so that no two show a shape from the same side.
const TURN: f32 = 0.7;

/// What a frame showed, and what the network made of it.
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
    /// The duration of each frame that the run was spread over, in milliseconds.
    frame_milliseconds: Vec<f64>,
    network_milliseconds: Option<f64>,
}

/// Writes the requested frames.
pub(crate) fn run(arguments: &Arguments, folder: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    let mut film = Film::new(arguments)?;
    for frame in 0..arguments.frames {
        let report = film.frame(frame)?;
        println!("{}", serde_json::to_string(&report)?);
        let part = folder.join(format!("frame-{frame:04}.png.part"));
        film.target()?
            .save_with_format(&part, image::ImageFormat::Png)?;
        fs::rename(&part, part.with_extension(""))?;
        film.next();
    }
    Ok(())
}

/// Draws to a texture instead of a window.
pub(crate) struct Film {
    host: Host,
    stage: Stage,
    controls: Controls,
    status: Status,
    target: wgpu::Texture,
    view: wgpu::TextureView,
}

impl Film {
    pub(crate) fn new(arguments: &Arguments) -> Result<Self, Box<dyn Error>> {
        let instance =
            wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
        let host = Host::new(&instance, None)?;
        let format = wgpu::TextureFormat::Rgba8Unorm;
        let usage = wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC;
        let size = Canvas::SIZE.map(u32::from);
        let (target, view) = host.texture("target", size, format, usage);
        Ok(Self {
            stage: Stage::new(&host, arguments, format)?,
            controls: Controls::new(arguments.shape, arguments.seed),
            status: Status {
                adapter: host.adapter.get_info().name,
                frame_milliseconds: None,
                split: arguments.split,
            },
            host,
            target,
            view,
        })
    }

    /// The next solid, from another side and in other colours.
    pub(crate) fn next(&mut self) {
        self.controls.change_shape(1);
        self.controls.seed += 1;
        self.controls.camera.yaw += TURN;
    }

    /// Draws frames until the network has seen the current picture and answered.
    pub(crate) fn frame(&mut self, frame: u32) -> Result<Report, Box<dyn Error>> {
        let mut milliseconds = Vec::new();
        loop {
            let start = Instant::now();
            self.stage.draw(&self.controls, &self.status, &self.view)?;
            // With a window the host would not wait; here it does, to measure the frame.
            self.host.device.poll(wgpu::PollType::wait_indefinitely())?;
            milliseconds.push(1000.0 * start.elapsed().as_secs_f64());
            if self.stage.network.is_between_runs() {
                break;
            }
        }
        while self.stage.network.is_waiting() {
            self.host.device.poll(wgpu::PollType::wait_indefinitely())?;
            self.stage.network.receive()?;
        }
        self.status.frame_milliseconds = milliseconds.last().copied();
        self.stage.show(&self.controls, &self.status, &self.view);
        let seen = self.stage.network.seen();
        let (label, probability) = seen.top.first().cloned().unwrap_or_default();
        let map = self.host.read(&self.stage.network.heat_map().0)?;
        let solid = self.host.read(self.stage.picture())?;
        let (map_points_at_solid, map_overlap) = compare(&solid, &map);
        Ok(Report {
            frame,
            shown: self.controls.shape.name(),
            label,
            probability,
            map_points_at_solid,
            map_overlap,
            frame_milliseconds: milliseconds,
            network_milliseconds: seen.milliseconds,
        })
    }

    fn target(&self) -> Result<RgbaImage, Box<dyn Error>> {
        let pixels = self.host.read(&self.target)?;
        let image = RgbaImage::from_raw(self.target.width(), self.target.height(), pixels);
        image.ok_or_else(|| "the target has other sizes than its pixels".into())
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

    /// In how many of twelve frames the network may be wrong (it is in one of twenty), and in how
    /// many its map may point outside the solid.
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
        let beside = reports.iter().filter(|r| !r.map_points_at_solid).count();
        assert!(wrong <= MISSES, "{wrong} labels are wrong: {reports:?}");
        assert!(
            beside <= MISSES,
            "{beside} maps point elsewhere: {reports:?}"
        );
    }

    #[test]
    fn a_run_over_several_frames_says_the_same() {
        let run = |split: &str| {
            let arguments = Arguments::parse_from(["viewer", "--split", split, "--size", "128"]);
            let mut film = Film::new(&arguments).unwrap();
            let report = film.frame(0).unwrap();
            let expected = split.parse::<usize>().unwrap();
            assert_eq!(report.frame_milliseconds.len(), expected, "frames");
            (report.label, report.probability, report.map_overlap)
        };
        assert_eq!(run("1"), run("8"), "label, probability and map");
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
