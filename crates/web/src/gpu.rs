//! A model on the page's own WebGPU device.

use std::cell::RefCell;

use js_sys::{Function, Reflect};
use resnet_wgpu::gpu::{
    Cursor, Executor, Input, Output, Pipelines, Prewarm, Readback, Slice, TextureRead, answered,
};
use resnet_wgpu::graph::Role;
use resnet_wgpu::internals::explain::Sites;
use resnet_wgpu::internals::gpu::{BuildProgress, StepTimer};
use resnet_wgpu::internals::plan::DeviceKind;
use resnet_wgpu::picture::{ChannelOrder, Preprocess, Resize};
use resnet_wgpu::plan::{Capabilities, InputFormat, Plan, PlanOptions, Precision};
use resnet_wgpu::wgpu;
use serde::Serialize;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

use crate::cpu::batch;
use crate::{Answer, Model, refused, thrown};

/// wgpu's hold on `navigator.gpu`, which the page replaces for as long as this is being made, so
/// that wgpu gets the page's adapter and device.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Instance(wgpu::Instance);

#[wasm_bindgen]
impl Instance {
    #[wasm_bindgen(constructor)]
    #[expect(clippy::new_without_default, reason = "JavaScript calls it")]
    pub fn new() -> Self {
        Self(wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: wgpu::Backends::BROWSER_WEBGPU,
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        }))
    }
}

/// A model on a device.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    executor: Executor,
    output: Output,
    readback: Readback,
    roles: Vec<Role>,
    sites: Option<Sites>,
    rules: Preprocess,
    report: String,
    /// Names of the plan's steps, and their kernels.
    steps: Vec<[String; 2]>,
    input: RefCell<Input>,
    run: RefCell<Option<Cursor>>,
    warm: RefCell<Option<Prewarm>>,
}

#[derive(Serialize)]
struct Report {
    device: String,
    kernels: Vec<&'static str>,
    dispatches: usize,
    pipelines: usize,
    weight_bytes: u64,
    activation_bytes: u64,
    precision: &'static str,
}

#[derive(Serialize)]
struct StepTime<'a> {
    node: &'a str,
    kernel: &'a str,
    ms: f64,
}

#[wasm_bindgen]
impl Gpu {
    /// Puts a model on the instance's device. `vendor` and `architecture` are those of the
    /// `GPUAdapterInfo`; `progress` is told what is done out of how much.
    pub async fn open(
        instance: Instance,
        model: &Model,
        vendor: String,
        architecture: String,
        halves: bool,
        progress: Function,
    ) -> Result<Self, JsValue> {
        let refuse = |error: &dyn std::fmt::Display| refused("adapter", &error.to_string());
        let adapter = instance
            .0
            .request_adapter(&wgpu::RequestAdapterOptions::default());
        let adapter = adapter.await.map_err(|error| refuse(&error))?;
        let descriptor = wgpu::DeviceDescriptor {
            required_features: resnet_wgpu::gpu::device_descriptor(&adapter).required_features,
            ..wgpu::DeviceDescriptor::default()
        };
        let device = adapter.request_device(&descriptor);
        let (device, queue) = device.await.map_err(|error| refuse(&error))?;
        let capabilities = Capabilities::of(&device).in_browser(&vendor, &architecture);
        let precision = if halves {
            Precision::F16
        } else {
            Precision::F32
        };
        let options = PlanOptions::new(capabilities)
            .input(InputFormat::Rgba8(model.rules))
            .precision(precision);
        let plan = Plan::new(&model.graph, &options).map_err(thrown)?;
        let made = answered(|| {
            let pipelines = Pipelines::new(&device, None);
            let mut tell = |step: BuildProgress| tell(&progress, step);
            let executor = Executor::with_pipelines(&device, &queue, &plan, &pipelines, &mut tell)?;
            let readback = Readback::of(&device, &executor, model.outputs.iter().copied())?;
            Ok((executor, readback))
        });
        let (executor, readback) = made.await.map_err(thrown)?;
        let mut output = Output::builder(&executor);
        for &role in &model.outputs {
            output = output.keep(role).map_err(thrown)?;
        }
        Ok(Self {
            output: output.build(),
            roles: model.outputs.clone(),
            sites: model.sites.clone(),
            rules: model.rules,
            report: report(&plan, capabilities.device, halves),
            steps: named(&plan),
            input: RefCell::default(),
            run: RefCell::default(),
            warm: RefCell::default(),
            device,
            queue,
            executor,
            readback,
        })
    }

