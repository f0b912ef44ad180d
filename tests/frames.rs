//! Runs spread over several frames, partial runs, and warmed-up pipelines. Needs an adapter.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Instant;

use common::{Numbers, finish, gpu, paths, read};
use resnet_wgpu::Error;
use resnet_wgpu::gpu::{Context, Executor, Input, Output, Readback, Session, Slice};
use resnet_wgpu::graph::Graph;
use resnet_wgpu::internals::gpu::StepTimer;
use resnet_wgpu::internals::graph::{Add, AvgPool, Conv2d, GlobalAvgPool, Op, Window};
use resnet_wgpu::plan::{Capabilities, KernelPath, Plan, PlanOptions};
use resnet_wgpu::tensor::{Shape, Tensor};
use resnet_wgpu::wgpu;

const SHAPE: Shape = Shape::new(2, 3, 11, 7);

/// A residual block between convolutions: enough steps to slice in many ways.
fn network() -> Graph {
    let mut numbers = Numbers::new(1);
    let mut graph = Graph::new();
    let mut conv = |graph: &mut Graph, dims: &[usize], padding| {
        let weight = graph.param("weight", numbers.tensor(dims));
        Op::Conv2d(Conv2d::new(weight).padding(padding))
    };
    let x = graph.input("image", SHAPE).unwrap();
    let op = conv(&mut graph, &[8, 3, 3, 3], 1);
    let a = graph.add("a", op, &[x]).unwrap();
    let op = conv(&mut graph, &[8, 8, 3, 3], 1);
    let b = graph.add("b", op, &[a]).unwrap();
    let c = graph
        .add("c", Op::Add(Add { relu: true }), &[a, b])
        .unwrap();
    let window = Window::square(2, 2);
    let count_padding = false;
    let pool = Op::AvgPool(AvgPool {
        window,
        count_padding,
    });
    let d = graph.add("d", pool, &[c]).unwrap();
    let e = graph
        .add("e", Op::GlobalAvgPool(GlobalAvgPool), &[d])
        .unwrap();
    for output in [c, e] {
        graph.mark_output(output).unwrap();
    }
    graph
}

fn plan(gpu: &Context, path: KernelPath) -> Plan {
    let options = PlanOptions::new(Capabilities::of(&gpu.device)).path(path);
    Plan::new(&network(), &options).unwrap()
}

fn executor(gpu: &Context, path: KernelPath) -> Executor {
    let executor = Executor::new(&gpu.device, &gpu.queue, &plan(gpu, path)).unwrap();
    let image = Numbers::new(2).tensor(&SHAPE.dims());
    executor.write_tensor(&gpu.queue, &image).unwrap();
    executor
}

fn encoder(gpu: &Context) -> wgpu::CommandEncoder {
    gpu.device
        .create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
}

/// The outputs of a run recorded by `record`, each slice into its own encoder.
fn outputs(gpu: &Context, executor: &Executor) -> Vec<Tensor> {
    outputs_of(gpu, executor, &["c", "e"])
}

fn outputs_of(gpu: &Context, executor: &Executor, names: &[&str]) -> Vec<Tensor> {
    let readback = Readback::of(&gpu.device, executor, names.iter().copied()).unwrap();
    let mut encoder = encoder(gpu);
    readback.record(&mut encoder).unwrap();
    gpu.queue.submit([encoder.finish()]);
    read(&gpu.device, &readback)
}

fn run_at_once(gpu: &Context, executor: &Executor) -> Vec<Tensor> {
    let mut encoder = encoder(gpu);
    executor
        .record(&mut encoder, &Input::uploaded(), &Output::kept())
        .unwrap();
    finish(gpu, encoder);
    outputs(gpu, executor)
}

