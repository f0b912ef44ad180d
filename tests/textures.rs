//! The host's textures as inputs and outputs. Needs an adapter.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Numbers, bytes_after, gpu, paths, reference};
use half::f16;
use resnet_wgpu::Error;
use resnet_wgpu::gpu::{
    Colors, Context, Encoding, Executor, HeatMap, Input, Origin, Output, Readback, TextureRead,
    TextureRect,
};
use resnet_wgpu::graph::Graph;
use resnet_wgpu::internals::graph::{Conv2d, GlobalAvgPool, Op};
use resnet_wgpu::internals::reference::heat_map;
use resnet_wgpu::picture::{Batch, Picture};
use resnet_wgpu::picture::{ChannelOrder, Crop, Filter, Preprocess, Resize};
use resnet_wgpu::plan::{Capabilities, InputFormat, KernelPath, Plan, PlanOptions};
use resnet_wgpu::tensor::{Shape, Tensor};
use resnet_wgpu::wgpu::{self, TextureFormat as F, TextureUsages as U};

/// A value with some of its fields changed.
fn with<T>(mut value: T, change: impl FnOnce(&mut T)) -> T {
    change(&mut value);
    value
}

/// A part of a texture.
fn part_of(read: TextureRead, rect: TextureRect) -> TextureRead {
    with(read, |read| read.rect = Some(rect))
}

/// A network's preprocessing: not square, cropped, blue first.
fn rules() -> Preprocess {
    let mut rules = Preprocess::NOTEBOOK;
    rules.size = [9, 14];
    rules.resize = Resize::Cover([11, 15]);
    rules.filter = Filter::Bilinear;
    rules.crop = Crop::Round;
    rules.mean = [0.5, 0.25, 0.125];
    rules.std = [0.5, 0.25, 1.0];
    rules.channels = ChannelOrder::Bgr;
    rules
}

/// A convolution over images of the rules' size: `conv`, and the map of its only channel, `map`.
fn network(batch: usize, [h, w]: [usize; 2]) -> Graph {
    let mut graph = Graph::new();
    let input = graph.input("image", Shape::new(batch, 3, h, w)).unwrap();
    let weight = graph.param("weight", Numbers::new(1).tensor(&[5, 3, 3, 3]));
    let conv = Conv2d::new(weight).padding(1).stride(2);
    let x = graph.add("conv", Op::Conv2d(conv), &[input]).unwrap();
    let weight = graph.param("map.weight", Numbers::new(2).tensor(&[1, 5, 1, 1]));
    let map = graph
        .add("map", Op::Conv2d(Conv2d::new(weight)), &[x])
        .unwrap();
    let y = graph
        .add("mean", Op::GlobalAvgPool(GlobalAvgPool), &[x])
        .unwrap();
    for output in [x, map, y] {
        graph.mark_output(output).unwrap();
    }
    graph
}

fn executor(gpu: &Context, path: KernelPath, batch: usize, rules: &Preprocess) -> Executor {
    let options = PlanOptions::new(Capabilities::of(&gpu.device))
        .input(InputFormat::Rgba8(*rules))
        .path(path);
    let plan = Plan::new(&network(batch, rules.size), &options).unwrap();
    Executor::new(&gpu.device, &gpu.queue, &plan).unwrap()
}

/// Seeded noise: every pixel differs from its neighbours, so that an off-by-one error shows.
fn noise(height: usize, width: usize, seed: u64) -> Picture {
    let mut numbers = Numbers::new(seed);
    let rgb = (0..height * width * 3).map(|_| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 255"
        )]
        let byte = ((numbers.scalar() + 1.0) * 127.99) as u8;
        byte
    });
    Picture::new(height, width, rgb.collect()).unwrap()
}

fn texture(
    gpu: &Context,
    size: [usize; 2],
    format: F,
    usage: U,
    mip_level_count: u32,
) -> wgpu::Texture {
    gpu.device.create_texture(&wgpu::TextureDescriptor {
        label: Some("host"),
        size: extent(size),
        mip_level_count,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format,
        usage,
        view_formats: &[format.add_srgb_suffix(), format.remove_srgb_suffix()],
    })
}

