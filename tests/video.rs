//! Luma and chroma in two textures, against a conversion that is written out. Needs an adapter.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Instant;

use common::{Numbers, bytes_after, finish, gpu};
use resnet_wgpu::Error;
use resnet_wgpu::gpu::{
    Classifier, Context, Encoding, Executor, Input, Origin, Output, TextureRead, TextureRect,
};
use resnet_wgpu::internals::gpu::Adapters;
use resnet_wgpu::network::{Arch, ModelOptions};
use resnet_wgpu::passes::{Fusion, optimize};
use resnet_wgpu::picture::{Batch, ChannelOrder, Picture, Preprocess, Resize};
use resnet_wgpu::plan::{Capabilities, InputFormat, Plan, PlanOptions};
use resnet_wgpu::wgpu::{self, TextureFormat as F, TextureUsages as U};

const ENCODINGS: [Encoding; 4] = [
    Encoding::Bt601,
    Encoding::Bt601Full,
    Encoding::Bt709,
    Encoding::Bt709Full,
];

/// A frame as a decoder writes it: codes of 8 or 10 bits.
struct Frame {
    size: [usize; 2],
    bits: u32,
    luma: Vec<u16>,
    chroma: Vec<[u16; 2]>,
}

impl Frame {
    /// Seeded noise over all codes, also those that mean nothing.
    fn noise(size: [usize; 2], bits: u32, seed: u64) -> Self {
        let mut numbers = Numbers::new(seed);
        let mut code = || {
            let all = f32::from((1u16 << bits) - 1);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a code"
            )]
            let code = ((numbers.scalar() + 1.0) / 2.0 * all).round() as u16;
            code
        };
        let [rows, columns] = size.map(|side| side.div_ceil(2));
        Self {
            size,
            bits,
            luma: (0..size[0] * size[1]).map(|_| code()).collect(),
            chroma: (0..rows * columns).map(|_| [code(), code()]).collect(),
        }
    }

    /// One colour everywhere.
    fn flat([luma, cb, cr]: [u16; 3]) -> Self {
        Self {
            size: [2, 2],
            bits: 8,
            luma: vec![luma; 4],
            chroma: vec![[cb, cr]],
        }
    }

    /// Cb and Cr at a pixel: chroma lies at x = 2i and y = 2j + 1/2, and is linear in between.
    fn chroma_at(&self, y: usize, x: usize) -> [f64; 2] {
        let [rows, columns] = self.size.map(|side| side.div_ceil(2));
        let (y, x) = ((y as f64 - 0.5) / 2.0, x as f64 / 2.0);
        let mut sums = [0.0; 2];
        for row in -1..=1i32 {
            for column in 0..=1i32 {
                let (j, i) = (y.floor() + f64::from(row), x.floor() + f64::from(column));
                let weight = (1.0 - (y - j).abs()).max(0.0) * (1.0 - (x - i).abs()).max(0.0);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "an index"
                )]
                let index = |at: f64, count: usize| at.clamp(0.0, count as f64 - 1.0) as usize;
                let sample = self.chroma[index(j, rows) * columns + index(i, columns)];
                for (sum, code) in sums.iter_mut().zip(sample) {
                    *sum += weight * f64::from(code);
                }
            }
        }
        sums
    }

    /// The picture, by the equations of the recommendations.
    fn picture(&self, encoding: Encoding) -> Picture {
        let (kr, kb) = match encoding {
            Encoding::Bt601 | Encoding::Bt601Full => (0.299, 0.114),
            _ => (0.2126, 0.0722),
        };
        let full = matches!(encoding, Encoding::Bt601Full | Encoding::Bt709Full);
        let unit = f64::from(1u32 << (self.bits - 8));
        let most = f64::from((1u32 << self.bits) - 1);
        let [height, width] = self.size;
        let mut rgb = Vec::new();
        for row in 0..height {
            for column in 0..width {
                let luma = f64::from(self.luma[row * width + column]);
                let chroma = self.chroma_at(row, column);
                let (luma, [cb, cr]) = if full {
                    (luma / most, chroma.map(|c| (c - 128.0 * unit) / most))
                } else {
                    let luma = (luma - 16.0 * unit) / (219.0 * unit);
                    (luma, chroma.map(|c| (c - 128.0 * unit) / (224.0 * unit)))
                };
                let red = luma + 2.0 * (1.0 - kr) * cr;
                let blue = luma + 2.0 * (1.0 - kb) * cb;
                let green = (luma - kr * red - kb * blue) / (1.0 - kr - kb);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a byte"
                )]
                rgb.extend([red, green, blue].map(|c| (c.clamp(0.0, 1.0) * 255.0).round() as u8));
            }
        }
        Picture::new(height, width, rgb).unwrap()
    }

    /// Both planes as textures: of 8 bits, or of 10 in the upper bits of 16.
    fn upload(&self, gpu: &Context) -> [wgpu::TextureView; 2] {
        let bytes = |codes: &[u16]| -> Vec<u8> {
            let sixteen = |&code: &u16| (code << 6).to_le_bytes();
            match self.bits {
                8 => codes
                    .iter()
                    .map(|&code| u8::try_from(code).unwrap())
                    .collect(),
                _ => codes.iter().flat_map(sixteen).collect(),
            }
        };
        let [luma, chroma] = match self.bits {
            8 => [F::R8Unorm, F::Rg8Unorm],
            _ => [F::R16Unorm, F::Rg16Unorm],
        };
        let half = self.size.map(|side| side.div_ceil(2));
        [
            upload(gpu, self.size, luma, &bytes(&self.luma)),
            upload(gpu, half, chroma, &bytes(self.chroma.as_flattened())),
        ]
    }
}

