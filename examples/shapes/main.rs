//! Pictures of solids for training and testing, rendered on whatever adapter there is.
//!
//!     cargo run --release --example shapes -- --count 24000 --seed 1 --out target/shapes/train
//!     cargo run --release --example shapes -- --count 12 --size 384 --png target/shapes/pictures
//!     cargo run --release --example shapes -- --count 96 --sheet target/shapes/sheet.png
//!
//! Picture `i` has class `i % 12`, and depends on the seed and on `i` only. A data set is a folder:
//! `images.npy` (u8, N×S×S×3, encoded sRGB), `labels.npy` (u8, N), `masks.npy` (u8, N×S×S: how much of
//! the pixel the solid covers, 255 for all) and `classes.txt` (a name a line).

#[allow(dead_code, reason = "the viewer uses the rest")]
mod scene;

use std::error::Error;
use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use clap::Parser;
use image::{Rgb, RgbImage};
use resnet_wgpu::gpu::Context;
use resnet_wgpu::wgpu;

use scene::{FORMAT, Renderer, Scene, Shape};

/// Render solids on random backgrounds, with labels and masks.
#[derive(Debug, Parser)]
struct Arguments {
    /// Pictures to render
    #[arg(long, default_value = "96", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,

    /// Start of the random numbers; another seed gives other pictures
    #[arg(long, default_value = "0")]
    seed: u32,

    /// Rows and columns of a picture
    #[arg(long, default_value = "64", value_parser = clap::value_parser!(u32).range(8..=2048))]
    size: u32,

    /// Rays along each side of a pixel
    #[arg(long, default_value = "3", value_parser = clap::value_parser!(u32).range(1..=8))]
    rays: u32,

    /// Folder for the data set: images.npy, labels.npy, masks.npy, classes.txt
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,

    /// Folder for single pictures
    #[arg(long, value_name = "FOLDER")]
    png: Option<PathBuf>,

    /// File for all pictures side by side, a class in each column
    #[arg(long, value_name = "FILE.png")]
    sheet: Option<PathBuf>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let context = pollster::block_on(Context::from_env())?;
    let mut studio = Studio::new(&context, arguments.size, arguments.rays);
    let mut pictures = Pictures::default();
    while pictures.labels.len() < arguments.count as usize {
        let first = pictures.labels.len() as u32;
        let count = studio.capacity().min(arguments.count - first);
        studio.render(arguments.seed, first, count, &mut pictures)?;
        eprint!("\r{} of {} pictures", pictures.labels.len(), arguments.count);
    }
    eprintln!();
    if let Some(folder) = &arguments.out {
        pictures.write_arrays(folder, arguments.size)?;
    }
    if let Some(folder) = &arguments.png {
        pictures.write_files(folder, &arguments)?;
    }
    if let Some(file) = &arguments.sheet {
        pictures.sheet(arguments.size).save(file)?;
    }
    Ok(())
}

/// Rendered pictures, in their order.
#[derive(Default)]
struct Pictures {
    /// Three bytes a pixel.
    rgb: Vec<u8>,
    /// A byte a pixel.
    masks: Vec<u8>,
    labels: Vec<u8>,
}

/// A texture with room for as many pictures of each shape, and what renders into it.
struct Studio<'c> {
    context: &'c Context,
    renderer: Renderer,
    size: u32,
    /// Pictures of each shape.
    depth: u32,
    /// Pictures in a row of the texture.
    columns: u32,
    scenes: wgpu::Buffer,
    /// By class.
    bound: Vec<wgpu::BindGroup>,
    texture: wgpu::Texture,
    readback: wgpu::Buffer,
}

/// Sides of the texture in pixels, at most.
const SIDE: u32 = 2048;

impl<'c> Studio<'c> {
    fn new(context: &'c Context, size: u32, rays: u32) -> Self {
        let device = &context.device;
        let classes = Shape::ALL.len() as u32;
        let columns = SIDE / size;
        // Rows of the texture in bytes must be multiples of 256 to be copied to a buffer.
        let width = (columns * size).next_multiple_of(64);
        let depth = (columns * columns / classes).clamp(1, 32);
        let rows = (depth * classes).div_ceil(columns);
        let renderer = Renderer::new(device, rays);
        let texture = device.create_texture(&wgpu::TextureDescriptor {
            label: Some("pictures"),
            size: wgpu::Extent3d {
                width,
                height: rows * size,
                depth_or_array_layers: 1,
            },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: FORMAT,
            usage: wgpu::TextureUsages::STORAGE_BINDING | wgpu::TextureUsages::COPY_SRC,
            view_formats: &[],
        });
        let scene_bytes = size_of::<Scene>() as u64;
        let scenes = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("scenes"),
            size: u64::from(classes * depth) * scene_bytes,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let readback = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("pictures"),
            size: u64::from(4 * width * rows * size),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        let of_class = |class: u32| wgpu::BufferBinding {
            buffer: &scenes,
            offset: u64::from(class * depth) * scene_bytes,
            size: None,
        };
        let bound = (0..classes)
            .map(|class| renderer.bind(device, of_class(class), &view))
            .collect();
        Self {
            context,
            renderer,
            size,
            depth,
            columns,
            scenes,
            bound,
            texture,
            readback,
        }
    }

    /// Pictures that are rendered together, at most.
    fn capacity(&self) -> u32 {
        self.depth * Shape::ALL.len() as u32
    }