fn extent([height, width]: [usize; 2]) -> wgpu::Extent3d {
    wgpu::Extent3d {
        width: u32::try_from(width).unwrap(),
        height: u32::try_from(height).unwrap(),
        depth_or_array_layers: 1,
    }
}

/// The bytes of a pixel in a given format.
fn pixel(format: F, [r, g, b]: [u8; 3]) -> Vec<u8> {
    let scale = |byte: u8| f32::from(byte) / 255.0;
    match format {
        F::Rgba8Unorm | F::Rgba8UnormSrgb => vec![r, g, b, 77],
        F::Bgra8Unorm | F::Bgra8UnormSrgb => vec![b, g, r, 77],
        F::Rgba16Float => [scale(r), scale(g), scale(b), 0.3]
            .map(|x| f16::from_f32(x).to_le_bytes())
            .concat(),
        F::Rgba32Float => [scale(r), scale(g), scale(b), 0.3]
            .map(f32::to_le_bytes)
            .concat(),
        F::R8Unorm => vec![r],
        F::Rgb10a2Unorm => {
            let ten = |byte: u8| (u32::from(byte) * 1023 + 127) / 255;
            (ten(r) | ten(g) << 10 | ten(b) << 20 | 1 << 30)
                .to_le_bytes()
                .into()
        }
        F::Rg11b10Ufloat => {
            // Halves without their sign and their last bits, rounded.
            let bits = |byte: u8, cut: u32| {
                (u32::from(f16::from_f32(scale(byte)).to_bits()) + (1 << (cut - 1))) >> cut
            };
            (bits(r, 4) | bits(g, 4) << 11 | bits(b, 5) << 22)
                .to_le_bytes()
                .into()
        }
        _ => panic!("{format:?} is not tested"),
    }
}

/// Writes a picture to a mip level of a texture; `at` is the position of its top left pixel.
fn upload(gpu: &Context, texture: &wgpu::Texture, level: u32, at: [u32; 2], picture: &Picture) {
    let pixels = picture.rgb().as_chunks::<3>().0.iter();
    let bytes: Vec<u8> = pixels.flat_map(|&p| pixel(texture.format(), p)).collect();
    let size = picture.size();
    gpu.queue.write_texture(
        wgpu::TexelCopyTextureInfo {
            mip_level: level,
            origin: wgpu::Origin3d {
                x: at[1],
                y: at[0],
                z: 0,
            },
            ..texture.as_image_copy()
        },
        &bytes,
        wgpu::TexelCopyBufferLayout {
            offset: 0,
            bytes_per_row: Some(u32::try_from(bytes.len() / size[0]).unwrap()),
            rows_per_image: None,
        },
        extent(size),
    );
}

fn uploaded(gpu: &Context, picture: &Picture, format: F) -> wgpu::TextureView {
    let size = picture.size();
    let texture = texture(gpu, size, format, U::TEXTURE_BINDING | U::COPY_DST, 1);
    upload(gpu, &texture, 0, [0, 0], picture);
    texture.create_view(&wgpu::TextureViewDescriptor::default())
}

fn encoder(gpu: &Context) -> wgpu::CommandEncoder {
    gpu.device
        .create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
}

/// The pixels that the network gets from an input, as found in the executor's input buffer.
fn pixels_of(gpu: &Context, executor: &Executor, input: &Input) -> Vec<u8> {
    let mut encoder = encoder(gpu);
    executor
        .record(&mut encoder, input, &Output::kept())
        .unwrap();
    bytes_after(gpu, encoder, executor.input())
}

#[track_caller]
fn assert_pixels(what: &str, want: &Batch, got: &[u8], allowed: u8) {
    assert_eq!(want.rgba().len(), got.len(), "{what}: number of bytes");
    let worst = want.rgba().iter().zip(got).map(|(a, b)| a.abs_diff(*b));
    let worst = worst.max().unwrap();
    assert!(worst <= allowed, "{what}: off by {worst} of 255");
}

