//! The nearest vectors of a collection. Needs an adapter.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Instant;

use common::{Numbers, finish, gpu};
use resnet_wgpu::Error;
use resnet_wgpu::gpu::{Context, Similarity};
use resnet_wgpu::wgpu;

/// Waits for a search as a host does not.
fn search(gpu: &Context, vectors: &Similarity, query: &[f32], k: usize) -> Vec<(usize, f32)> {
    gpu.queue
        .write_buffer(vectors.query(), 0, bytemuck::cast_slice(query));
    let descriptor = wgpu::CommandEncoderDescriptor::default();
    let mut encoder = gpu.device.create_command_encoder(&descriptor);
    assert!(vectors.record(&mut encoder), "there is room");
    assert!(vectors.poll(k).unwrap().is_none(), "nothing polls");
    finish(gpu, encoder);
    vectors.poll(k).unwrap().unwrap()
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

#[test]
fn the_nearest_vectors_are_those_with_the_largest_cosine() {
    let gpu = gpu();
    for (rows, width) in [(1, 1), (3, 5), (9, 64), (130, 67), (1000, 512)] {
        let mut numbers = Numbers::new(1);
        let mut vectors = numbers.tensor(&[rows, width]).data().to_vec();
        if rows > 4 {
            // One without a direction, and one that is far away but in the same direction.
            vectors[width..2 * width].fill(0.0);
            for i in 0..width {
                vectors[2 * width + i] = vectors[3 * width + i] * 1e12;
            }
        }
        let collection = Similarity::new(&gpu.device, width, &vectors).unwrap();
        let query = numbers.tensor(&[width]);
        let got = search(&gpu, &collection, query.data(), rows + 1);
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
        let (nearest, score) = search(&gpu, &collection, same, 1)[0];
        assert_eq!(nearest, rows - 1, "itself");
        assert!((score - 1.0).abs() < 1e-5, "{score}");
    }
}

#[test]
fn a_collection_is_whole_vectors() {
    let gpu = gpu();
    for (width, len) in [(3, 4), (3, 0), (0, 0), (0, 3), (5, 3)] {
        let error = Similarity::new(&gpu.device, width, &vec![1.0; len]).unwrap_err();
        assert!(matches!(error, Error::TensorLength { .. }), "{error:?}");
    }
}

/// Prints the time beside that of reading the vectors once: the memory bound.
#[test]
#[ignore = "takes memory; for measurements"]
fn time_of_a_search() {
    let gpu = gpu();
    let (rows, width) = (100_000, 2048);
    let vectors = Numbers::new(2)
        .tensor(&[1000, width])
        .data()
        .repeat(rows / 1000);
    let collection = Similarity::new(&gpu.device, width, &vectors).unwrap();
    let query = vectors[..width].to_vec();
    let times: Vec<f64> = (0..5)
        .map(|_| {
            let start = Instant::now();
            search(&gpu, &collection, &query, 10);
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    let start = Instant::now();
    let sum: f32 = vectors
        .chunks(1 << 16)
        .map(|part| part.iter().sum::<f32>())
        .sum();
    let read = start.elapsed().as_secs_f64() * 1e3;
    eprintln!(
        "{rows}x{width}: {times:?} ms; one thread of the CPU reads them in {read} ms ({sum})"
    );
}
