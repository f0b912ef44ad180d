//! Renders pictures of solids for training and testing, on any adapter.
//!
//! ```sh
//! cargo run --release --example shapes -- --count 24000 --seed 1 --out target/shapes/train
//! cargo run --release --example shapes -- --count 12 --size 384 --png target/shapes/pictures
//! cargo run --release --example shapes -- --count 96 --sheet target/shapes/sheet.png
//! ```
//!
//! Picture `i` has class `i % 13` and depends only on the seed and `i`. A data set is a folder:
//! `images.npy` (u8, N×S×S×3, encoded sRGB), `labels.npy` (u8, N), `masks.npy` (u8, N×S×S: how much
//! of the pixel the solid covers, 255 for all of it) and `classes.txt` (one name per line).

mod scene;

use std::error::Error;
use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use clap::Parser;
use image::{Rgb, RgbImage};
use resnet_wgpu::gpu::Context;

use scene::{CLASSES, Pictures, Shape, Sides, Studio};

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

    /// The sides from which solids are shown: those from which they are easily told apart, any, or clear ones
    /// and three times in ten any
    #[arg(long, value_enum, default_value = "clear")]
    sides: Sides,

    /// Show one class alone, such as "nothing"; picture i has class i % 13 otherwise
    #[arg(long, value_name = "CLASS", value_parser = shape_of)]
    only: Option<Shape>,

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
    studio.set_sides(arguments.sides);
    if let Some(shape) = arguments.only {
        studio.set_only(shape);
    }
    let mut pictures = Pictures::default();
    let mut first = 0;
    while first < arguments.count {
        let count = studio.capacity().min(arguments.count - first);
        studio.render(arguments.seed, first, count, &mut pictures)?;
        first += count;
        eprint!("\r{first} of {} pictures", arguments.count);
    }
    eprintln!();
    if let Some(folder) = &arguments.out {
        write_arrays(&pictures, folder, arguments.size)?;
    }
    if let Some(folder) = &arguments.png {
        write_files(&pictures, folder, arguments.size)?;
    }
    if let Some(file) = &arguments.sheet {
        sheet(&pictures, arguments.size).save(file)?;
    }
    Ok(())
}

fn shape_of(name: &str) -> Result<Shape, String> {
    let named = |shape: &Shape| shape.name() == name;
    let names = Shape::ALL.map(Shape::name).join(", ");
    Shape::ALL
        .into_iter()
        .find(named)
        .ok_or(format!("the classes are {names}"))
}

/// One picture, `size` pixels square.
fn picture(pictures: &Pictures, i: usize, size: u32) -> RgbImage {
    let pixels = pictures.rgb.as_chunks::<3>().0;
    RgbImage::from_fn(size, size, |x, y| {
        Rgb(pixels[(i * size as usize + y as usize) * size as usize + x as usize])
    })
}

fn write_arrays(pictures: &Pictures, folder: &Path, size: u32) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    let n = pictures.labels.len();
    let labels: Vec<u8> = pictures.labels.iter().map(|&shape| shape as u8).collect();
    let shape = format!("{n}, {size}, {size}");
    write_npy(
        &folder.join("images.npy"),
        &format!("{shape}, 3"),
        &pictures.rgb,
    )?;
    write_npy(&folder.join("masks.npy"), &shape, &pictures.masks)?;
    write_npy(&folder.join("labels.npy"), &format!("{n},"), &labels)?;
    let classes = Shape::ALL.map(|shape| format!("{}\n", shape.name()));
    fs::write(folder.join("classes.txt"), classes.concat())?;
    Ok(())
}

/// Writes files such as `cube-13.png`, named after class and index of the picture.
fn write_files(pictures: &Pictures, folder: &Path, size: u32) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    for (i, label) in pictures.labels.iter().enumerate() {
        let name = label.name().replace(' ', "-");
        picture(pictures, i, size).save(folder.join(format!("{name}-{i}.png")))?;
    }
    Ok(())
}

/// All pictures side by side, with one class per column.
fn sheet(pictures: &Pictures, size: u32) -> RgbImage {
    let n = pictures.labels.len();
    let rows = (1..).take(n.div_ceil(Shape::ALL.len()));
    let mut sheet = RgbImage::new(size * CLASSES, size * rows.clone().last().unwrap_or(0));
    let places = rows.flat_map(|row| (0..CLASSES).map(move |x| (x, row - 1)));
    for (i, (x, y)) in places.take(n).enumerate() {
        let (x, y) = (i64::from(x * size), i64::from(y * size));
        image::imageops::replace(&mut sheet, &picture(pictures, i, size), x, y);
    }
    sheet
}

/// Writes an array of bytes in NumPy's format 1.0. `shape` is a Python tuple without brackets.
fn write_npy(path: &Path, shape: &str, data: &[u8]) -> std::io::Result<()> {
    let mut header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({shape}), }}");
    // Magic, version and length are 10 bytes; the data starts at a multiple of 64, after a newline.
    let padded = (10 + header.len() + 1).next_multiple_of(64) - 10;
    header.push_str(&" ".repeat(padded - 1 - header.len()));
    header.push('\n');
    let mut file = BufWriter::new(fs::File::create(path)?);
    file.write_all(b"\x93NUMPY\x01\x00")?;
    let len = u16::try_from(header.len()).map_err(std::io::Error::other)?;
    file.write_all(&len.to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    file.write_all(data)?;
    file.flush()
}