/// Every format and filter, shrinking along one axis and, where possible, growing along the other.
#[test]
fn a_texture_of_any_format_becomes_the_pixels_of_the_cpu_path() {
    let gpu = gpu();
    let picture = noise(23, 17, 3);
    let rules = rules();
    let views = [
        F::Rgba8Unorm,
        F::Bgra8Unorm,
        F::Rgba8UnormSrgb,
        F::Bgra8UnormSrgb,
        F::Rgba16Float,
        F::Rgba32Float,
    ]
    .map(|format| (format, uploaded(&gpu, &picture, format)));
    for filter in [
        Filter::Nearest,
        Filter::Box,
        Filter::Bilinear,
        Filter::Bicubic,
        Filter::Lanczos,
    ] {
        for resize in [rules.resize, Resize::Squash, Resize::Cover([40, 30])] {
            let mut rules = rules;
            rules.resize = resize;
            rules.filter = filter;
            let want = Batch::prepare(std::slice::from_ref(&picture), &rules).unwrap();
            let executor = executor(&gpu, KernelPath::Auto, 1, &rules);
            for (format, view) in &views {
                let input = executor
                    .texture_input(&gpu.device, &[(view, TextureRead::default())])
                    .unwrap();
                let got = pixels_of(&gpu, &executor, &input);
                assert_pixels(&format!("{format:?} {filter:?} {resize:?}"), &want, &got, 0);
            }
        }
    }
}

#[test]
fn packed_and_grey_formats_are_read_as_far_as_they_are_exact() {
    let gpu = gpu();
    let rules = rules();
    let executor = executor(&gpu, KernelPath::Auto, 1, &rules);
    let colours = noise(23, 17, 3);
    let rgb: Vec<u8> = colours.rgb().chunks(3).flat_map(|p| [p[0]; 3]).collect();
    let grey = Picture::new(23, 17, rgb).unwrap();
    // Six bits behind the point of red and green, five of blue.
    let cases = [
        (F::Rgb10a2Unorm, &colours, 0),
        (F::R8Unorm, &grey, 0),
        (F::Rg11b10Ufloat, &colours, 3),
    ];
    for (format, picture, allowed) in cases {
        let want = Batch::prepare(std::slice::from_ref(picture), &rules).unwrap();
        let view = uploaded(&gpu, picture, format);
        let input = executor
            .texture_input(&gpu.device, &[(&view, TextureRead::default())])
            .unwrap();
        let got = pixels_of(&gpu, &executor, &input);
        assert_pixels(&format!("{format:?}"), &want, &got, allowed);
    }
}

#[test]
fn light_without_bound_is_tone_mapped() {
    let gpu = gpu();
    let mut rules = rules();
    rules.resize = Resize::Squash;
    rules.channels = ChannelOrder::Rgb;
    let executor = executor(&gpu, KernelPath::Auto, 1, &rules);
    // Every texel is a pixel: the sizes are the same.
    let [h, w] = rules.size;
    let lights = [0.0, 0.001, 0.18, 0.5, 1.0, 4.0, 300.0, 1e30, f32::INFINITY];
    let light = |pixel: usize| lights[pixel % lights.len()];
    let usage = U::TEXTURE_BINDING | U::COPY_DST;
    let texture = texture(&gpu, rules.size, F::Rgba32Float, usage, 1);
    let texels: Vec<f32> = (0..h * w)
        .flat_map(|i| [light(i), light(i) / 2.0, f32::NAN, 1.0])
        .collect();
    let bytes_per_row = u32::try_from(w * 16).unwrap();
    gpu.queue.write_texture(
        texture.as_image_copy(),
        bytemuck::cast_slice(&texels),
        wgpu::TexelCopyBufferLayout {
            offset: 0,
            bytes_per_row: Some(bytes_per_row),
            rows_per_image: None,
        },
        extent(rules.size),
    );
    let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
    for exposure in [0.25f64, 1.0, 3.0] {
        #[expect(clippy::cast_possible_truncation, reason = "exact in 32 bits")]
        let read = with(TextureRead::default(), |read| {
            read.exposure = Some(exposure as f32);
        });
        let input = executor
            .texture_input(&gpu.device, &[(&view, read)])
            .unwrap();
        let want = |light: f32| {
            let x = (f64::from(light) * exposure).min(1e6);
            let mapped = x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14);
            let mapped = mapped.min(1.0);
            let encoded = if mapped <= 0.003_130_8 {
                mapped * 12.92
            } else {
                1.055 * mapped.powf(1.0 / 2.4) - 0.055
            };
            encoded * 255.0
        };
        let got = pixels_of(&gpu, &executor, &input);
        for (i, pixel) in got.chunks(4).enumerate() {
            let [r, g] = [light(i), light(i) / 2.0].map(want);
            let off = (f64::from(pixel[0]) - r)
                .abs()
                .max((f64::from(pixel[1]) - g).abs());
            assert!(off < 1.01, "{pixel:?} for {r} {g} at {exposure}");
            assert_eq!(pixel[2], 0, "what is no number is black");
        }
    }
}

