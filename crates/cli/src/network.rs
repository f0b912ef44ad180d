//! The network that the flags ask for.

use std::panic::resume_unwind;
use std::thread;
use std::time::{Duration, Instant};

use resnet_run::{Device, Network, repository, resolve};
use resnet_wgpu::graph::Role;
use resnet_wgpu::internals::noise::Noise;
use resnet_wgpu::network::{self, Arch, ModelOptions};
use resnet_wgpu::tensor::Tensor;
use twox_hash::xxhash3_128;

use crate::args::{DeviceArgs, NetworkArgs};
use crate::bundled;
use crate::failure::{Failure, guess};
use crate::progress::Bars;

/// The seed of random weights.
const SEED: u64 = 0;

/// Reads or generates the weights and builds the network for a batch.
pub(crate) fn load(args: &NetworkArgs, batch: usize) -> Result<Network, Failure> {
    if args.weights.is_none() && args.choices.entry.is_some() {
        return Err(Failure::usage(
            "--entry and --output choose from what a file has; give one with --weights",
        ));
    }
    let weights = match (&args.weights, args.arch) {
        (Some(path), _) => Some(path.display().to_string()),
        (None, Some(_)) => None,
        (None, None) => Some(bundled::NAME.to_owned()),
    };
    Network::load(&args.into(), batch, weights, |options| {
        match (&args.weights, args.arch) {
            (Some(path), _) => {
                let mut bars = Bars::new(false);
                let path = resolve(path, &mut |progress| bars.download(progress))?;
                drop(bars);
                let opened = resnet_formats::open(&path, options);
                opened.map_err(|error| Failure::weights_in(&path, &error))
            }
            (None, Some(arch)) => random(arch, options),
            (None, None) => bundled::open(options),
        }
    })
}

/// Loads the network while another thread opens the device: neither needs the other. Returns how long the device
/// took, too. What may have to be downloaded waits for the device, which the flags may have got wrong.
pub(crate) fn load_beside(
    device: &DeviceArgs,
    args: &NetworkArgs,
    batch: usize,
) -> Result<(Device, Duration, Network), Failure> {
    let open = || {
        let start = Instant::now();
        Device::open(device).map(|device| (device, start.elapsed()))
    };
    if args.weights.as_deref().and_then(repository).is_some() {
        let (device, elapsed) = open()?;
        return Ok((device, elapsed, load(args, batch)?));
    }
    thread::scope(|scope| {
        let opening = scope.spawn(open);
        let loaded = load(args, batch);
        let opened = opening.join();
        let (device, elapsed) = opened.unwrap_or_else(|panic| resume_unwind(panic))?;
        Ok((device, elapsed, loaded?))
    })
}

fn random(arch: Arch, options: &ModelOptions) -> Result<network::Network, Failure> {
    log::info!(
        "no --weights: {arch} with random weights (Glorot uniform, seed {SEED}), whose answers \
         mean nothing"
    );
    Ok(arch.random(SEED, options)?)
}

/// Says what was assumed about the weights, since it changes the numbers.
pub(crate) fn note_assumptions(network: &Network) {
    for decision in network.model.decisions.assumed() {
        log::info!("nothing says the {}", guess(decision));
    }
}

/// A hash that changes with any parameter: XXH3-128 over the name, dimensions and 32-bit floats
/// of each, in the order of the network, before fusion. The name ends with a zero byte;
/// dimensions are 64-bit, preceded by their count; everything is little-endian.
pub(crate) fn weights_hash(network: &Network) -> u128 {
    let mut hasher = xxhash3_128::Hasher::new();
    for param in network.model.graph.params() {
        hasher.write(param.name.as_bytes());
        hasher.write(&[0]);
        let dims = param.tensor.dims();
        for size in std::iter::once(dims.len()).chain(dims.iter().copied()) {
            hasher.write(&(size as u64).to_le_bytes());
        }
        for block in param.tensor.data().chunks(1024) {
            let bytes: Vec<u8> = block.iter().flat_map(|x| x.to_le_bytes()).collect();
            hasher.write(&bytes);
        }
    }
    hasher.finish_128()
}

/// Noise in the shape of the input, about the range of a normalised image.
pub(crate) fn noise(network: &Network) -> Result<Tensor, Failure> {
    let image = network.model.graph.value_of(Role::Image)?;
    Ok(Noise::new(1).tensor(&image.shape.dims()))
}
