//! Mistakes that a host can make, and failures of its device: they cause errors, and never abort
//! the host. Needs an adapter.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as Waiting, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use common::{Numbers, finish, gpu};
use resnet_wgpu::Error;
use resnet_wgpu::gpu::{Context, Executor, Input, Output, Readback, Session, Slice};
use resnet_wgpu::graph::{Graph, Role};
use resnet_wgpu::internals::graph::{Linear, Op, Softmax};
use resnet_wgpu::plan::{Capabilities, Plan, PlanOptions};
use resnet_wgpu::tensor::{Shape, Tensor};
use resnet_wgpu::wgpu;

const SHAPE: Shape = Shape::new(2, 4, 1, 1);

/// A linear layer, and the probabilities of its outputs.
fn network() -> Graph {
    let mut graph = Graph::new();
    let input = graph.input("image", SHAPE).unwrap();
    let weight = graph.param("weight", Numbers::new(7).tensor(&[3, 4]));
    let linear = Op::Linear(Linear { weight, bias: None });
    let logits = graph.add("fc", linear, &[input]).unwrap();
    let softmax = graph
        .add("softmax", Op::Softmax(Softmax), &[logits])
        .unwrap();
    graph.set_role(Role::Probabilities, softmax).unwrap();
    graph.mark_output(logits).unwrap();
    graph.mark_output(softmax).unwrap();
    graph
}

fn plan(gpu: &Context) -> Plan {
    Plan::new(&network(), &PlanOptions::new(Capabilities::of(&gpu.device))).unwrap()
}

fn encoder(gpu: &Context) -> wgpu::CommandEncoder {
    let descriptor = wgpu::CommandEncoderDescriptor::default();
    gpu.device.create_command_encoder(&descriptor)
}

fn run(executor: &Executor, encoder: &mut wgpu::CommandEncoder) {
    executor
        .record(encoder, &Input::uploaded(), &Output::kept())
        .unwrap();
}

fn submit(gpu: &Context, executor: &Executor, readback: &Readback) {
    let mut encoder = encoder(gpu);
    run(executor, &mut encoder);
    readback.record(&mut encoder).unwrap();
    gpu.queue.submit([encoder.finish()]);
}

/// Awaits the results as a host does that polls its device only once.
fn results(gpu: &Context, readback: &Readback) -> Result<Vec<Tensor>, Error> {
    let mut read = pin!(readback.read());
    let mut waiting = Waiting::from_waker(Waker::noop());
    if let Poll::Ready(results) = read.as_mut().poll(&mut waiting) {
        return results.map(|(_, tensors)| tensors);
    }
    gpu.device
        .poll(wgpu::PollType::wait_indefinitely())
        .unwrap();
    match read.poll(&mut waiting) {
        Poll::Ready(results) => results.map(|(_, tensors)| tensors),
        Poll::Pending => panic!("the host has polled"),
    }
}

#[test]
fn a_read_that_is_dropped_leaves_the_results_to_the_next() {
    let gpu = gpu();
    let executor = Executor::new(&gpu.device, &gpu.queue, &plan(&gpu)).unwrap();
    let readback = Readback::new(&gpu.device, &executor).unwrap();
    let input = Numbers::new(1).tensor(&SHAPE.dims());
    executor.write_tensor(&gpu.queue, &input).unwrap();
    let error = results(&gpu, &readback).unwrap_err();
    assert!(
        matches!(error, Error::Recording { .. }),
        "nothing yet: {error}"
    );
    let mut all = Vec::new();
    for polled_by_the_host in [false, true] {
        submit(&gpu, &executor, &readback);
        {
            let mut read = pin!(readback.read());
            let mut waiting = Waiting::from_waker(Waker::noop());
            assert!(read.as_mut().poll(&mut waiting).is_pending(), "not yet");
            if polled_by_the_host {
                gpu.device
                    .poll(wgpu::PollType::wait_indefinitely())
                    .unwrap();
            }
        }
        all.push(results(&gpu, &readback).unwrap());
    }
    // A request that `try_read` leaves pending is taken over by `read`.
    submit(&gpu, &executor, &readback);
    assert!(readback.try_read().unwrap().is_none(), "not yet");
    all.push(results(&gpu, &readback).unwrap());
    assert!(all.windows(2).all(|w| w[0] == w[1]), "all the same");
}

