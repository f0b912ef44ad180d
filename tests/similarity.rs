//! The nearest vectors of a collection. Needs an adapter.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Instant;

use common::{Numbers, bytes_after, finish, gpu, reference};
use resnet_wgpu::Error;
use resnet_wgpu::gpu::{Context, Executor, Input, Output, Similarity};
use resnet_wgpu::graph::Graph;
use resnet_wgpu::internals::gpu::Adapters;
use resnet_wgpu::internals::graph::{GlobalAvgPool, Op};
use resnet_wgpu::plan::{Capabilities, Plan, PlanOptions};
use resnet_wgpu::tensor::{Shape, Tensor};
use resnet_wgpu::wgpu;

/// Waits for a search as a host does not.
fn search(gpu: &Context, vectors: &Similarity, query: &[f32]) -> Vec<(usize, f32)> {
    gpu.queue
        .write_buffer(vectors.query(), 0, bytemuck::cast_slice(query));
    let descriptor = wgpu::CommandEncoderDescriptor::default();
    let mut encoder = gpu.device.create_command_encoder(&descriptor);
    assert!(vectors.record(&mut encoder), "there is room");
    assert!(vectors.poll().unwrap().is_none(), "nothing polls");
    finish(gpu, encoder);
    vectors.poll().unwrap().unwrap()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(&a, &b)| f64::from(a) * f64::from(b))
            .sum()
    };
    let lengths = dot(a, a).sqrt() * dot(b, b).sqrt();
    if lengths > 0.0 {
        dot(a, b) / lengths
    } else {
        0.0
    }
}

/// Another device of the adapter, with these limits.
fn limited(limits: wgpu::Limits) -> Context {
    let name = gpu().info.name;
    let adapters = pollster::block_on(Adapters::enumerate(wgpu::Backends::from_env()));
    let mut adapters = adapters.all().iter();
    let adapter = adapters.find(|a| a.get_info().name == name).unwrap();
    let device = adapter.request_device(&wgpu::DeviceDescriptor {
        required_limits: limits,
        ..Default::default()
    });
    let (device, queue) = pollster::block_on(device).unwrap();
    Context::of(device, queue)
}

/// The adapter's device, on which the vectors of a software adapter lie in textures, and one whose textures are too
/// small for them, so that they lie in buffers as everywhere else.
fn devices() -> [Context; 2] {
    let small = wgpu::Limits {
        max_texture_dimension_2d: 512,
        ..wgpu::Limits::default()
    };
    [gpu(), limited(small)]
}

#[test]
fn the_nearest_vectors_are_those_with_the_largest_cosine() {
    for gpu in devices() {
        the_nearest_are_found(&gpu);
    }
}

fn the_nearest_are_found(gpu: &Context) {
    // The longest ones need more than one row of texels.
    for (rows, width) in [(1, 1), (3, 5), (9, 64), (130, 67), (1000, 512), (70, 4101)] {
        let mut numbers = Numbers::new(1);
        let mut vectors = numbers.tensor(&[rows, width]).data().to_vec();
        if rows > 4 {
            // One without a direction, and one that is far away but in the same direction.
            vectors[width..2 * width].fill(0.0);
            for i in 0..width {
                vectors[2 * width + i] = vectors[3 * width + i] * 1e12;
            }
        }
        let collection =
            Similarity::new(&gpu.device, &gpu.queue, width, &vectors, rows + 1).unwrap();
        let query = numbers.tensor(&[width]);
        let got = search(gpu, &collection, query.data());
        assert_eq!(got.len(), rows, "all of them");
        assert!(got.windows(2).all(|w| w[0].1 >= w[1].1), "in order");
        for &(row, score) in &got {
            let want = cosine(&vectors[row * width..][..width], query.data());
            let what = format!("row {row} of {rows}x{width}");
            assert!(
                (f64::from(score) - want).abs() < 1e-5,
                "{what}: {score} for {want}"
            );
        }
        let same = &vectors[(rows - 1) * width..];
        let (nearest, score) = search(gpu, &collection, same)[0];
        assert_eq!(nearest, rows - 1, "itself");
        assert!((1.0 - 1e-5..=1.0).contains(&score), "{score}");
    }
}