impl Frame {
    /// The planes as three textures of 8 bits.
    fn upload_apart(&self, gpu: &Context) -> [wgpu::TextureView; 3] {
        let bytes = |codes: &mut dyn Iterator<Item = u16>| -> Vec<u8> {
            codes.map(|code| u8::try_from(code).unwrap()).collect()
        };
        let half = self.size.map(|side| side.div_ceil(2));
        let chroma = |index: usize| bytes(&mut self.chroma.iter().map(|pair| pair[index]));
        [
            upload(
                gpu,
                self.size,
                F::R8Unorm,
                &bytes(&mut self.luma.iter().copied()),
            ),
            upload(gpu, half, F::R8Unorm, &chroma(0)),
            upload(gpu, half, F::R8Unorm, &chroma(1)),
        ]
    }
}

fn texture(gpu: &Context, [height, width]: [usize; 2], format: F) -> wgpu::Texture {
    gpu.device.create_texture(&wgpu::TextureDescriptor {
        label: Some("plane"),
        size: wgpu::Extent3d {
            width: u32::try_from(width).unwrap(),
            height: u32::try_from(height).unwrap(),
            depth_or_array_layers: 1,
        },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format,
        usage: U::TEXTURE_BINDING | U::COPY_DST,
        view_formats: &[],
    })
}

fn upload(gpu: &Context, size: [usize; 2], format: F, bytes: &[u8]) -> wgpu::TextureView {
    let texture = texture(gpu, size, format);
    gpu.queue.write_texture(
        texture.as_image_copy(),
        bytes,
        wgpu::TexelCopyBufferLayout {
            offset: 0,
            bytes_per_row: Some(u32::try_from(bytes.len() / size[0]).unwrap()),
            rows_per_image: None,
        },
        texture.size(),
    );
    texture.create_view(&wgpu::TextureViewDescriptor::default())
}

fn uploaded(gpu: &Context, picture: &Picture) -> wgpu::TextureView {
    let pixels = picture.rgb().chunks(3);
    let rgba: Vec<u8> = pixels.flat_map(|p| [p[0], p[1], p[2], 255]).collect();
    upload(gpu, picture.size(), F::Rgba8Unorm, &rgba)
}

fn read_as(encoding: Encoding) -> TextureRead {
    let mut read = TextureRead::default();
    read.encoding = encoding;
    read
}

fn options(batch: usize, size: [usize; 2]) -> ModelOptions {
    let mut options = ModelOptions::default();
    options.batch = batch;
    options.size = Some(size);
    options
}

/// Any network that takes pictures of this size.
fn executor(gpu: &Context, batch: usize, rules: &Preprocess) -> Executor {
    let options = options(batch, rules.size);
    let network = Arch::ResNet18.random(1, &options).unwrap();
    let graph = optimize(&network.model(&options).unwrap().graph, Fusion::Full).unwrap();
    let options = PlanOptions::new(Capabilities::of(&gpu.device)).input(InputFormat::Rgba8(*rules));
    let plan = Plan::new(&graph, &options).unwrap();
    Executor::new(&gpu.device, &gpu.queue, &plan).unwrap()
}