#[test]
fn a_part_that_moves_is_the_part_that_is_read_anew() {
    let gpu = gpu();
    let read = TextureRead::default();
    let view = uploaded(&gpu, &noise(50, 70, 13), F::Rgba8Unorm);
    let rect = |[left, top, width, height]: [u32; 4]| TextureRect {
        left,
        top,
        width,
        height,
    };
    for resize in [rules().resize, Resize::Squash, Resize::Cover([40, 30])] {
        for filter in [Filter::Bicubic, Filter::Nearest] {
            let mut rules = rules();
            rules.resize = resize;
            rules.filter = filter;
            let executor = executor(&gpu, KernelPath::Auto, 2, &rules);
            let start = rect([30, 20, 15, 9]);
            let views = [(&view, part_of(read, start)), (&view, read)];
            let moving = executor.texture_input(&gpu.device, &views).unwrap();
            // From the smallest part to all of it, wide and high.
            for place in [
                [30, 20, 15, 9],
                [0, 0, 70, 50],
                [69, 49, 1, 1],
                [3, 4, 60, 2],
                [5, 1, 2, 49],
                [31, 19, 15, 9],
            ] {
                let place = rect(place);
                moving.set_rect(&gpu.queue, 0, place).unwrap();
                let views = [(&view, part_of(read, place)), (&view, read)];
                let anew = executor.texture_input(&gpu.device, &views).unwrap();
                let got = pixels_of(&gpu, &executor, &moving);
                let want = pixels_of(&gpu, &executor, &anew);
                assert!(got == want, "{resize:?} {filter:?} {place:?}");
            }
            for bad in [[0, 0, 71, 1], [0, 0, 0, 1], [u32::MAX, 0, 2, 1]] {
                let error = moving.set_rect(&gpu.queue, 0, rect(bad)).unwrap_err();
                assert!(matches!(error, Error::Texture { .. }), "{error:?}");
            }
            let error = moving.set_rect(&gpu.queue, 2, start).unwrap_err();
            assert!(matches!(error, Error::Recording { .. }), "{error:?}");
        }
    }
}

#[test]
fn a_view_of_layers_is_refused_with_what_to_do() {
    let gpu = gpu();
    let rules = rules();
    let executor = executor(&gpu, KernelPath::Auto, 1, &rules);
    let cube = gpu.device.create_texture(&wgpu::TextureDescriptor {
        label: Some("cube"),
        size: wgpu::Extent3d {
            depth_or_array_layers: 6,
            ..extent([8, 8])
        },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: F::Rgba8Unorm,
        usage: U::TEXTURE_BINDING,
        view_formats: &[],
    });
    let view = |dimension, count| {
        cube.create_view(&wgpu::TextureViewDescriptor {
            dimension: Some(dimension),
            array_layer_count: Some(count),
            ..Default::default()
        })
    };
    let read = TextureRead::default();
    for (dimension, count) in [
        (wgpu::TextureViewDimension::D2Array, 6),
        (wgpu::TextureViewDimension::Cube, 6),
    ] {
        let view = view(dimension, count);
        let error = executor
            .texture_input(&gpu.device, &[(&view, read)])
            .unwrap_err();
        assert!(matches!(error, Error::Texture { .. }), "{error:?}");
        assert!(
            error.to_string().contains("array_layer_count: 1"),
            "{error}"
        );
    }
    let face = view(wgpu::TextureViewDimension::D2, 1);
    executor
        .texture_input(&gpu.device, &[(&face, read)])
        .unwrap();
}