    /// Renders some pictures and appends them.
    fn render(
        &mut self,
        seed: u32,
        first: u32,
        count: u32,
        pictures: &mut Pictures,
    ) -> Result<(), Box<dyn Error>> {
        let classes = Shape::ALL.len() as u32;
        let Context { device, queue, .. } = self.context;
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for (class, shape) in (0..).zip(Shape::ALL) {
                let of_class: Vec<Scene> = (0..count)
                    .filter(|i| (first + i) % classes == class)
                    .map(|i| {
                        let seed = u64::from(seed) << 32 | u64::from(first + i);
                        let mut scene = Scene::random(shape, seed, self.size);
                        scene.tile = self.tile(i);
                        scene
                    })
                    .collect();
                let offset = u64::from(class * self.depth) * size_of::<Scene>() as u64;
                queue.write_buffer(&self.scenes, offset, bytemuck::cast_slice(&of_class));
                let count = of_class.len() as u32;
                if count > 0 {
                    let bound = &self.bound[class as usize];
                    self.renderer.draw(&mut pass, shape, bound, self.size, count);
                }
            }
        }
        encoder.copy_texture_to_buffer(
            self.texture.as_image_copy(),
            wgpu::TexelCopyBufferInfo {
                buffer: &self.readback,
                layout: wgpu::TexelCopyBufferLayout {
                    offset: 0,
                    bytes_per_row: Some(4 * self.texture.width()),
                    rows_per_image: None,
                },
            },
            self.texture.size(),
        );
        queue.submit([encoder.finish()]);
        self.readback.map_async(wgpu::MapMode::Read, .., |_| ());
        device.poll(wgpu::PollType::wait_indefinitely())?;
        {
            let bytes = self.readback.get_mapped_range(..)?;
            for i in 0..count {
                self.append(&bytes, i, pictures);
                pictures.labels.push(((first + i) % classes) as u8);
            }
        }
        self.readback.unmap();
        Ok(())
    }

    /// The corner of a picture in the texture.
    const fn tile(&self, i: u32) -> [u32; 2] {
        [i % self.columns * self.size, i / self.columns * self.size]
    }

    fn append(&self, texture: &[u8], i: u32, pictures: &mut Pictures) {
        let [x, y] = self.tile(i);
        for row in y..y + self.size {
            let start = 4 * (row * self.texture.width() + x) as usize;
            let row = &texture[start..start + 4 * self.size as usize];
            for &[r, g, b, covered] in row.as_chunks::<4>().0 {
                pictures.rgb.extend([r, g, b]);
                pictures.masks.push(covered);
            }
        }
    }
}

impl Pictures {
    /// A picture of `size` pixels a side.
    fn picture(&self, i: usize, size: u32) -> RgbImage {
        let len = 3 * (size * size) as usize;
        RgbImage::from_fn(size, size, |x, y| {
            let at = i * len + 3 * (y * size + x) as usize;
            Rgb([self.rgb[at], self.rgb[at + 1], self.rgb[at + 2]])
        })
    }

    fn write_arrays(&self, folder: &Path, size: u32) -> Result<(), Box<dyn Error>> {
        fs::create_dir_all(folder)?;
        let n = self.labels.len();
        write_npy(&folder.join("images.npy"), &format!("{n}, {size}, {size}, 3"), &self.rgb)?;
        write_npy(&folder.join("masks.npy"), &format!("{n}, {size}, {size}"), &self.masks)?;
        write_npy(&folder.join("labels.npy"), &format!("{n},"), &self.labels)?;
        let classes = Shape::ALL.map(|shape| format!("{}\n", shape.name())).concat();
        fs::write(folder.join("classes.txt"), classes)?;
        Ok(())
    }

    /// `cube-13.png`: the class and the number of the picture.
    fn write_files(&self, folder: &Path, arguments: &Arguments) -> Result<(), Box<dyn Error>> {
        fs::create_dir_all(folder)?;
        for (i, &label) in self.labels.iter().enumerate() {
            let name = Shape::ALL[usize::from(label)].name().replace(' ', "-");
            let picture = self.picture(i, arguments.size);
            picture.save(folder.join(format!("{name}-{i}.png")))?;
        }
        Ok(())
    }

    /// All pictures side by side, a class in each column.
    fn sheet(&self, size: u32) -> RgbImage {
        let columns = Shape::ALL.len();
        let rows = self.labels.len().div_ceil(columns);
        let mut sheet = RgbImage::new(size * columns as u32, size * rows as u32);
        for i in 0..self.labels.len() {
            let (x, y) = ((i % columns) as i64, (i / columns) as i64);
            let corner = (x * i64::from(size), y * i64::from(size));
            image::imageops::replace(&mut sheet, &self.picture(i, size), corner.0, corner.1);
        }
        sheet
    }
}

/// An array of bytes in NumPy's format 1.0. `shape` is a Python tuple without its brackets.
fn write_npy(path: &Path, shape: &str, data: &[u8]) -> std::io::Result<()> {
    let mut header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({shape}), }}");
    // Magic, version and length are 10 bytes; the data starts at a multiple of 64, after a line feed.
    let padded = (10 + header.len() + 1).next_multiple_of(64) - 10;
    header.push_str(&" ".repeat(padded - 1 - header.len()));
    header.push('\n');
    let mut file = BufWriter::new(fs::File::create(path)?);
    file.write_all(b"\x93NUMPY\x01\x00")?;
    file.write_all(&(header.len() as u16).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    file.write_all(data)?;
    file.flush()
}