fn rules(size: [usize; 2], resize: Resize) -> Preprocess {
    let mut rules = Preprocess::NOTEBOOK;
    rules.size = size;
    rules.resize = resize;
    rules
}

/// The pixels that the network gets.
fn pixels_of(gpu: &Context, executor: &Executor, input: &Input) -> Vec<u8> {
    let descriptor = wgpu::CommandEncoderDescriptor::default();
    let mut encoder = gpu.device.create_command_encoder(&descriptor);
    executor
        .record(&mut encoder, input, &Output::kept())
        .unwrap();
    bytes_after(gpu, encoder, executor.input())
}

/// The same pixels, except where 32 bits round a colour between two bytes to the other one.
#[track_caller]
fn assert_pixels(what: &str, want: &[u8], got: &[u8]) {
    assert_eq!(want.len(), got.len(), "{what}: number of bytes");
    let off = want.iter().zip(got).map(|(a, b)| a.abs_diff(*b));
    assert!(off.clone().all(|off| off <= 1), "{what}: {:?}", off.max());
    let others = off.filter(|&off| off > 0).count();
    assert!(
        others * 500 <= want.len(),
        "{what}: {others} of {}",
        want.len()
    );
}

#[test]
fn planes_of_video_become_the_pixels_that_the_cpu_converts() {
    let gpu = gpu();
    // At their own size, shrunk, and grown; of odd and even sides.
    for (size, of) in [
        ([33, 40], [33, 40]),
        ([32, 32], [83, 67]),
        ([32, 33], [22, 20]),
        ([32, 32], [1, 1]),
    ] {
        let rules = rules(size, Resize::Squash);
        let executor = executor(&gpu, 1, &rules);
        let frame = Frame::noise(of, 8, 5);
        let [luma, chroma] = &frame.upload(&gpu);
        for encoding in ENCODINGS {
            let want = Batch::prepare(&[frame.picture(encoding)], &rules).unwrap();
            let read = read_as(encoding);
            let views = [(luma, read), (chroma, TextureRead::default())];
            let input = executor.texture_input(&gpu.device, &views).unwrap();
            let got = pixels_of(&gpu, &executor, &input);
            assert_pixels(&format!("{encoding:?} {of:?}"), want.rgba(), &got);
        }
    }
}

/// The conversion above could be as wrong as the shader's.
#[test]
fn known_codes_are_known_colours() {
    let gpu = gpu();
    let executor = executor(&gpu, 1, &rules([32, 32], Resize::Squash));
    for (encoding, codes, want) in [
        (Encoding::Bt601, [16, 128, 128], [0, 0, 0]),
        (Encoding::Bt601, [235, 128, 128], [255, 255, 255]),
        (Encoding::Bt601, [81, 90, 240], [254, 0, 0]),
        (Encoding::Bt601Full, [76, 85, 255], [254, 0, 0]),
        (Encoding::Bt601Full, [200, 128, 128], [200, 200, 200]),
        (Encoding::Bt709, [16, 128, 128], [0, 0, 0]),
        (Encoding::Bt709, [235, 128, 128], [255, 255, 255]),
        (Encoding::Bt709, [63, 102, 240], [255, 1, 0]),
        (Encoding::Bt709, [32, 240, 118], [0, 0, 255]),
        (Encoding::Bt709Full, [54, 99, 255], [254, 0, 0]),
    ] {
        let [luma, chroma] = &Frame::flat(codes).upload(&gpu);
        let read = read_as(encoding);
        let views = [(luma, read), (chroma, read)];
        let input = executor.texture_input(&gpu.device, &views).unwrap();
        let got = pixels_of(&gpu, &executor, &input);
        for pixel in got.chunks(4) {
            let near = pixel.iter().zip(want).all(|(a, b)| a.abs_diff(b) <= 1);
            assert!(near, "{encoding:?} {codes:?}: {pixel:?} for {want:?}");
        }
    }
}

