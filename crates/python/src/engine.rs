//! A network that runs batches of any kind on one device; nothing here needs the interpreter.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rayon::ThreadPool;
use resnet_run::{Ahead, Cam, Device, HeatMap, Network, Refused, Runner};
use resnet_wgpu::graph::Role;
use resnet_wgpu::network::Activation;
use resnet_wgpu::passes::optimize;
use resnet_wgpu::picture::{Batch, Picture, Preprocess, Reader};
use resnet_wgpu::plan::InputFormat;
use resnet_wgpu::tensor::Tensor;

/// The most plans of each kind that are kept: whole batches and single images, of pixels and tensors.
const KEPT: usize = 4;

/// A network, its device, and the plans that were needed so far.
pub(crate) struct Engine {
    network: Mutex<Network>,
    device: Device,
    /// One run at a time on the CPU, where several at once would only take more memory.
    turn: Mutex<()>,
    threads: Option<ThreadPool>,
    /// Images that run together.
    pub(crate) batch: usize,
    pub(crate) reader: Reader,
    /// The network's preparation of images.
    pub(crate) rules: Preprocess,
    plans: Mutex<Vec<Arc<Ready>>>,
    cams: Mutex<Vec<Arc<CamOf>>>,
}

/// A class, or the most likely one, and what makes its maps.
type CamOf = (Option<usize>, Mutex<Cam>);

/// What a plan is for.
#[derive(Clone, PartialEq)]
struct Purpose {
    batch: usize,
    rules: Preprocess,
    /// Whether it takes pixels, or tensors.
    pixels: bool,
    /// A value of the network to be read.
    tap: Option<String>,
}

struct Ready {
    purpose: Purpose,
    runner: Runner,
    /// What is read, and its place among the outputs.
    outputs: Vec<(Output, usize)>,
}

/// What is read of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// With the activation that makes probabilities of them.
    Logits(Option<Activation>),
    Probabilities,
    Features,
    Tap,
}

/// The values of an output for some images, one after the other.
#[derive(Debug)]
pub(crate) struct Values {
    pub(crate) output: Output,
    /// Of one image: channels, rows, columns.
    pub(crate) shape: [usize; 3],
    pub(crate) data: Vec<f32>,
}

/// What is run.
pub(crate) enum Input {
    /// Images, each a batch of one.
    Images(Vec<Batch>),
    /// NCHW.
    Tensor(Tensor),
}

impl Engine {
    pub(crate) fn new(
        network: Network,
        device: Device,
        threads: Option<ThreadPool>,
        batch: usize,
        reader: Reader,
    ) -> Self {
        Self {
            batch: if network.is_free() { 1 } else { batch },
            rules: network.model.preprocess,
            network: Mutex::new(network),
            device,
            turn: Mutex::default(),
            threads,
            reader,
            plans: Mutex::default(),
            cams: Mutex::default(),
        }
    }

    pub(crate) const fn device(&self) -> &Device {
        &self.device
    }

