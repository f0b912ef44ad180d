//! burn on wgpu: the network in its tensor operations, with the weights of the ONNX file. As in programs that use burn,
//! the first run tunes its kernels.

use burn::tensor::activation::{relu, softmax};
use burn::tensor::module::{adaptive_avg_pool2d, conv2d, linear, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, DeviceKind, DeviceType, Tensor, TensorData};
use safetensors::SafeTensors;

use crate::{Opened, Options, Result, floats, version_of};

/// Blocks of each stage.
const BLOCKS: [usize; 4] = [3, 4, 6, 3];

pub(crate) fn open(options: &Options) -> Result<Opened> {
    let (device, adapter) = device(&options.gpu)?;
    let bytes = std::fs::read(options.model.with_extension("safetensors"))?;
    let network = Network::load(&SafeTensors::deserialize(&bytes)?, &device)?;
    let shape = [options.batch, 3, options.size[0], options.size[1]];
    let run = move |image: &[f32]| {
        let image = TensorData::new(image.to_vec(), shape);
        let probabilities = network.forward(Tensor::from_data(image, &device));
        Ok(probabilities.try_into_vec_as::<f32>()?)
    };
    Ok(Opened {
        run: Box::new(run),
        used: format!("wgpu, {adapter}, f32, fused, tuned"),
        version: format!("{}, wgpu {}", version_of("burn"), version_of("wgpu")),
    })
}

/// The device whose name contains this, and its name.
fn device(wanted: &str) -> Result<(Device, String)> {
    let name = |device: &Device| device.identity().map_or(String::new(), |found| found.name);
    if wanted.is_empty() {
        let device = Device::wgpu(DeviceKind::DefaultDevice);
        let name = name(&device);
        return Ok((device, name));
    }
    let mut names = Vec::new();
    for device in Device::enumerate(DeviceType::Wgpu) {
        let name = name(&device);
        if name.to_lowercase().contains(&wanted.to_lowercase()) {
            return Ok((device, name));
        }
        names.push(name);
    }
    Err(format!("no device '{wanted}' among {names:?}").into())
}

struct Convolution {
    weight: Tensor<4>,
    bias: Tensor<1>,
    options: ConvOptions<2>,
}

impl Convolution {
    fn load(file: &Weights<'_>, name: &str, stride: usize) -> Result<Self> {
        let weight = file.tensor::<4>(&format!("{name}.weight"))?;
        let padding = weight.dims()[2] / 2;
        Ok(Self {
            weight,
            bias: file.tensor(&format!("{name}.bias"))?,
            options: ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1),
        })
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let (weight, bias) = (self.weight.clone(), self.bias.clone());
        conv2d(x, weight, Some(bias), self.options.clone())
    }
}

struct Bottleneck {
    convolutions: [Convolution; 3],
    projection: Option<Convolution>,
}

impl Bottleneck {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [reduce, spatial, expand] = &self.convolutions;
        let y = relu(reduce.forward(x.clone()));
        let y = expand.forward(relu(spatial.forward(y)));
        let shortcut = match &self.projection {
            Some(projection) => projection.forward(x),
            None => x,
        };
        relu(y + shortcut)
    }
}

struct Network {
    stem: Convolution,
    blocks: Vec<Bottleneck>,
    /// `[features, classes]`
    weight: Tensor<2>,
    bias: Tensor<1>,
}

/// Tensors of a file, for a device.
struct Weights<'a> {
    file: &'a SafeTensors<'a>,
    device: &'a Device,
}

impl Weights<'_> {
    fn tensor<const D: usize>(&self, name: &str) -> Result<Tensor<D>> {
        let tensor = self.file.tensor(name)?;
        let data = TensorData::new(floats(tensor.data()), tensor.shape().to_vec());
        Ok(Tensor::from_data(data, self.device))
    }
}

impl Network {
    fn load(file: &SafeTensors<'_>, device: &Device) -> Result<Self> {
        let file = Weights { file, device };
        let mut blocks = Vec::new();
        for (stage, count) in BLOCKS.into_iter().enumerate() {
            for block in 0..count {
                let name = format!("layer{}.{block}", stage + 1);
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let load =
                    |part, stride| Convolution::load(&file, &format!("{name}.{part}"), stride);
                blocks.push(Bottleneck {
                    convolutions: [load("conv1", 1)?, load("conv2", stride)?, load("conv3", 1)?],
                    projection: (block == 0)
                        .then(|| load("downsample", stride))
                        .transpose()?,
                });
            }
        }
        Ok(Self {
            stem: Convolution::load(&file, "conv1", 2)?,
            blocks,
            weight: file.tensor::<2>("fc.weight")?.transpose(),
            bias: file.tensor("fc.bias")?,
        })
    }

    /// Probabilities of the classes, `[batch, classes]`.
    fn forward(&self, image: Tensor<4>) -> Tensor<2> {
        let pool = MaxPoolOptions::new([3; 2])
            .with_stride([2; 2])
            .with_padding([1; 2]);
        let x = max_pool2d(relu(self.stem.forward(image)), pool);
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        let features = adaptive_avg_pool2d(x, [1; 2]).flatten(1, 3);
        let logits = linear(features, self.weight.clone(), Some(self.bias.clone()));
        softmax(logits, 1)
    }
}