/// The other parameters: an upside-down part of a mip level, with red and blue swapped, in linear
/// light.
#[test]
fn a_part_of_a_texture_is_read_as_it_is_described() {
    let gpu = gpu();
    let rules = rules();
    let executor = executor(&gpu, KernelPath::Auto, 1, &rules);
    let picture = noise(16, 13, 4);
    let want = Batch::prepare(std::slice::from_ref(&picture), &rules).unwrap();
    let [h, w] = picture.size();
    let rows = picture.rgb().chunks_exact(w * 3);

    let flipped: Vec<u8> = rows.clone().rev().flatten().copied().collect();
    let swapped: Vec<u8> = picture
        .rgb()
        .as_chunks::<3>()
        .0
        .iter()
        .flat_map(|&[r, g, b]| [b, g, r])
        .collect();
    let plain = TextureRead::default();
    let cases = [
        (
            "upside down",
            flipped,
            with(plain, |read| read.origin = Origin::BottomLeft),
        ),
        (
            "blue first",
            swapped,
            with(plain, |read| read.channels = ChannelOrder::Bgr),
        ),
        ("as it is", picture.rgb().to_vec(), plain),
    ];
    for (what, rgb, read) in cases {
        let part = Picture::new(h, w, rgb).unwrap();
        // Level 1 of 64×48 is 32×24; the rest of it is another picture.
        let format = F::Rgba8Unorm;
        let texture = texture(&gpu, [64, 48], format, U::TEXTURE_BINDING | U::COPY_DST, 2);
        upload(&gpu, &texture, 0, [0, 0], &noise(64, 48, 5));
        upload(&gpu, &texture, 1, [0, 0], &noise(32, 24, 6));
        upload(&gpu, &texture, 1, [7, 5], &part);
        let view = texture.create_view(&wgpu::TextureViewDescriptor {
            base_mip_level: 1,
            ..Default::default()
        });
        let mut read = read;
        read.mip_level = 1;
        read.rect = Some(TextureRect {
            left: 5,
            top: 7,
            width: 13,
            height: 16,
        });
        let input = executor
            .texture_input(&gpu.device, &[(&view, read)])
            .unwrap();
        assert_pixels(what, &want, &pixels_of(&gpu, &executor, &input), 0);
    }
}

/// wgpu does not tell where a view begins; what was said about it counts.
#[test]
fn the_level_that_was_said_is_read_whatever_the_view() {
    let gpu = gpu();
    let rules = rules();
    let executor = executor(&gpu, KernelPath::Auto, 1, &rules);
    let usage = U::TEXTURE_BINDING | U::COPY_DST;
    let texture = texture(&gpu, [64, 48], F::Rgba8Unorm, usage, 2);
    let levels = [noise(64, 48, 5), noise(32, 24, 6)];
    for (level, picture) in (0..).zip(&levels) {
        upload(&gpu, &texture, level, [0, 0], picture);
    }
    for begins in 0..2 {
        let view = texture.create_view(&wgpu::TextureViewDescriptor {
            base_mip_level: begins,
            ..Default::default()
        });
        for (said, picture) in (0..).zip(&levels) {
            let want = Batch::prepare(std::slice::from_ref(picture), &rules).unwrap();
            let read = with(TextureRead::default(), |read| read.mip_level = said);
            let input = executor.texture_input(&gpu.device, &[(&view, read)]);
            let pixels = pixels_of(&gpu, &executor, &input.unwrap());
            let what = format!("begins at {begins}, said to begin at {said}");
            assert_pixels(&what, &want, &pixels, 0);
        }
    }
}