    /// What was chosen for the device, as JSON.
    pub fn report(&self) -> String {
        self.report.clone()
    }

    /// Whether textures cannot be read by the network's rules, so that pixels must be uploaded.
    pub fn needs_pixels(&self) -> bool {
        self.rules.channels == ChannelOrder::Grey || matches!(self.rules.resize, Resize::Contain(_))
    }

    /// Reads a `GPUTexture` of the device from now on.
    pub async fn read_texture(&self, texture: JsValue) -> Result<(), JsValue> {
        let view = self.view(texture)?;
        let before = self.input.borrow().clone();
        let made = answered(|| {
            let views = [(&view, TextureRead::default())];
            let again = before.with_views(&self.device, &self.executor, &[&view]);
            again.or_else(|_| self.executor.texture_input(&self.device, &views))
        });
        let input = made.await.map_err(thrown)?;
        self.input.replace(input);
        Ok(())
    }

    /// Reads rows of RGBA from now on, which are resized by the processor.
    pub fn read_pixels(&self, rgba: &[u8], height: usize) -> Result<(), JsValue> {
        let batch = batch(rgba, height, &self.rules)?;
        let written = self.executor.write_pixels(&self.queue, batch.rgba());
        written.map_err(thrown)?;
        self.input.replace(Input::uploaded());
        Ok(())
    }

    /// Compiles the next pipelines, at most `count`, by running them on nothing. Returns how many
    /// are done and how many there are.
    pub fn prewarm(&self, count: usize) -> Result<Vec<usize>, JsValue> {
        let mut warm = self.warm.borrow_mut();
        if warm.is_none() {
            let prewarm = self.executor.prewarm(&self.input.borrow(), &self.output);
            *warm = Some(prewarm.map_err(thrown)?);
        }
        let Some(prewarm) = warm.as_mut() else {
            return Ok(vec![0, 0]);
        };
        let mut encoder = self.encoder();
        prewarm.record(&mut encoder, count);
        self.queue.submit([encoder.finish()]);
        let (done, total) = prewarm.progress();
        Ok(vec![done, total])
    }

    /// Starts a run, and returns how many kernels it has.
    pub fn start(&self) -> Result<usize, JsValue> {
        let run = self.executor.start(&self.input.borrow(), &self.output);
        let run = run.map_err(thrown)?;
        let steps = run.progress().1;
        self.run.replace(Some(run));
        Ok(steps)
    }

    /// Submits the next kernels of the run, and returns whether they were the last.
    pub fn step(&self, count: usize) -> Result<bool, JsValue> {
        let mut run = self.run.borrow_mut();
        let Some(cursor) = run.as_mut() else {
            return Err(refused("gpu", "no run was started"));
        };
        let mut encoder = self.encoder();
        let done = cursor
            .record(&mut encoder, Slice::Steps(count))
            .map_err(thrown)?;
        if done {
            let copied = self.readback.record(&mut encoder).map_err(thrown)?;
            if copied.is_none() {
                return Err(refused("gpu", "read the results of earlier runs first"));
            }
        }
        self.queue.submit([encoder.finish()]);
        Ok(done)
    }

    /// The outputs of the run.
    pub async fn read(&self) -> Result<Answer, JsValue> {
        let (_, tensors) = self.readback.read().await.map_err(thrown)?;
        let values = self.roles.iter().copied().zip(tensors);
        Ok(Answer::new(values.collect(), self.sites.clone()))
    }

    /// Chooses whose map future runs compute: a class, or that of the most likely one.
    pub fn select_class(&self, class: Option<usize>) -> Result<(), JsValue> {
        self.executor
            .select_class(&self.queue, class)
            .map_err(thrown)
    }