/// Codes of ten bits in the upper bits of 16, as in P010, where the device has such textures.
#[test]
fn video_of_ten_bits_is_read_too() {
    let name = gpu().info.name;
    let adapters = pollster::block_on(Adapters::enumerate(wgpu::Backends::from_env()));
    let mut adapters = adapters.all().iter();
    let adapter = adapters.find(|a| a.get_info().name == name).unwrap();
    let sixteen_bits = wgpu::Features::TEXTURE_FORMAT_16BIT_NORM;
    if !adapter.features().contains(sixteen_bits) {
        eprintln!("{name} has no textures of 16 bits");
        return;
    }
    let device = adapter.request_device(&wgpu::DeviceDescriptor {
        required_features: sixteen_bits,
        ..Default::default()
    });
    let (device, queue) = pollster::block_on(device).unwrap();
    let gpu = Context::of(device, queue);
    let rules = rules([33, 40], Resize::Squash);
    let executor = executor(&gpu, 1, &rules);
    let frame = Frame::noise([33, 40], 10, 6);
    let [luma, chroma] = &frame.upload(&gpu);
    for encoding in ENCODINGS {
        let want = Batch::prepare(&[frame.picture(encoding)], &rules).unwrap();
        let read = read_as(encoding);
        let views = [(luma, read), (chroma, read)];
        let input = executor.texture_input(&gpu.device, &views).unwrap();
        let got = pixels_of(&gpu, &executor, &input);
        assert_pixels(&format!("{encoding:?}"), want.rgba(), &got);
    }
}

#[test]
fn parts_of_video_move_and_its_frames_follow_each_other() {
    let gpu = gpu();
    let rules = rules([32, 33], Resize::Cover([36, 36]));
    let executor = executor(&gpu, 2, &rules);
    let encoding = Encoding::Bt709;
    let [still, first, second] = [7, 8, 9].map(|seed| Frame::noise([61, 75], 8, seed));
    let still = still.picture(encoding);
    let still_view = &uploaded(&gpu, &still);
    let [first_views, second_views] = [&first, &second].map(|frame| frame.upload(&gpu));
    let rect = |[left, top, width, height]: [u32; 4]| TextureRect {
        left,
        top,
        width,
        height,
    };
    for bottom_up in [false, true] {
        let mut read = read_as(encoding);
        if bottom_up {
            read.origin = Origin::BottomLeft;
        }
        let plain = TextureRead::default();
        let [luma, chroma] = &first_views;
        // A picture and a video in one batch.
        let views = [(still_view, plain), (luma, read), (chroma, read)];
        let input = executor.texture_input(&gpu.device, &views).unwrap();
        let [luma, chroma] = &second_views;
        let views = [still_view, luma, chroma];
        let next = input.with_views(&gpu.device, &executor, &views).unwrap();
        for place in [
            [0, 0, 75, 61],
            [3, 4, 33, 32],
            [74, 60, 1, 1],
            [5, 1, 2, 59],
        ] {
            input.set_rect(&gpu.queue, 1, rect(place)).unwrap();
            for (frame, input) in [(&first, &input), (&second, &next)] {
                let part = part(&frame.picture(encoding), place, bottom_up);
                let want = Batch::prepare(&[still.clone(), part], &rules).unwrap();
                let got = pixels_of(&gpu, &executor, input);
                assert_pixels(&format!("{place:?} {bottom_up}"), want.rgba(), &got);
            }
        }
    }
}

/// A part of a picture, possibly turned over.
fn part(picture: &Picture, [left, top, width, height]: [u32; 4], bottom_up: bool) -> Picture {
    let [left, top, width, height] = [left, top, width, height].map(|side| side as usize);
    let rows = picture.rgb().chunks(picture.size()[1] * 3);
    let rows = rows.skip(top).take(height);
    let mut rows: Vec<&[u8]> = rows.map(|row| &row[left * 3..][..width * 3]).collect();
    if bottom_up {
        rows.reverse();
    }
    Picture::new(height, width, rows.concat()).unwrap()
}

#[test]
fn cr_may_precede_cb() {
    let gpu = gpu();
    let rules = rules([33, 40], Resize::Squash);
    let executor = executor(&gpu, 1, &rules);
    let mut frame = Frame::noise([33, 40], 8, 10);
    let want = Batch::prepare(&[frame.picture(Encoding::Bt601)], &rules).unwrap();
    for pair in &mut frame.chroma {
        pair.reverse();
    }
    let [luma, chroma] = &frame.upload(&gpu);
    let mut read = read_as(Encoding::Bt601);
    read.channels = ChannelOrder::Bgr;
    let views = [(luma, read), (chroma, read)];
    let input = executor.texture_input(&gpu.device, &views).unwrap();
    let got = pixels_of(&gpu, &executor, &input);
    assert_pixels("NV21", want.rgba(), &got);
}