    /// The network, of which nothing but the current batch and size changes.
    pub(crate) fn network(&self) -> MutexGuard<'_, Network> {
        lock(&self.network)
    }

    /// How images go through it.
    pub(crate) fn ahead(&self) -> Ahead<'_> {
        Ahead {
            threads: self.threads.as_ref(),
            group: self.batch,
            runs: self.device.runs(),
        }
    }

    /// Does something on the threads of this network.
    pub(crate) fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        install(self.threads.as_ref(), work)
    }

    /// Runs an input, in whole batches as far as it fills them, and the rest image by image: images
    /// that fill a batch up would cost as much as any.
    pub(crate) fn run(&self, input: &Input, tap: Option<&str>) -> Result<Vec<Values>, Refused> {
        let purpose = |batch, rules, pixels| Purpose {
            batch,
            rules,
            pixels,
            tap: tap.map(str::to_owned),
        };
        let mut all = Vec::new();
        match input {
            Input::Images(images) => {
                let (whole, rest) = images.split_at(images.len() / self.batch * self.batch);
                for images in whole.chunks(self.batch).chain(rest.chunks(1)) {
                    let batch = Batch::join(images, images.len())?;
                    let ready = self.ready(purpose(images.len(), *batch.rules(), true))?;
                    self.add(&mut all, &ready, |runner| runner.answer(&batch))?;
                }
            }
            Input::Tensor(tensor) => {
                let shape = tensor.shape()?;
                let images = shape.n;
                let length = shape.c * shape.h * shape.w;
                let whole = images / self.batch * self.batch * length;
                let (whole, rest) = tensor.data().split_at(whole);
                let batches = whole.chunks((self.batch * length).max(1));
                for data in batches.chain(rest.chunks(length.max(1))) {
                    let count = data.len() / length;
                    let part = Tensor::new(&[count, shape.c, shape.h, shape.w], data)?;
                    let ready = self.ready(purpose(count, self.rules, false))?;
                    self.add(&mut all, &ready, |runner| runner.run(&part))?;
                }
            }
        }
        Ok(all)
    }

    /// Runs a batch, and adds its values to those of earlier ones.
    fn add(
        &self,
        all: &mut Vec<Values>,
        ready: &Ready,
        run: impl FnOnce(&Runner) -> Result<Vec<Tensor>, Refused> + Send,
    ) -> Result<(), Refused> {
        // A thread of the pool must not wait for the lock: the holder may need that very thread.
        let turn = matches!(self.device, Device::Cpu).then(|| lock(&self.turn));
        let tensors = self.install(|| run(&ready.runner))?;
        drop(turn);
        for (place, &(output, index)) in ready.outputs.iter().enumerate() {
            let shape = tensors[index].shape()?;
            let shape = [shape.c, shape.h, shape.w];
            if all.len() == place {
                all.push(Values {
                    output,
                    shape,
                    data: Vec::new(),
                });
            }
            let values = &mut all[place];
            if values.shape != shape {
                return Err(Refused::OwnSizes);
            }
            values.data.extend_from_slice(tensors[index].data());
        }
        Ok(())
    }

    /// The plan for a purpose, made if there is none.
    fn ready(&self, purpose: Purpose) -> Result<Arc<Ready>, Refused> {
        let mut plans = lock(&self.plans);
        if let Some(ready) = plans.iter().find(|ready| ready.purpose == purpose) {
            return Ok(Arc::clone(ready));
        }
        let mut network = self.network();
        network.set_batch(purpose.batch)?;
        network.fit(&purpose.rules)?;
        let mut graph = network.model.graph.clone();
        if let Some(features) = graph.role(Role::Features) {
            graph.mark_output(features)?;
        }
        if let Some(tap) = &purpose.tap {
            graph.mark_output(graph.find(tap)?)?;
        }
        let graph = optimize(&graph, network.fusion)?;
        let activation = network.model.activation;
        drop(network);
        let input = if purpose.pixels {
            InputFormat::Rgba8(purpose.rules)
        } else {
            InputFormat::Tensor
        };
        let runner = self.install(|| Runner::new(&self.device, &graph, input, &mut |_| ()))?;
        let all = runner.engine().outputs();
        let of_role = |role| all.iter().position(|output| output.roles.contains(&role));
        let tapped = |tap: &String| all.iter().position(|output| output.name == tap);
        let outputs = [
            (Output::Logits(activation), of_role(Role::Logits)),
            (Output::Probabilities, of_role(Role::Probabilities)),
            (Output::Features, of_role(Role::Features)),
            (Output::Tap, purpose.tap.as_ref().and_then(tapped)),
        ];
        let outputs = outputs.into_iter();
        let outputs = outputs.filter_map(|(output, index)| Some((output, index?)));
        let outputs = outputs.collect();
        drop(all);
        let ready = Arc::new(Ready {
            purpose,
            runner,
            outputs,
        });
        if plans.len() == KEPT {
            plans.remove(0);
        }
        plans.push(Arc::clone(&ready));
        Ok(ready)
    }

    /// What speaks for a class, or for the most likely one, in a picture.
    pub(crate) fn heat_map(
        &self,
        class: Option<usize>,
        picture: &Picture,
    ) -> Result<HeatMap, Refused> {
        let cam = self.cam(class)?;
        let cam = &mut *lock(&cam.1);
        self.install(|| cam.of(picture))
    }

    fn cam(&self, class: Option<usize>) -> Result<Arc<CamOf>, Refused> {
        let mut cams = lock(&self.cams);
        if let Some(cam) = cams.iter().find(|cam| cam.0 == class) {
            return Ok(Arc::clone(cam));
        }
        let mut network = self.network();
        network.set_batch(1)?;
        let network = &*network;
        network.refuse_free()?;
        let cam = self.install(|| Cam::new(&self.device, network, class, None, &mut |_| ()))?;
        let cam = Arc::new((class, Mutex::new(cam)));
        if cams.len() == KEPT {
            cams.remove(0);
        }
        cams.push(Arc::clone(&cam));
        Ok(cam)
    }
}

/// Does something on the threads of a pool, or on all cores.
pub(crate) fn install<R: Send>(threads: Option<&ThreadPool>, work: impl FnOnce() -> R + Send) -> R {
    match threads {
        Some(pool) => pool.install(work),
        None => work(),
    }
}

/// What a thread that panicked has left behind is whole: nothing here is changed in two steps.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