    /// Runs once with timestamps around each kernel, and returns them as JSON; nothing if the device has
    /// none.
    pub async fn layers(&self) -> Result<Option<String>, JsValue> {
        let input = self.input.borrow().clone();
        let made = answered(|| {
            let steps = self.executor.step_count(&input, &self.output)?;
            StepTimer::new(&self.device, &self.queue, steps)
        });
        let Some(timer) = made.await.map_err(thrown)? else {
            return Ok(None);
        };
        let mut encoder = self.encoder();
        let recorded = self
            .executor
            .record_timed(&mut encoder, &input, &self.output, &timer);
        recorded.map_err(thrown)?;
        self.queue.submit([encoder.finish()]);
        let times = timer.times().await.map_err(thrown)?;
        // Before the network come the kernels that resize the picture.
        let before = times.len().saturating_sub(self.steps.len());
        let resize = ["picture".to_owned(), "resample".to_owned()];
        let names = std::iter::repeat_n(&resize, before).chain(&self.steps);
        let steps: Vec<StepTime<'_>> = names
            .zip(&times)
            .map(|([node, kernel], &ms)| StepTime { node, kernel, ms })
            .collect();
        Ok(serde_json::to_string(&steps).ok())
    }
}

impl Gpu {
    fn encoder(&self) -> wgpu::CommandEncoder {
        let descriptor = wgpu::CommandEncoderDescriptor::default();
        self.device.create_command_encoder(&descriptor)
    }

    /// The page's texture as wgpu sees it.
    fn view(&self, texture: JsValue) -> Result<wgpu::TextureView, JsValue> {
        let number = |name: &str| {
            let value = Reflect::get(&texture, &name.into()).ok()?.as_f64()?;
            // WebGPU's numbers are unsigned and of 32 bits.
            Some(value as u32)
        };
        let format = Reflect::get(&texture, &"format".into()).ok();
        let format = match format.and_then(|format| format.as_string()).as_deref() {
            Some("rgba8unorm") => Some(wgpu::TextureFormat::Rgba8Unorm),
            Some("rgba8unorm-srgb") => Some(wgpu::TextureFormat::Rgba8UnormSrgb),
            Some("bgra8unorm") => Some(wgpu::TextureFormat::Bgra8Unorm),
            Some("bgra8unorm-srgb") => Some(wgpu::TextureFormat::Bgra8UnormSrgb),
            Some("rgba16float") => Some(wgpu::TextureFormat::Rgba16Float),
            Some("rgba32float") => Some(wgpu::TextureFormat::Rgba32Float),
            _ => None,
        };
        let described = (|| {
            Some(wgpu::TextureDescriptor {
                label: None,
                size: wgpu::Extent3d {
                    width: number("width")?,
                    height: number("height")?,
                    depth_or_array_layers: number("depthOrArrayLayers")?,
                },
                mip_level_count: number("mipLevelCount")?,
                sample_count: number("sampleCount")?,
                dimension: wgpu::TextureDimension::D2,
                format: format?,
                usage: wgpu::TextureUsages::from_bits_truncate(number("usage")?),
                view_formats: &[],
            })
        })();
        let Some(descriptor) = described else {
            let reason = "a texture must be a GPUTexture of rgba8unorm, bgra8unorm, one of their sRGB \
                          forms, rgba16float or rgba32float";
            return Err(refused("gpu", reason));
        };
        let handle: wgpu::webgpu::GpuTexture = texture.unchecked_into();
        let device = &self.device;
        let texture = device.create_texture_from_webgpu_handle(handle, &descriptor, None);
        Ok(texture.create_view(&wgpu::TextureViewDescriptor::default()))
    }
}

fn tell(progress: &Function, step: BuildProgress) {
    let (what, done, total) = match step {
        BuildProgress::Weights { done, total } => ("weights", done as f64, total as f64),
        BuildProgress::Pipelines { done, total } => ("pipelines", done as f64, total as f64),
        _ => return,
    };
    // An exception in the page's function is the page's affair.
    let _ = progress.call3(&JsValue::NULL, &what.into(), &done.into(), &total.into());
}

fn report(plan: &Plan, device: DeviceKind, halves: bool) -> String {
    let mut kernels: Vec<&str> = plan.steps().iter().map(|s| s.launch.kernel.name).collect();
    kernels.sort_unstable();
    kernels.dedup();
    let report = Report {
        device: device.to_string(),
        kernels,
        dispatches: plan.steps().len(),
        pipelines: plan.distinct_pipelines(),
        weight_bytes: plan.weight_bytes(),
        activation_bytes: plan.activation_bytes(),
        precision: if halves { "f16" } else { "f32" },
    };
    serde_json::to_string(&report).unwrap_or_default()
}

fn named(plan: &Plan) -> Vec<[String; 2]> {
    let steps = plan.steps().iter();
    let name = |step: &resnet_wgpu::internals::plan::Step| {
        [step.node.clone(), step.launch.kernel.name.to_owned()]
    };
    steps.map(name).collect()
}