#[test]
fn linear_light_is_encoded_and_an_srgb_view_can_be_read_as_it_is() {
    let gpu = gpu();
    let rules = rules();
    let executor = executor(&gpu, KernelPath::Auto, 1, &rules);
    let picture = noise(16, 13, 7);
    let want = Batch::prepare(std::slice::from_ref(&picture), &rules).unwrap();

    // A render target in linear light with 32-bit floats.
    let texture = texture(
        &gpu,
        [16, 13],
        F::Rgba32Float,
        U::TEXTURE_BINDING | U::COPY_DST,
        1,
    );
    let linear = |byte: u8| {
        let encoded = f32::from(byte) / 255.0;
        if encoded <= 0.04045 {
            encoded / 12.92
        } else {
            ((encoded + 0.055) / 1.055).powf(2.4)
        }
    };
    let texels = picture.rgb().as_chunks::<3>().0.iter();
    let texels: Vec<f32> = texels
        .flat_map(|&[r, g, b]| [linear(r), linear(g), linear(b), 1.0])
        .collect();
    gpu.queue.write_texture(
        texture.as_image_copy(),
        bytemuck::cast_slice(&texels),
        wgpu::TexelCopyBufferLayout {
            offset: 0,
            bytes_per_row: Some(13 * 16),
            rows_per_image: None,
        },
        extent([16, 13]),
    );
    let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
    let read = with(TextureRead::default(), |read| {
        read.encoding = Encoding::Linear;
    });
    let input = executor
        .texture_input(&gpu.device, &[(&view, read)])
        .unwrap();
    assert_pixels("linear", &want, &pixels_of(&gpu, &executor, &input), 0);

    // A non-sRGB view of an sRGB texture is not linearised, so it must not be encoded again.
    let srgb = uploaded(&gpu, &picture, F::Rgba8UnormSrgb);
    let view = srgb.texture().create_view(&wgpu::TextureViewDescriptor {
        format: Some(F::Rgba8Unorm),
        ..Default::default()
    });
    let read = with(TextureRead::default(), |read| {
        read.format = Some(F::Rgba8Unorm);
    });
    let input = executor
        .texture_input(&gpu.device, &[(&view, read)])
        .unwrap();
    assert_pixels("plain view", &want, &pixels_of(&gpu, &executor, &input), 0);
}

#[test]
fn a_batch_of_textures_gives_the_results_of_its_pixels_on_every_path() {
    let gpu = gpu();
    let rules = rules();
    let pictures = [noise(30, 21, 8), noise(12, 40, 9)];
    let views = [0, 1].map(|i| uploaded(&gpu, &pictures[i], F::Rgba8Unorm));
    let batch = Batch::prepare(&pictures, &rules).unwrap();
    for path in paths(&gpu) {
        let executor = executor(&gpu, path, 2, &rules);
        let readback = Readback::new(&gpu.device, &executor).unwrap();
        let run = |input: &Input| -> Vec<Tensor> {
            let mut encoder = encoder(&gpu);
            executor
                .record(&mut encoder, input, &Output::kept())
                .unwrap();
            readback.record(&mut encoder).unwrap();
            gpu.queue.submit([encoder.finish()]);
            common::read(&gpu.device, &readback)
        };
        let read = TextureRead::default();
        let input = executor
            .texture_input(&gpu.device, &[(&views[0], read), (&views[1], read)])
            .unwrap();
        let from_textures = run(&input);
        executor.write_pixels(&gpu.queue, batch.rgba()).unwrap();
        assert_eq!(from_textures, run(&Input::uploaded()), "{path}");
        assert_eq!(from_textures, run(&Input::uploaded()), "{path}, again");

        // Another view of the same size replaces the first image only.
        let other = uploaded(&gpu, &noise(30, 21, 10), F::Rgba8Unorm);
        let input = input
            .with_views(&gpu.device, &executor, &[&other, &views[1]])
            .unwrap();
        let changed = run(&input);
        let means = |outputs: &[Tensor]| outputs[2].data().to_vec();
        let (before, after) = (means(&from_textures), means(&changed));
        assert_ne!(before[..5], after[..5], "{path}: image 0");
        assert_eq!(before[5..], after[5..], "{path}: image 1");
    }
}