/// I420, and with the planes in the other order YV12; a picture follows it in the batch.
#[test]
fn chroma_may_be_in_two_textures() {
    let gpu = gpu();
    let still = Frame::noise([20, 31], 8, 2).picture(Encoding::Bt601);
    let still_view = &uploaded(&gpu, &still);
    for (size, of) in [([33, 40], [33, 40]), ([32, 32], [83, 67])] {
        let rules = rules(size, Resize::Squash);
        let executor = executor(&gpu, 2, &rules);
        let frames = [3, 4].map(|seed| Frame::noise(of, 8, seed));
        for encoding in ENCODINGS {
            let read = read_as(encoding);
            let mut swapped = read;
            swapped.channels = ChannelOrder::Bgr;
            let [first, second] = frames.each_ref().map(|frame| frame.upload_apart(&gpu));
            let plain = TextureRead::default();
            let views = |[luma, cb, cr]: &[wgpu::TextureView; 3]| {
                [luma, cb, cr, still_view].map(wgpu::TextureView::clone)
            };
            let [luma, cb, cr, still_view] = &views(&first);
            let in_order = [(luma, read), (cb, plain), (cr, plain), (still_view, plain)];
            let input = executor.texture_input(&gpu.device, &in_order).unwrap();
            let in_order = views(&second);
            let in_order = in_order.each_ref();
            let next = input.with_views(&gpu.device, &executor, &in_order).unwrap();
            let other = [
                (luma, swapped),
                (cr, plain),
                (cb, plain),
                (still_view, plain),
            ];
            let other = executor.texture_input(&gpu.device, &other).unwrap();
            for (what, frame, input) in [
                ("I420", &frames[0], &input),
                ("the next frame", &frames[1], &next),
                ("YV12", &frames[0], &other),
            ] {
                let pictures = [frame.picture(encoding), still.clone()];
                let want = Batch::prepare(&pictures, &rules).unwrap();
                let got = pixels_of(&gpu, &executor, input);
                assert_pixels(&format!("{what} {encoding:?} {of:?}"), want.rgba(), &got);
            }
        }
    }
}

/// Where the adapter has such textures. wgpu cannot fill them, only a decoder can: what is tested is that both planes
/// are bound, and that whatever does not fit is an error.
#[test]
fn both_planes_of_one_texture_are_read() {
    let name = gpu().info.name;
    let adapters = pollster::block_on(Adapters::enumerate(wgpu::Backends::from_env()));
    let mut adapters = adapters.all().iter();
    let adapter = adapters.find(|a| a.get_info().name == name).unwrap();
    for (format, feature) in [
        (F::NV12, wgpu::Features::TEXTURE_FORMAT_NV12),
        (F::P010, wgpu::Features::TEXTURE_FORMAT_P010),
    ] {
        if !adapter.features().contains(feature) {
            eprintln!("{name} has no textures of the format {format:?}");
            continue;
        }
        for sixteen_bits in [
            wgpu::Features::TEXTURE_FORMAT_16BIT_NORM,
            wgpu::Features::empty(),
        ] {
            let device = adapter.request_device(&wgpu::DeviceDescriptor {
                required_features: feature | (sixteen_bits & adapter.features()),
                ..Default::default()
            });
            let (device, queue) = pollster::block_on(device).unwrap();
            let gpu = Context::of(device, queue);
            let executor = executor(&gpu, 1, &rules([32, 32], Resize::Squash));
            let texture = two_planes(&gpu, format);
            let view = &texture.create_view(&wgpu::TextureViewDescriptor {
                aspect: wgpu::TextureAspect::Plane0,
                ..Default::default()
            });
            let refused = |read| {
                let error = executor
                    .texture_input(&gpu.device, &[(view, read)])
                    .unwrap_err();
                assert!(matches!(error, Error::Texture { .. }), "{error:?}");
                error.to_string()
            };
            assert!(refused(TextureRead::default()).contains("Encoding::Bt709"));
            let mut read = read_as(Encoding::Bt709);
            if format == F::P010 && !gpu.device.features().contains(sixteen_bits) {
                assert!(refused(read).contains("TEXTURE_FORMAT_16BIT_NORM"));
                continue;
            }
            let input = executor
                .texture_input(&gpu.device, &[(view, read)])
                .unwrap();
            input.with_views(&gpu.device, &executor, &[view]).unwrap();
            assert_eq!(pixels_of(&gpu, &executor, &input).len(), 32 * 32 * 4);
            read.mip_level = 1;
            assert!(refused(read).contains("no mip level 1"));
        }
    }
}