/// As few or as many as are asked for, and of equal ones the first, whatever the number of rows.
#[test]
fn the_best_are_found_among_many_and_equal_ones() {
    let gpu = gpu();
    let mut numbers = Numbers::new(4);
    // A few directions, so that many rows are equally similar; in one case all of them.
    let directions = [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0], [0.0, 0.0]];
    let query = [2.0, 0.5];
    for (rows, kinds) in [
        (1, 5),
        (7, 5),
        (255, 5),
        (1025, 5),
        (70_001, 5),
        (66_000, 1),
    ] {
        let kinds: Vec<usize> = (0..rows)
            .map(|_| {
                let number = f64::from(numbers.scalar()) / 2.0 + 0.5;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "an index"
                )]
                let kind = (number * f64::from(kinds)) as usize;
                kind.min(4)
            })
            .collect();
        let vectors: Vec<f32> = kinds.iter().flat_map(|&kind| directions[kind]).collect();
        let mut want: Vec<usize> = (0..rows).collect();
        let score = |row: &usize| cosine(&directions[kinds[*row]], &query);
        want.sort_by(|a, b| score(b).total_cmp(&score(a)).then(a.cmp(b)));
        for k in [0, 1, 2, 10, 255, 256, 257, 60_000, rows] {
            let collection = Similarity::new(&gpu.device, &gpu.queue, 2, &vectors, k).unwrap();
            let got = search(&gpu, &collection, &query);
            let got: Vec<usize> = got.iter().map(|&(row, _)| row).collect();
            assert!(got == want[..k.min(rows)], "{k} of {rows}");
        }
    }
}

#[test]
fn a_cosine_is_never_beyond_1_and_vectors_without_a_direction_have_none() {
    for gpu in devices() {
        cosines_are_at_most_1(&gpu);
    }
}

fn cosines_are_at_most_1(gpu: &Context) {
    let width = 2048;
    let mut numbers = Numbers::new(5);
    let mut vectors = numbers.tensor(&[40, width]).data().to_vec();
    let row = |row: usize| row * width..(row + 1) * width;
    // Lengths whose squares are no number of 32 bits.
    for (from, scale) in [(0, 1e30), (1, 1e-30)] {
        vectors[row(from)].iter_mut().for_each(|x| *x *= scale);
    }
    vectors[row(2)].fill(0.0);
    vectors[row(3)][7] = f32::NAN;
    vectors[row(4)][8] = f32::INFINITY;
    vectors[row(5)].fill(1e-42);
    let collection = Similarity::new(&gpu.device, &gpu.queue, width, &vectors, 40).unwrap();
    for query in 0..40 {
        let query_vector = &vectors[row(query)];
        let got = search(gpu, &collection, query_vector);
        assert!(got.iter().all(|(_, score)| score.abs() <= 1.0), "{got:?}");
        if (2..6).contains(&query) {
            let want: Vec<(usize, f32)> = (0..40).map(|row| (row, 0.0)).collect();
            assert_eq!(got, want, "{query} points nowhere");
        } else {
            let (nearest, score) = got[0];
            assert_eq!(nearest, query, "itself");
            assert!(score > 1.0 - 1e-5, "{score}");
            let of = |row: usize| got.iter().find(|(r, _)| *r == row).unwrap().1;
            assert_eq!([2, 3, 4, 5].map(of), [0.0; 4], "those point nowhere");
        }
    }
}

/// Larger than a binding or a texture may be: in parts, of which the best of all are found.
#[test]
fn a_collection_in_parts_is_searched_as_a_whole() {
    // 255 of these rows fit into a binding.
    let in_buffers = limited(wgpu::Limits {
        max_storage_buffer_binding_size: 1 << 16,
        max_texture_dimension_2d: 512,
        ..wgpu::Limits::default()
    });
    parts_are_a_whole(&in_buffers, [900, 64]);
    // 512 of these rows fit into a texture, in eight blocks.
    let in_textures = limited(wgpu::Limits {
        max_texture_dimension_2d: 1024,
        ..wgpu::Limits::default()
    });
    parts_are_a_whole(&in_textures, [900, 8000]);
}

fn parts_are_a_whole(gpu: &Context, [rows, width]: [usize; 2]) {
    let some = Numbers::new(6).tensor(&[100, width]);
    let vectors = some.data().repeat(rows / 100);
    let collection = Similarity::new(&gpu.device, &gpu.queue, width, &vectors, 50).unwrap();
    let query = &vectors[17 * width..18 * width];
    let got = search(gpu, &collection, query);
    let equal: Vec<usize> = got[..9].iter().map(|&(row, _)| row).collect();
    let want: Vec<usize> = (0..9).map(|repeat| repeat * 100 + 17).collect();
    assert_eq!(equal, want, "one of each repetition, in order");
}

#[test]
fn a_collection_is_whole_vectors() {
    let gpu = gpu();
    for (width, len) in [(3, 4), (3, 0), (0, 0), (0, 3), (5, 3)] {
        let error =
            Similarity::new(&gpu.device, &gpu.queue, width, &vec![1.0; len], 3).unwrap_err();
        assert!(matches!(error, Error::TensorLength { .. }), "{error:?}");
    }
}

