//! Files are opened in a thread of their own: frames go on meanwhile.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::Instant;

use eframe::egui;
use resnet_wgpu::Error;
use resnet_wgpu::gpu::Context;
use resnet_wgpu::picture::Picture;

use crate::network::Network;

/// What a file was.
#[derive(Debug)]
pub(crate) enum Opened {
    Picture(Pixels),
    Network(Box<Network>),
}

/// A picture, ready for a texture.
#[derive(Debug)]
pub(crate) struct Pixels {
    pub(crate) name: String,
    /// Columns and rows.
    pub(crate) size: [u32; 2],
    /// Four bytes a pixel.
    pub(crate) rgba: Vec<u8>,
    /// Milliseconds that reading and decoding took.
    pub(crate) milliseconds: f64,
}

/// A file that is being opened.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) name: String,
    /// What is being done.
    pub(crate) step: &'static str,
    news: Receiver<News>,
}

#[derive(Debug)]
enum News {
    Step(&'static str),
    Done(Result<Opened, String>),
}

impl Opening {
    /// Starts to open a picture or a weight file, whichever it is.
    pub(crate) fn start(context: &Context, path: PathBuf, ui: egui::Context) -> Self {
        let name = path
            .file_name()
            .unwrap_or(path.as_os_str())
            .display()
            .to_string();
        let (sender, news) = channel();
        let context = context.clone();
        thread::spawn(move || {
            let send = |news| tell(&sender, news, &ui);
            let step = |step| send(News::Step(step));
            send(News::Done(open(&context, &path, &step)));
        });
        Self {
            name,
            step: "Reading",
            news,
        }
    }

    /// The outcome, once there is one.
    pub(crate) fn poll(&mut self) -> Option<Result<Opened, String>> {
        loop {
            match self.news.try_recv() {
                Ok(News::Step(step)) => self.step = step,
                Ok(News::Done(outcome)) => return Some(outcome),
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Disconnected) => {
                    return Some(Err(format!(
                        "{}: the thread that opened it failed",
                        self.name
                    )));
                }
            }
        }
    }
}

fn tell(sender: &Sender<News>, news: News, ui: &egui::Context) {
    // Nobody listens any more if another file was dropped meanwhile.
    if sender.send(news).is_ok() {
        ui.request_repaint();
    }
}

fn open(context: &Context, path: &Path, step: &dyn Fn(&'static str)) -> Result<Opened, String> {
    let start = Instant::now();
    if is_picture(path) {
        step("Reading the picture");
        let largest = context.device.limits().max_texture_dimension_2d as usize;
        let picture = Picture::open(path).map_err(|error| error.to_string())?;
        let size = picture.size();
        if size.iter().any(|&side| side > largest) {
            return Err(format!(
                "{}: {} × {} pixels are more than the {largest} that this GPU takes",
                path.display(),
                size[1],
                size[0]
            ));
        }
        let rgb = picture.rgb().as_chunks::<3>().0;
        let rgba: Vec<u8> = rgb.iter().flat_map(|&[r, g, b]| [r, g, b, 255]).collect();
        let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
        Ok(Opened::Picture(Pixels {
            name: path
                .file_name()
                .unwrap_or(path.as_os_str())
                .display()
                .to_string(),
            size: [side(size[1]), side(size[0])],
            rgba,
            milliseconds: 1000.0 * start.elapsed().as_secs_f64(),
        }))
    } else {
        let network = Network::open(context, path, step);
        let network = network.map_err(|error: Error| error.to_string())?;
        Ok(Opened::Network(Box::new(network)))
    }
}

/// Whether a file begins as the pictures do that the library decodes, or is named as one.
fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let known = [
        "bmp", "gif", "jpeg", "jpg", "pgm", "png", "pnm", "ppm", "tga", "tif", "tiff", "webp",
    ];
    if extension.is_some_and(|e| known.iter().any(|known| e.eq_ignore_ascii_case(known))) {
        return true;
    }
    let mut head = [0; 12];
    let read = std::fs::File::open(path)
        .and_then(|mut file| std::io::Read::read(&mut file, &mut head))
        .unwrap_or(0);
    let starts: [&[u8]; 6] = [
        b"\xff\xd8\xff",
        b"\x89PNG",
        b"GIF8",
        b"II*\0",
        b"MM\0*",
        b"BM",
    ];
    let head = &head[..read];
    starts.iter().any(|start| head.starts_with(start)) || head.get(8..12) == Some(b"WEBP")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_told_from_weights_by_name_and_by_content() {
        let folder = std::env::temp_dir().join(format!("viewer-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for temporary files");
        let cases: [(&str, &[u8], bool); 5] = [
            ("nameless", b"\x89PNG\r\n\x1a\n....", true),
            ("photo.JPG", b"", true),
            ("weights.pth", b"PK\x03\x04........", false),
            ("weights.safetensors", b"\x40\0\0\0\0\0\0\0{\"", false),
            ("photo", b"RIFF\0\0\0\0WEBPVP8 ", true),
        ];
        for (name, bytes, want) in cases {
            let path = folder.join(name);
            std::fs::write(&path, bytes).expect("a temporary file");
            assert_eq!(is_picture(&path), want, "{name}");
        }
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