/// 40×34 pixels whose brightness and colours are planes of one texture.
fn two_planes(gpu: &Context, format: wgpu::TextureFormat) -> wgpu::Texture {
    gpu.device.create_texture(&wgpu::TextureDescriptor {
        label: Some("planes"),
        size: wgpu::Extent3d {
            width: 40,
            height: 34,
            depth_or_array_layers: 1,
        },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format,
        usage: U::TEXTURE_BINDING,
        view_formats: &[],
    })
}

/// A host that has not asked for the feature has a texture that is none.
#[test]
fn planes_that_the_device_does_not_have_are_refused() {
    let gpu = gpu();
    let executor = executor(&gpu, 1, &rules([32, 32], Resize::Squash));
    for (format, feature) in [
        (F::NV12, "TEXTURE_FORMAT_NV12"),
        (F::P010, "TEXTURE_FORMAT_P010"),
    ] {
        let scope = gpu.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let texture = two_planes(&gpu, format);
        let view = &texture.create_view(&wgpu::TextureViewDescriptor::default());
        assert!(pollster::block_on(scope.pop()).is_some(), "not asked for");
        for (read, says) in [
            (TextureRead::default(), "Encoding::Bt709"),
            (read_as(Encoding::Bt709), feature),
        ] {
            let error = executor.texture_input(&gpu.device, &[(view, read)]);
            let error = error.unwrap_err();
            assert!(matches!(error, Error::Texture { .. }), "{error:?}");
            assert!(error.to_string().contains(says), "{error} lacks {says}");
        }
    }
}

#[test]
fn pairs_that_do_not_belong_together_are_errors() {
    let gpu = gpu();
    let executor = executor(&gpu, 1, &rules([32, 32], Resize::Squash));
    let view = |size, format| {
        let texture = texture(&gpu, size, format);
        texture.create_view(&wgpu::TextureViewDescriptor::default())
    };
    let luma = &view([9, 12], F::R8Unorm);
    let chroma = &view([5, 6], F::Rg8Unorm);
    let cb = &view([5, 6], F::R8Unorm);
    let read = read_as(Encoding::Bt709);
    let mut bright = read;
    bright.exposure = Some(1.0);
    let rgba = &view([9, 12], F::Rgba8Unorm);
    let cases: &[(&[(&wgpu::TextureView, TextureRead)], &str)] = &[
        (&[(luma, read)], "has no chroma"),
        (
            &[(rgba, read), (chroma, read)],
            "none of [R8Unorm, R16Unorm]",
        ),
        (&[(luma, read), (luma, read)], "needs 3 views"),
        (&[(luma, read), (rgba, read)], "none of [Rg8Unorm]"),
        (
            &[(luma, read), (cb, read), (chroma, read)],
            "none of [R8Unorm]",
        ),
        (&[(luma, read), (cb, read), (luma, read)], "[5, 6]"),
        (
            &[(luma, read), (&view([9, 12], F::Rg8Unorm), read)],
            "[5, 6]",
        ),
        (
            &[(luma, read), (&view([4, 6], F::Rg8Unorm), read)],
            "[5, 6]",
        ),
        (&[(luma, bright), (chroma, read)], "leave it out"),
    ];
    for (views, says) in cases {
        let error = executor.texture_input(&gpu.device, views).unwrap_err();
        assert!(matches!(error, Error::Texture { .. }), "{error:?}");
        assert!(error.to_string().contains(says), "{error} lacks {says}");
    }
    let twice = [(luma, read), (chroma, read), (luma, read), (chroma, read)];
    let error = executor.texture_input(&gpu.device, &twice).unwrap_err();
    assert!(matches!(error, Error::Input { .. }), "{error:?}");

    let input = executor.texture_input(&gpu.device, &twice[..2]).unwrap();
    let with = |views: &[&wgpu::TextureView]| input.with_views(&gpu.device, &executor, views);
    let error = with(&[luma]).unwrap_err();
    assert!(matches!(error, Error::Recording { .. }), "{error:?}");
    for bad in [
        [luma, &view([5, 7], F::Rg8Unorm)],
        [luma, luma],
        [chroma, luma],
    ] {
        let error = with(&bad).unwrap_err();
        assert!(matches!(error, Error::Texture { .. }), "{error:?}");
    }
    with(&[luma, chroma]).unwrap();
}