/// Overwrites the results of a run, so that old results cannot pass for new ones.
fn spoil(gpu: &Context, executor: &Executor) {
    let image = Numbers::new(3).tensor(&SHAPE.dims());
    executor.write_tensor(&gpu.queue, &image).unwrap();
    run_at_once(gpu, executor);
    let image = Numbers::new(2).tensor(&SHAPE.dims());
    executor.write_tensor(&gpu.queue, &image).unwrap();
}

#[test]
fn a_run_in_slices_gives_the_bits_of_a_run_at_once() {
    let gpu = gpu();
    for path in paths(&gpu) {
        let executor = executor(&gpu, path);
        let want = run_at_once(&gpu, &executor);
        let steps = executor
            .step_count(&Input::uploaded(), &Output::kept())
            .unwrap();
        assert_eq!(steps, executor.dispatch_count(), "nothing but the network");
        for slice in [1, 2, 3, steps, usize::MAX] {
            spoil(&gpu, &executor);
            assert_ne!(outputs(&gpu, &executor), want, "spoilt");
            let mut run = executor.start(&Input::uploaded(), &Output::kept()).unwrap();
            let mut frames = 0;
            while !run.is_done() {
                let mut encoder = encoder(&gpu);
                let done = run.record(&mut encoder, Slice::Steps(slice)).unwrap();
                assert_eq!(done, run.is_done(), "what it returned");
                finish(&gpu, encoder);
                frames += 1;
            }
            assert_eq!(frames, steps.div_ceil(slice), "{path}, slices of {slice}");
            assert_eq!(run.progress().0, steps, "all");
            assert_eq!(outputs(&gpu, &executor), want, "{path}, slices of {slice}");
        }
    }
}

#[test]
fn a_session_cuts_a_run_that_is_too_long_for_one_submission() {
    let gpu = gpu();
    for path in paths(&gpu) {
        let plan = plan(&gpu, path);
        let session = Session::new(&gpu, &plan).unwrap();
        let input = Numbers::new(9).tensor(&plan.input_shape().dims());
        let want = session.run(&input).unwrap();
        assert_eq!(session.submissions(), 1, "{path}: it fits");
        // Less than any kernel takes: each gets a submission of its own.
        session.set_submission_budget(1e-9);
        assert_eq!(session.run(&input).unwrap(), want, "{path}: to the bit");
        assert_eq!(session.submissions(), plan.steps().len(), "{path}");
        assert_eq!(session.run_timed().unwrap(), None, "no single time");
        session.set_submission_budget(1e9);
        session.run(&input).unwrap();
        assert_eq!(session.submissions(), 1, "{path}: it fits again");
    }
}

#[test]
fn a_time_budget_takes_as_many_steps_as_fit_and_never_none() {
    let gpu = gpu();
    let executor = executor(&gpu, KernelPath::Auto);
    let want = run_at_once(&gpu, &executor);
    spoil(&gpu, &executor);
    let steps = executor.dispatch_count();
    // The first step takes longer than any budget, all others one millisecond.
    let mut times = vec![1.0; steps];
    times[0] = 50.0;
    let mut run = executor.start(&Input::uploaded(), &Output::kept()).unwrap();
    let mut seen = Vec::new();
    while !run.is_done() {
        let mut encoder = encoder(&gpu);
        let slice = Slice::Time {
            milliseconds: 2.5,
            times: &times,
        };
        run.record(&mut encoder, slice).unwrap();
        finish(&gpu, encoder);
        seen.push(run.progress().0);
    }
    let twos = (3..steps).step_by(2);
    let expected: Vec<usize> = [1].into_iter().chain(twos).chain([steps]).collect();
    assert_eq!(seen, expected, "one, then two in each frame");
    assert_eq!(outputs(&gpu, &executor), want, "result");
}

