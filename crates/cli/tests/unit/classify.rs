//! Tests of `classify.rs` that need its private parts. They need an adapter.

use clap::Parser;

use super::*;
use crate::args::{Cli, Command};

#[test]
fn a_device_that_is_lost_in_between_leaves_the_rest_to_the_cpu() {
    let image = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/torus.png");
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().to_str().expect("text");
    let args = [
        "resnet",
        "classify",
        "-q",
        "--cache-dir",
        cache,
        image,
        image,
    ];
    let Command::Classify(args) = Cli::parse_from(args).command else {
        panic!("it is `classify`");
    };
    let mut job = Job::new(&args, true).expect("a job");
    let next = |job: &mut Job<'_>| {
        let batch = job.images.next_batch(&job.rules).expect("read");
        let batch = batch.expect("there are two");
        job.answer(&batch).expect("answered")
    };
    let before = next(&mut job);
    let Device::Gpu(gpu) = &job.device else {
        panic!("an adapter is needed");
    };
    gpu.context.device.destroy();
    let after = next(&mut job);
    assert_eq!(job.device.info().backend, "cpu", "it goes on there");
    let best = |answers: &[Answer]| {
        let best = &answers[0].top[0];
        (best.class, (best.probability * 1e3).round())
    };
    assert_eq!(best(&before), best(&after));
}