#[test]
fn a_classifier_takes_video_as_it_takes_pictures() {
    let gpu = gpu();
    let options = options(1, [32, 32]);
    let network = Arch::ResNet18.random(3, &options).unwrap();
    let builder = Classifier::builder(&network).model(options);
    let mut classifier = builder.build(&gpu).unwrap();
    let picture = &uploaded(&gpu, &Frame::noise([50, 40], 8, 1).picture(Encoding::Bt709));
    let colors = classifier.prewarm(&[(picture, TextureRead::default())]);
    let (_, pipelines) = colors.unwrap().progress();
    let mut look = |views: &[(&wgpu::TextureView, TextureRead)]| {
        // The pipelines of a run on such views, in a frame before it.
        let descriptor = wgpu::CommandEncoderDescriptor::default();
        let mut encoder = gpu.device.create_command_encoder(&descriptor);
        let mut warming = classifier.prewarm(views).unwrap();
        assert_eq!(
            warming.progress(),
            (0, pipelines),
            "one for each kind of input"
        );
        assert!(warming.record(&mut encoder, usize::MAX), "all");
        gpu.queue.submit([encoder.finish()]);
        let descriptor = wgpu::CommandEncoderDescriptor::default();
        let mut encoder = gpu.device.create_command_encoder(&descriptor);
        classifier.record_views(&mut encoder, views).unwrap();
        finish(&gpu, encoder);
        classifier.poll().unwrap().unwrap().guesses.remove(0)
    };
    let frames = [1, 2, 3, 4, 5, 6].map(|seed| Frame::noise([50, 40], 8, seed));
    let frames = frames.map(|frame| (frame.upload(&gpu), frame));
    for encoding in [Encoding::Bt601, Encoding::Bt709Full] {
        // Twice, to come back to views that were forgotten, and to some that were not.
        for ([luma, chroma], frame) in frames.iter().chain(&frames[2..]) {
            let read = read_as(encoding);
            let got = look(&[(luma, read), (chroma, read)]);
            let [luma, cb, cr] = &frame.upload_apart(&gpu);
            let apart = look(&[(luma, read), (cb, read), (cr, read)]);
            assert_eq!(apart, got, "in three planes");
            let picture = uploaded(&gpu, &frame.picture(encoding));
            let want = look(&[(&picture, TextureRead::default())]);
            assert_eq!(got[0].class, want[0].class, "{encoding:?}");
            let off = got[0].probability - want[0].probability;
            assert!(off.abs() < 0.01, "{got:?} for {want:?}");
        }
    }
}

/// Prints how long it takes to read a large frame as colours and as video.
#[test]
#[ignore = "for measurements"]
fn time_of_a_frame() {
    let gpu = gpu();
    let rules = rules([224, 224], Resize::Cover([256, 256]));
    let executor = executor(&gpu, 1, &rules);
    let frame = Frame::noise([1080, 1920], 8, 1);
    let [luma, chroma] = &frame.upload(&gpu);
    let picture = &uploaded(&gpu, &frame.picture(Encoding::Bt709));
    let read = read_as(Encoding::Bt709);
    let colors = [(picture, TextureRead::default())];
    let colors = executor.texture_input(&gpu.device, &colors).unwrap();
    let video = [(luma, read), (chroma, read)];
    let video = executor.texture_input(&gpu.device, &video).unwrap();
    let uploaded = Input::uploaded();
    for _ in 0..3 {
        for (what, input) in [
            ("no texture", &uploaded),
            ("colours", &colors),
            ("video", &video),
        ] {
            let mut times: Vec<f64> = (0..9)
                .map(|_| {
                    let start = Instant::now();
                    let descriptor = wgpu::CommandEncoderDescriptor::default();
                    let mut encoder = gpu.device.create_command_encoder(&descriptor);
                    executor
                        .record(&mut encoder, input, &Output::kept())
                        .unwrap();
                    finish(&gpu, encoder);
                    start.elapsed().as_secs_f64() * 1e3
                })
                .collect();
            times.sort_by(f64::total_cmp);
            eprintln!("{what}: {:.1} ms (least {:.1})", times[4], times[0]);
        }
    }
}