#[test]
fn textures_that_cannot_be_read_are_errors() {
    let gpu = gpu();
    let rules = rules();
    let executor = executor(&gpu, KernelPath::Auto, 1, &rules);
    let view_of = |format, usage| {
        let texture = texture(&gpu, [8, 8], format, usage, 1);
        texture.create_view(&wgpu::TextureViewDescriptor::default())
    };
    let good = view_of(F::Rgba8Unorm, U::TEXTURE_BINDING);
    let read = TextureRead::default();
    let part = |left, width| {
        let rect = TextureRect {
            left,
            top: 0,
            width,
            height: 8,
        };
        part_of(read, rect)
    };
    let cases = [
        (&view_of(F::Rgba8Snorm, U::TEXTURE_BINDING), read, "none of"),
        (
            &good,
            with(read, |read| read.exposure = Some(0.0)),
            "not an exposure",
        ),
        (
            &good,
            with(read, |read| read.exposure = Some(f32::NAN)),
            "not an exposure",
        ),
        (
            &view_of(F::Rgba8Unorm, U::COPY_SRC),
            read,
            "TEXTURE_BINDING",
        ),
        (&good, with(read, |read| read.mip_level = 1), "mip level 1"),
        (&good, part(4, 5), "not within"),
        (&good, part(8, 0), "is empty"),
        (&good, part(u32::MAX, 2), "not within"),
        (
            &good,
            with(read, |read| read.format = Some(F::Bgra8Unorm)),
            "cannot have the format",
        ),
    ];
    for (view, read, says) in cases {
        let error = executor
            .texture_input(&gpu.device, &[(view, read)])
            .unwrap_err();
        assert!(matches!(error, Error::Texture { .. }), "{error:?}");
        assert!(error.to_string().contains(says), "{error}");
    }
    // A batch size and an image size that differ from the plan's.
    let twice = [(&good, read), (&good, read)];
    let mut wide = rules;
    wide.size = [9, 15];
    let options = PlanOptions::new(Capabilities::of(&gpu.device));
    let options = options.input(InputFormat::Rgba8(wide));
    let plan = Plan::new(&network(1, rules.size), &options).unwrap();
    let of_another_size = Executor::new(&gpu.device, &gpu.queue, &plan).unwrap();
    for (views, executor) in [(&twice[..], &executor), (&twice[..1], &of_another_size)] {
        let error = executor.texture_input(&gpu.device, views).unwrap_err();
        assert!(matches!(error, Error::Input { .. }), "{error:?}");
    }
    let input = executor.texture_input(&gpu.device, &twice[..1]).unwrap();
    let larger = texture(&gpu, [9, 8], F::Rgba8Unorm, U::TEXTURE_BINDING, 1);
    let larger = larger.create_view(&wgpu::TextureViewDescriptor::default());
    let error = input
        .with_views(&gpu.device, &executor, &[&larger])
        .unwrap_err();
    assert!(matches!(error, Error::Texture { .. }), "{error:?}");
    let error = Input::uploaded()
        .with_views(&gpu.device, &executor, &[&good])
        .unwrap_err();
    assert!(matches!(error, Error::Recording { .. }), "{error:?}");
}

