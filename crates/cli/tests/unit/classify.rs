//! Tests of `classify.rs` that need its private parts. They need an adapter.

use clap::Parser;
use resnet_run::Device;
use resnet_wgpu::picture::Reader;

use super::*;
use crate::args::{Cli, Command};

#[test]
fn a_device_that_is_lost_in_between_leaves_the_rest_to_the_cpu() {
    let image = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/torus.png");
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().to_str().expect("text");
    let args = ["resnet", "classify", "-q", "--cache-dir", cache, image];
    let Command::Classify(args) = Cli::parse_from(args).command else {
        panic!("it is `classify`");
    };
    let mut images = Images::find(&args.images, true);
    let job = Job::new(&args, true, &mut images).expect("a job");
    let batch = Reader::default().prepare_file(image.as_ref(), &job.rules);
    let batch = batch.expect("an image");
    let answer = || {
        let outputs = job.answering.answer(&batch).expect("answered");
        job.guesses(&[image.into()], &outputs.expect("of this size"))
            .expect("guessed")
    };
    let before = answer();
    match &job.answering.state().device {
        Device::Gpu(gpu) => gpu.context.device.destroy(),
        Device::Cpu => panic!("an adapter is needed"),
    }
    // Those whose batches were under way are lost together.
    let after = std::thread::scope(|scope| {
        let both = [scope.spawn(answer), scope.spawn(answer)];
        both.map(|answer| answer.join().expect("answered"))
    });
    let device = job.answering.state().device.info();
    assert_eq!(device.backend, "cpu", "it goes on there");
    let best = |answers: &[Answer]| {
        let best = &answers[0].top[0];
        (best.class, (best.probability * 1e3).round())
    };
    for after in &after {
        assert_eq!(best(&before), best(after));
    }
}
