//! Mistakes that a host can make, and failures of its device: they cause errors, and never abort
//! the host. Needs an adapter.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::future::Future;
use std::pin::pin;
use std::task::{Context as Waiting, Poll, Waker};

use common::{Numbers, gpu};
use resnet_wgpu::Error;
use resnet_wgpu::gpu::{Context, Executor, Input, Output, Readback, Session};
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

fn submit(gpu: &Context, executor: &Executor, readback: &Readback) {
    let descriptor = wgpu::CommandEncoderDescriptor::default();
    let mut encoder = gpu.device.create_command_encoder(&descriptor);
    executor
        .record(&mut encoder, &Input::uploaded(), &Output::kept())
        .unwrap();
    readback.record(&mut encoder);
    gpu.queue.submit([encoder.finish()]);
}

/// Awaits the results as a host does that polls its device only once.
fn results(gpu: &Context, readback: &Readback) -> Result<Vec<Tensor>, Error> {
    let mut read = pin!(readback.read());
    let mut waiting = Waiting::from_waker(Waker::noop());
    assert!(read.as_mut().poll(&mut waiting).is_pending(), "not yet");
    gpu.device
        .poll(wgpu::PollType::wait_indefinitely())
        .unwrap();
    match read.poll(&mut waiting) {
        Poll::Ready(results) => results,
        Poll::Pending => panic!("the host has polled"),
    }
}

#[test]
fn a_read_that_is_dropped_gives_the_buffer_back() {
    let gpu = gpu();
    let executor = Executor::new(&gpu.device, &gpu.queue, &plan(&gpu)).unwrap();
    let readback = Readback::new(&gpu.device, &executor).unwrap();
    let input = Numbers::new(1).tensor(&SHAPE.dims());
    executor.write_tensor(&gpu.queue, &input).unwrap();
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
        assert!(!readback.is_pending(), "taken back");
    }
    // A request that `try_read` leaves pending is taken over by `read`.
    submit(&gpu, &executor, &readback);
    assert!(readback.try_read().unwrap().is_none(), "not yet");
    let first = results(&gpu, &readback).unwrap();
    submit(&gpu, &executor, &readback);
    assert_eq!(results(&gpu, &readback).unwrap(), first, "all the same");
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
fn a_lost_device_is_an_error_everywhere() {
    let gpu = gpu();
    let plan = plan(&gpu);
    let session = Session::new(&gpu, &plan).unwrap();
    let executor = Executor::new(&gpu.device, &gpu.queue, &plan).unwrap();
    let input = Numbers::new(1).tensor(&SHAPE.dims());
    session.run(&input).unwrap();
    gpu.device.destroy();
    let lost = |what: &str, error: Option<Error>| match error {
        Some(Error::Gpu { .. }) => {}
        other => panic!("{what}: {other:?}"),
    };
    lost(
        "executor",
        Executor::new(&gpu.device, &gpu.queue, &plan).err(),
    );
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