#[test]
fn a_readback_that_is_asked_before_the_submission_is_patient() {
    let gpu = gpu();
    let executor = Executor::new(&gpu.device, &gpu.queue, &plan(&gpu)).unwrap();
    let readback = Readback::new(&gpu.device, &executor).unwrap();
    let mut seen = Vec::new();
    for seed in [1, 2] {
        let input = Numbers::new(seed).tensor(&SHAPE.dims());
        executor.write_tensor(&gpu.queue, &input).unwrap();
        let mut encoder = encoder(&gpu);
        run(&executor, &mut encoder);
        let number = readback.record(&mut encoder).unwrap();
        for _ in 0..2 {
            assert!(readback.try_read().unwrap().is_none(), "nothing to read");
            gpu.device
                .poll(wgpu::PollType::wait_indefinitely())
                .unwrap();
        }
        let scope = gpu.device.push_error_scope(wgpu::ErrorFilter::Validation);
        finish(&gpu, encoder);
        let error = pollster::block_on(scope.pop());
        assert!(error.is_none(), "the host's submission: {error:?}");
        let (got, tensors) = readback.try_read().unwrap().unwrap();
        assert_eq!(Some(got), number, "its own run");
        seen.push(tensors);
    }
    assert_ne!(seen[0], seen[1], "the results of each run");
}

#[test]
fn values_that_no_run_has_computed_are_an_error() {
    let gpu = gpu();
    let executor = Executor::new(&gpu.device, &gpu.queue, &plan(&gpu)).unwrap();
    let readback = Readback::of(&gpu.device, &executor, ["softmax"]).unwrap();
    let mut encoder = encoder(&gpu);
    let refused = |readback: &Readback, encoder: &mut wgpu::CommandEncoder| {
        let error = readback.record(encoder).unwrap_err();
        let says = "has not computed 'softmax'";
        assert!(error.to_string().contains(says), "{error}");
    };
    refused(&readback, &mut encoder);
    let only = |name: &str| Output::builder(&executor).keep(name).unwrap().build();
    for _ in 0..2 {
        executor
            .record(&mut encoder, &Input::uploaded(), &only("fc"))
            .unwrap();
        refused(&readback, &mut encoder);
        executor
            .record(&mut encoder, &Input::uploaded(), &only("softmax"))
            .unwrap();
        assert!(readback.record(&mut encoder).unwrap().is_some(), "computed");
    }
    // The first part of a run in slices, and pipelines that are prepared, leave nothing to read either.
    let mut cursor = executor.start(&Input::uploaded(), &Output::kept()).unwrap();
    cursor.record(&mut encoder, Slice::Steps(1)).unwrap();
    refused(&readback, &mut encoder);
    cursor.record(&mut encoder, Slice::Rest).unwrap();
    assert!(readback.record(&mut encoder).unwrap().is_some(), "computed");
    let mut warm = executor
        .prewarm(&Input::uploaded(), &Output::kept())
        .unwrap();
    warm.record(&mut encoder, 1);
    refused(&readback, &mut encoder);
}

#[test]
fn commands_that_never_ran_have_no_results() {
    let gpu = gpu();
    let executor = Executor::new(&gpu.device, &gpu.queue, &plan(&gpu)).unwrap();
    let readback = Readback::new(&gpu.device, &executor).unwrap();
    let input = Numbers::new(3).tensor(&SHAPE.dims());
    executor.write_tensor(&gpu.queue, &input).unwrap();
    submit(&gpu, &executor, &readback);
    results(&gpu, &readback).unwrap();

    // Dropped with their copies: their buffers are free again, and nothing arrives.
    for _ in 0..5 {
        let mut dropped = encoder(&gpu);
        run(&executor, &mut dropped);
        assert!(readback.record(&mut dropped).unwrap().is_some(), "room");
    }
    assert!(readback.try_read().unwrap().is_none(), "nothing arrives");

    // Dropped, but the copies are submitted: what they copied is older.
    run(&executor, &mut encoder(&gpu));
    let mut copies = encoder(&gpu);
    readback.record(&mut copies).unwrap();
    finish(&gpu, copies);
    let error = readback.try_read().unwrap_err();
    assert!(error.to_string().contains("no results of run"), "{error}");

    // Refused, because the host recorded something invalid into the same encoder.
    let mut spoilt = encoder(&gpu);
    run(&executor, &mut spoilt);
    readback.record(&mut spoilt).unwrap();
    let scope = gpu.device.push_error_scope(wgpu::ErrorFilter::Validation);
    spoilt.clear_buffer(executor.input(), 0, Some(1));
    finish(&gpu, spoilt);
    assert!(pollster::block_on(scope.pop()).is_some(), "refused");
    let error = readback.try_read().unwrap_err();
    assert!(error.to_string().contains("no results of run"), "{error}");

    // The next run is fine.
    submit(&gpu, &executor, &readback);
    results(&gpu, &readback).unwrap();
}