#[test]
fn measured_times_are_those_of_all_steps() {
    let gpu = gpu();
    let executor = executor(&gpu, KernelPath::Auto);
    let (input, output) = (Input::uploaded(), Output::kept());
    let steps = executor.step_count(&input, &output).unwrap();
    let timer = StepTimer::new(&gpu.device, &gpu.queue, steps).unwrap();
    let Some(timer) = timer else {
        assert!(
            !gpu.device
                .features()
                .contains(wgpu::Features::TIMESTAMP_QUERY),
            "a device with timestamps has a timer"
        );
        return;
    };
    let mut encoder = encoder(&gpu);
    executor
        .record_timed(&mut encoder, &input, &output, &timer)
        .unwrap();
    gpu.queue.submit([encoder.finish()]);
    let mut times = std::pin::pin!(timer.times());
    let mut task = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(times.as_mut().poll(&mut task).is_pending(), "nothing polls");
    gpu.device
        .poll(wgpu::PollType::wait_indefinitely())
        .unwrap();
    let std::task::Poll::Ready(times) = times.as_mut().poll(&mut task) else {
        panic!("the host has polled");
    };
    let times = times.unwrap();
    assert_eq!(times.len(), steps, "one for each step");
    assert!(times.iter().sum::<f64>() > 0.0, "{times:?}");

    // A timer for another number of steps is refused.
    let short = StepTimer::new(&gpu.device, &gpu.queue, steps - 1).unwrap();
    let error = executor
        .record_timed(&mut self::encoder(&gpu), &input, &output, &short.unwrap())
        .unwrap_err();
    assert!(matches!(error, Error::Recording { .. }), "{error:?}");
}

#[test]
fn times_of_steps_add_up_to_the_time_of_the_run() {
    let gpu = gpu();
    let shape = Shape::new(1, 64, 56, 56);
    let mut numbers = Numbers::new(3);
    let mut graph = Graph::new();
    let mut x = graph.input("image", shape).unwrap();
    for name in ["a", "b", "c"] {
        let weight = graph.param("weight", numbers.tensor(&[64, 64, 3, 3]));
        let op = Op::Conv2d(Conv2d::new(weight).padding(1));
        x = graph.add(name, op, &[x]).unwrap();
    }
    graph.mark_output(x).unwrap();
    let options = PlanOptions::new(Capabilities::of(&gpu.device));
    let plan = Plan::new(&graph, &options).unwrap();
    let session = Session::new(&gpu, &plan).unwrap();
    let input = numbers.tensor(&shape.dims());
    session.run(&input).unwrap();
    let best = |run: &dyn Fn() -> f64| (0..5).map(|_| run()).fold(f64::INFINITY, f64::min);
    let whole = best(&|| {
        let start = Instant::now();
        session.run_timed().unwrap();
        start.elapsed().as_secs_f64() * 1e3
    });
    let steps = best(&|| {
        let times = session.run_step_timed().unwrap();
        assert_eq!(times.len(), plan.steps().len(), "one for each step");
        times.iter().sum()
    });
    // Submission costs little compared with three such layers; timestamps taken too early show a
    // hundredth.
    assert!(
        steps > 0.2 * whole,
        "steps take {steps} ms, the run {whole} ms, by the clock of the {:?}",
        session.step_clock()
    );
}

#[test]
fn misuse_of_a_cursor_is_an_error() {
    let gpu = gpu();
    let executor = executor(&gpu, KernelPath::Auto);
    let (input, output) = (Input::uploaded(), Output::kept());
    let refused = |result: Result<bool, Error>, says: &str| {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Recording { .. }), "{error:?}");
        assert!(error.to_string().contains(says), "{error}");
    };
    let mut encoder = encoder(&gpu);

    let mut run = executor.start(&input, &output).unwrap();
    refused(run.record(&mut encoder, Slice::Steps(0)), "no steps");
    let slice = Slice::Time {
        milliseconds: 1.0,
        times: &[1.0],
    };
    refused(run.record(&mut encoder, slice), "run of 1 steps");
    assert_eq!(run.progress().0, 0, "nothing was recorded");
    assert!(run.record(&mut encoder, Slice::Rest).unwrap(), "the rest");
    refused(run.record(&mut encoder, Slice::Rest), "complete");

    // Starting another run ends this one: by a cursor, as a whole, or by a warm-up.
    let mut run = executor.start(&input, &output).unwrap();
    run.record(&mut encoder, Slice::Steps(1)).unwrap();
    let mut later = executor.start(&input, &output).unwrap();
    refused(run.record(&mut encoder, Slice::Rest), "another run");
    later.record(&mut encoder, Slice::Steps(1)).unwrap();
    executor.record(&mut encoder, &input, &output).unwrap();
    refused(later.record(&mut encoder, Slice::Rest), "another run");
    let mut run = executor.start(&input, &output).unwrap();
    let mut warm = executor.prewarm(&input, &output).unwrap();
    warm.record(&mut encoder, 1);
    refused(run.record(&mut encoder, Slice::Rest), "another run");
    finish(&gpu, encoder);
}