#[test]
fn a_map_is_painted_into_the_part_of_the_hosts_texture() {
    let gpu = gpu();
    let rules = rules();
    let pictures = [noise(20, 20, 11), noise(20, 20, 12)];
    let batch = Batch::prepare(&pictures, &rules).unwrap();
    let want = &reference(&network(2, rules.size), &batch.tensor())[1];
    for path in paths(&gpu) {
        let executor = executor(&gpu, path, 2, &rules);
        executor.write_pixels(&gpu.queue, batch.rgba()).unwrap();
        // Larger than the map along rows, smaller along columns.
        let size = [31, 5];
        let rect = TextureRect {
            left: 2,
            top: 1,
            width: 5,
            height: 31,
        };
        let paint = |format, image, stretch, colors| {
            let texture = texture(&gpu, [40, 64], format, U::COPY_DST | U::COPY_SRC, 1);
            let mut how = HeatMap::of("map");
            how.image = image;
            how.stretch = stretch;
            how.colors = colors;
            how.rect = Some(rect);
            let output = Output::builder(&executor)
                .heat_map(&gpu.device, &texture, &how)
                .unwrap()
                .build();
            let mut encoder = encoder(&gpu);
            executor
                .record(&mut encoder, &Input::uploaded(), &output)
                .unwrap();
            let buffer = gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("painted"),
                size: 40 * 64 * 4,
                usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            });
            encoder.copy_texture_to_buffer(
                texture.as_image_copy(),
                wgpu::TexelCopyBufferInfo {
                    buffer: &buffer,
                    layout: wgpu::TexelCopyBufferLayout {
                        offset: 0,
                        bytes_per_row: Some(64 * 4),
                        rows_per_image: None,
                    },
                },
                extent([40, 64]),
            );
            let bytes = bytes_after(&gpu, encoder, &buffer);
            move |y: usize, x: usize| -> [u8; 4] {
                bytes[(y * 64 + x) * 4..][..4].try_into().unwrap()
            }
        };
        for image in [0, 1] {
            let sites = executor.output("map").unwrap().0.sites;
            assert_eq!(
                (sites.first, sites.step),
                ([0.0; 2], [2.0; 2]),
                "3×3, stride 2"
            );
            let expected =
                [false, true].map(|stretch| heat_map(want, &sites, size, stretch).unwrap());
            let values = |stretch: bool, y: usize, x: usize| {
                expected[usize::from(stretch)].data()[(image * size[0] + y) * size[1] + x]
            };

            let raw = paint(F::R32Float, image, false, Colors::Gray);
            let stretched = paint(F::R32Float, image, true, Colors::Gray);
            let gray = paint(F::Rgba8UnormSrgb, image, true, Colors::Gray);
            let table = Box::new(std::array::from_fn(|i| {
                [u8::try_from(i).unwrap(), 7, 9, 11]
            }));
            let blue = paint(F::Bgra8Unorm, image, true, Colors::Table(table));
            for y in 0..31 {
                for x in 0..5 {
                    let what = format!("{path}, image {image}, row {y}, column {x}");
                    let value = values(false, y, x);
                    let got = f32::from_le_bytes(raw(y + 1, x + 2));
                    assert!((got - value).abs() < 1e-4, "{what}: {got} for {value}");
                    let value = values(true, y, x);
                    let got = f32::from_le_bytes(stretched(y + 1, x + 2));
                    assert!((got - value).abs() < 1e-4, "{what}: {got} for {value}");
                    let [r, g, b, a] = gray(y + 1, x + 2);
                    assert!(
                        (f32::from(r) - value.clamp(0.0, 1.0) * 255.0).abs() < 0.6,
                        "{what}: {r}"
                    );
                    assert_eq!([g, b, a], [r, r, 255], "{what}: gray");
                    assert_eq!(blue(y + 1, x + 2), [9, 7, r, 11], "{what}: blue first");
                }
            }
            assert_eq!(raw(0, 2), [0; 4], "above the rectangle");
            assert_eq!(raw(1, 1), [0; 4], "left of it");
            assert_eq!(raw(1, 7), [0; 4], "right of it");
            assert_eq!(raw(32, 2), [0; 4], "below it");
        }
    }
}

#[test]
fn textures_that_cannot_be_painted_are_errors() {
    let gpu = gpu();
    let executor = executor(&gpu, KernelPath::Auto, 1, &rules());
    let map = || HeatMap::of("map");
    let texture = |format, usage| texture(&gpu, [8, 8], format, usage, 1);
    let good = texture(F::R32Float, U::COPY_DST);
    let cases = [
        (texture(F::Rgba16Float, U::COPY_DST), map(), "Rgba16Float"),
        (texture(F::R32Float, U::COPY_SRC), map(), "COPY_DST"),
        (good.clone(), with(map(), |map| map.image = 1), "image 1"),
        (good.clone(), HeatMap::of("conv"), "'conv' is [1, 5, 5, 7]"),
        (
            good.clone(),
            with(map(), |map| {
                map.rect = Some(TextureRect {
                    left: 0,
                    top: 1,
                    width: 8,
                    height: 8,
                });
            }),
            "not within",
        ),
    ];
    for (texture, how, says) in cases {
        let error = Output::builder(&executor)
            .heat_map(&gpu.device, &texture, &how)
            .unwrap_err();
        assert!(matches!(error, Error::Texture { .. }), "{error:?}");
        assert!(error.to_string().contains(says), "{error}");
    }
    let error = Output::builder(&executor)
        .heat_map(&gpu.device, &good, &HeatMap::default())
        .unwrap_err();
    assert!(matches!(error, Error::NoRole { .. }), "{error:?}");
}