#[test]
fn results_that_are_no_numbers_are_an_error() {
    let gpu = gpu();
    let executor = Executor::new(&gpu.device, &gpu.queue, &plan(&gpu)).unwrap();
    let readback = Readback::new(&gpu.device, &executor).unwrap();
    for value in [f32::NAN, f32::INFINITY] {
        let input = Tensor::from_fn(&SHAPE.dims(), |_| value);
        executor.write_tensor(&gpu.queue, &input).unwrap();
        submit(&gpu, &executor, &readback);
        let result = results(&gpu, &readback);
        assert!(
            matches!(result, Err(Error::NoAnswer { .. })),
            "{value}: {result:?}"
        );
    }
    // The next run is fine.
    let input = Tensor::from_fn(&SHAPE.dims(), |_| 1.0);
    executor.write_tensor(&gpu.queue, &input).unwrap();
    submit(&gpu, &executor, &readback);
    results(&gpu, &readback).unwrap();
}

#[test]
fn threads_that_share_a_session_get_their_own_results() {
    let gpu = gpu();
    let session = Session::new(&gpu, &plan(&gpu)).unwrap();
    let inputs = (0..24).map(|seed| Numbers::new(seed).tensor(&SHAPE.dims()));
    let inputs: Vec<_> = inputs.collect();
    let run = |input: &Tensor| session.run(input).unwrap();
    let alone: Vec<_> = inputs.iter().map(run).collect();
    // A submission for each kernel, and one for the run.
    for budget in [1e-9, 500.0] {
        session.set_submission_budget(budget);
        let together: Vec<_> = thread::scope(|scope| {
            let runs = inputs.chunks(6);
            let runs =
                runs.map(|inputs| scope.spawn(|| inputs.iter().map(run).collect::<Vec<_>>()));
            let runs: Vec<_> = runs.collect();
            runs.into_iter()
                .flat_map(|runs| runs.join().unwrap())
                .collect()
        });
        assert_eq!(together, alone, "budget {budget} ms");
    }
}

#[test]
fn a_lost_device_is_an_error_everywhere() {
    let gpu = gpu();
    let plan = plan(&gpu);
    let session = Session::new(&gpu, &plan).unwrap();
    let executor = Executor::new(&gpu.device, &gpu.queue, &plan).unwrap();
    let input = Numbers::new(1).tensor(&SHAPE.dims());
    session.run(&input).unwrap();
    // A run that is on its way, and another that is recorded only then.
    let readback = Readback::new(&gpu.device, &executor).unwrap();
    let record = || {
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        let (input, output) = (Input::uploaded(), Output::kept());
        executor.record(&mut encoder, &input, &output).unwrap();
        readback.record(&mut encoder).unwrap().unwrap();
        gpu.queue.submit([encoder.finish()]);
    };
    record();
    gpu.device.destroy();
    gpu.device
        .on_uncaptured_error(Arc::new(|error| panic!("the host gets {error}")));
    // It may take a while until the device gives up, or it was faster than we and all results are there.
    let patience = Instant::now() + Duration::from_secs(60);
    let under_way = loop {
        let _ = gpu.device.poll(wgpu::PollType::Poll);
        match readback.try_read() {
            Ok(None) => assert!(Instant::now() < patience, "neither results nor an error"),
            Ok(Some(_)) => break None,
            Err(error) => break Some(error),
        }
        thread::yield_now();
    };
    gpu.device.on_uncaptured_error(Arc::new(|_| {}));
    record();
    let _ = gpu.device.poll(wgpu::PollType::Poll);
    let later = readback.try_read().err();
    let lost = |what: &str, error: Option<Error>| match error {
        Some(Error::DeviceLost { .. }) => {}
        other => panic!("{what}: {other:?}"),
    };
    lost(
        "executor",
        Executor::new(&gpu.device, &gpu.queue, &plan).err(),
    );
    if under_way.is_some() {
        lost("what was on its way", under_way);
    }
    lost("what was recorded later", later);
    lost("readback", Readback::new(&gpu.device, &executor).err());
    lost("session", Session::new(&gpu, &plan).err());
    lost("run", session.run(&input).err());
    lost("timed run", session.run_timed().err());
}

#[test]
fn the_executors_own_buffer_is_no_input() {
    let gpu = gpu();
    let executor = Executor::new(&gpu.device, &gpu.queue, &plan(&gpu)).unwrap();
    let result = executor.buffer_input(executor.input());
    assert!(matches!(result, Err(Error::Input { .. })), "{result:?}");
}