#[test]
fn inputs_and_outputs_of_another_executor_are_refused() {
    let gpu = gpu();
    let [one, other] = [0, 1].map(|_| executor(&gpu, KernelPath::Auto));
    let buffer = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("host"),
        size: one.input().size(),
        usage: wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let input = one.buffer_input(&buffer).unwrap();
    let output = Output::builder(&one).keep("e").unwrap().build();
    let mut encoder = encoder(&gpu);
    one.record(&mut encoder, &input, &output).unwrap();
    for (input, output) in [(&input, &Output::kept()), (&Input::uploaded(), &output)] {
        let errors = [
            other.record(&mut encoder, input, output).unwrap_err(),
            other.start(input, output).unwrap_err(),
            other.prewarm(input, output).unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, Error::Recording { .. }), "{error:?}");
        }
    }
}

#[test]
fn results_are_copied_to_the_hosts_buffers_and_nothing_more_is_computed() {
    let gpu = gpu();
    let executor = executor(&gpu, KernelPath::Auto);
    let want = run_at_once(&gpu, &executor);
    let bytes = want[0].shape().unwrap().packed_len() as u64 * 4;
    let buffer = |size, usage| {
        gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("host"),
            size,
            usage,
            mapped_at_creation: false,
        })
    };
    let host = buffer(
        bytes + 8,
        wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
    );
    let only_c = Output::builder(&executor)
        .copy("c", &host, 8)
        .unwrap()
        .build();
    let steps = |output| executor.step_count(&Input::uploaded(), output).unwrap();
    assert!(steps(&only_c) < steps(&Output::kept()), "e is not computed");

    spoil(&gpu, &executor);
    let mut encoder = encoder(&gpu);
    executor
        .record(&mut encoder, &Input::uploaded(), &only_c)
        .unwrap();
    finish(&gpu, encoder);
    let refused = Readback::new(&gpu.device, &executor).unwrap();
    let error = refused.record(&mut self::encoder(&gpu)).unwrap_err();
    assert!(
        error.to_string().contains("has not computed 'e'"),
        "{error}"
    );
    assert_eq!(outputs_of(&gpu, &executor, &["c"]), want[..1], "c is new");
    host.map_async(wgpu::MapMode::Read, .., |_| ());
    gpu.device
        .poll(wgpu::PollType::wait_indefinitely())
        .unwrap();
    let packed: Vec<f32> = bytemuck::pod_collect_to_vec(&host.get_mapped_range(8..).unwrap()[..]);
    let shape = want[0].shape().unwrap();
    let got = resnet_wgpu::tensor::unpack(shape, &packed);
    assert_eq!(got, want[0].data(), "the host's copy, behind the offset");

    let short = buffer(bytes, wgpu::BufferUsages::COPY_DST);
    let builder = || Output::builder(&executor);
    for (result, says) in [
        (builder().copy("c", &short, 4), "the buffer has"),
        (builder().copy("c", &host, 2), "multiple of 4"),
        (
            builder().copy("c", &buffer(bytes, wgpu::BufferUsages::COPY_SRC), 0),
            "COPY_DST",
        ),
        (builder().copy("nobody", &host, 0), "nobody"),
    ] {
        let error = result.map(|_| ()).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn chosen_outputs_are_read_in_the_order_asked_for() {
    let gpu = gpu();
    let executor = executor(&gpu, KernelPath::Auto);
    let want = run_at_once(&gpu, &executor);
    let readback = Readback::of(&gpu.device, &executor, ["e", "c"]).unwrap();
    let mut encoder = encoder(&gpu);
    readback.record(&mut encoder).unwrap();
    gpu.queue.submit([encoder.finish()]);
    let got = read(&gpu.device, &readback);
    assert_eq!(got, [want[1].clone(), want[0].clone()], "e, then c");
    assert!(
        Readback::of(&gpu.device, &executor, ["a"]).is_err(),
        "not kept"
    );
}

#[test]
fn results_of_several_runs_are_in_flight_each_with_the_number_of_its_run() {
    let gpu = gpu();
    let executor = executor(&gpu, KernelPath::Auto);
    let readback = Readback::of(&gpu.device, &executor, ["e"]).unwrap();
    let images: Vec<Tensor> = (10..16)
        .map(|seed| Numbers::new(seed).tensor(&SHAPE.dims()))
        .collect();
    let run = |image: &Tensor| {
        executor.write_tensor(&gpu.queue, image).unwrap();
        let mut encoder = encoder(&gpu);
        executor
            .record(&mut encoder, &Input::uploaded(), &Output::kept())
            .unwrap();
        let number = readback.record(&mut encoder).unwrap();
        gpu.queue.submit([encoder.finish()]);
        number
    };
    let mut want: Vec<Vec<f32>> = Vec::new();
    for image in &images {
        run(image);
        gpu.device
            .poll(wgpu::PollType::wait_indefinitely())
            .unwrap();
        let (_, tensors) = readback.try_read().unwrap().unwrap();
        want.push(tensors[0].data().to_vec());
    }
    assert!(want.windows(2).all(|w| w[0] != w[1]), "all differ");

    for _ in 0..2 {
        let runs: Vec<Option<u64>> = images.iter().map(run).collect();
        assert!(runs[..3].iter().all(Option::is_some), "{runs:?}");
        assert!(runs[3..].iter().all(Option::is_none), "no room: {runs:?}");
        assert!(
            runs.windows(2).all(|w| w[1].is_none() || w[0] < w[1]),
            "{runs:?}"
        );
        gpu.device
            .poll(wgpu::PollType::wait_indefinitely())
            .unwrap();
        for (number, want) in runs.iter().zip(&want).take(3) {
            let (got, tensors) = readback.try_read().unwrap().unwrap();
            assert_eq!(Some(got), *number, "in order");
            assert_eq!(tensors[0].data(), want, "run {got}");
        }
        assert!(readback.try_read().unwrap().is_none(), "all are read");
    }
}

#[test]
fn warming_records_each_pipeline_once_and_harms_no_later_run() {
    let gpu = gpu();
    for path in paths(&gpu) {
        let executor = executor(&gpu, path);
        let (input, output) = (Input::uploaded(), Output::kept());
        let mut warm = executor.prewarm(&input, &output).unwrap();
        let total = executor.pipeline_count();
        let progress = |done| (done, total);
        assert_eq!(warm.progress(), progress(0), "nothing yet");
        let mut done = 0;
        while !warm.is_done() {
            let mut encoder = encoder(&gpu);
            warm.record(&mut encoder, 2);
            finish(&gpu, encoder);
            done = (done + 2).min(total);
            assert_eq!(warm.progress(), progress(done), "two at a time");
        }
        assert!(warm.record(&mut encoder(&gpu), 1), "nothing is left");
        let warmed = run_at_once(&gpu, &executor);
        assert_eq!(
            warmed,
            run_at_once(&gpu, &self::executor(&gpu, path)),
            "{path}"
        );
    }
}