/// Vectors of a batch that no multiple of four fills, of which one has no direction.
#[test]
fn features_divided_by_their_lengths_are_rows_in_a_buffer_of_the_host() {
    let gpu = gpu();
    let (images, channels, width) = (3, 10, 12);
    let mut graph = Graph::new();
    let shape = Shape::new(images, channels, 2, 3);
    let input = graph.input("image", shape).unwrap();
    let pool = Op::GlobalAvgPool(GlobalAvgPool);
    let features = graph.add("pool", pool, &[input]).unwrap();
    graph.mark_output(features).unwrap();
    let mut image = Numbers::new(8).tensor(&shape.dims()).data().to_vec();
    image[channels * 6..2 * channels * 6].fill(0.0);
    let image = Tensor::new(&shape.dims(), image).unwrap();
    let want = &reference(&graph, &image)[0];

    let options = PlanOptions::new(Capabilities::of(&gpu.device));
    let plan = Plan::new(&graph, &options).unwrap();
    let executor = Executor::new(&gpu.device, &gpu.queue, &plan).unwrap();
    executor.write_tensor(&gpu.queue, &image).unwrap();
    let offset = u64::from(gpu.device.limits().min_storage_buffer_offset_alignment);
    let bytes = (images * width * 4) as u64;
    let buffer = |size, usage| {
        gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage: usage | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        })
    };
    let host = buffer(offset + bytes, wgpu::BufferUsages::STORAGE);
    let unit_vectors = |buffer: &wgpu::Buffer, offset| {
        Output::builder(&executor).unit_vectors(&gpu.device, "pool", buffer, offset)
    };
    let output = unit_vectors(&host, offset).unwrap().build();
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    executor
        .record(&mut encoder, &Input::uploaded(), &output)
        .unwrap();
    let got: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes_after(&gpu, encoder, &host));
    let got = &got[usize::try_from(offset).unwrap() / 4..];
    assert_eq!(got.len(), images * width);
    for (image, got) in got.chunks(width).enumerate() {
        let want = &want.data()[image * channels..][..channels];
        let length = want.iter().map(|x| x * x).sum::<f32>().sqrt();
        let length = if image == 1 { 1.0 } else { length };
        for (want, got) in want.iter().chain(&[0.0; 2]).zip(got) {
            assert!((want / length - got).abs() < 1e-6, "{image}: {got}");
        }
    }

    let small = buffer(offset + bytes - 4, wgpu::BufferUsages::STORAGE);
    let of_another_usage = buffer(offset + bytes, wgpu::BufferUsages::COPY_DST);
    for (buffer, offset, want) in [
        (&small, offset, "the buffer has 140"),
        (&of_another_usage, offset, "lacks the usage STORAGE"),
        (&host, offset / 2, "is not a multiple of"),
    ] {
        let error = unit_vectors(buffer, offset).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    }
}

/// Prints the time beside that of reading the vectors once: the memory bound.
#[test]
#[ignore = "takes memory; for measurements"]
fn time_of_a_search() {
    let gpu = gpu();
    // Of the short ones nearly all of the time is the search for the best.
    for width in [4, 2048] {
        time_of(&gpu, 100_000, width);
    }
}

fn time_of(gpu: &Context, rows: usize, width: usize) {
    let vectors = Numbers::new(2)
        .tensor(&[1000, width])
        .data()
        .repeat(rows / 1000);
    let collection = Similarity::new(&gpu.device, &gpu.queue, width, &vectors, 10).unwrap();
    let query = vectors[..width].to_vec();
    let times: Vec<f64> = (0..5)
        .map(|_| {
            let start = Instant::now();
            search(gpu, &collection, &query);
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    // The memory bound: all cores read the vectors, as lavapipe's threads do.
    let threads = std::thread::available_parallelism().unwrap().get();
    let read = || {
        let start = Instant::now();
        let sum: f32 = std::thread::scope(|scope| {
            let parts = vectors.chunks(vectors.len().div_ceil(threads));
            let sums = parts.map(|part| scope.spawn(|| lanes(part)));
            let sums: Vec<_> = sums.collect();
            sums.into_iter().map(|sum| sum.join().unwrap()).sum()
        });
        (start.elapsed().as_secs_f64() * 1e3, sum)
    };
    let reads: Vec<(f64, f32)> = (0..5).map(|_| read()).collect();
    let gigabytes = vectors.len() as f64 * 4e-9;
    eprintln!(
        "{rows}x{width}, {gigabytes:.3} GB: {times:.0?} ms; {threads} threads read it: {reads:.0?} ms"
    );
}

/// A sum in as many lanes as keep the memory busy.
fn lanes(numbers: &[f32]) -> f32 {
    let mut sums = [0.0f32; 64];
    for part in numbers.as_chunks::<64>().0 {
        for (sum, x) in sums.iter_mut().zip(part) {
            *sum += x;
        }
    }
    sums.iter().sum()
}
