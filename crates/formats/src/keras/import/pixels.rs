//! Arithmetic on the pixels of the input image: it becomes part of the preprocessing. Deeper in the
//! network, the same layers become nodes of the graph.

use super::super::network::{Affine, Channels, Resizing};
use super::operations::image;
use super::{Import, Pending, Site, Value};
use resnet_wgpu::Error;
use resnet_wgpu::internals::graph::Interpolation;
use resnet_wgpu::internals::network::{Operation, Parameter};
use resnet_wgpu::tensor::Tensor;

/// `scale · pixel + offset` per channel of the network's input, which is RGB, or BGR if `reversed`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) struct Pixels {
    pub(in super::super) scale: [f64; 3],
    pub(in super::super) offset: [f64; 3],
    pub(in super::super) reversed: bool,
}

impl Pixels {
    pub(super) const AS_THEY_ARE: Self = Self {
        scale: [1.0; 3],
        offset: [0.0; 3],
        reversed: false,
    };

    /// Whether it only adds offsets too small to be a mean to subtract: then the pixels are
    /// prepared before they reach the network.
    pub(in super::super) fn only_adds(&self) -> bool {
        let adds = self.offset.iter().all(|offset| offset.abs() < 32.0);
        adds && self.scale == [1.0; 3] && self.offset != [0.0; 3] && !self.reversed
    }

    fn reverse(mut self) -> Self {
        self.scale.reverse();
        self.offset.reverse();
        self.reversed = !self.reversed;
        self
    }

    /// Appends `scale · x + offset`; `None` if the total would invert brightness.
    fn then(self, scale: &[f64], offset: &[f64]) -> Option<Self> {
        let of = |list: &[f64], c: usize| list.get(c).or_else(|| list.first()).copied();
        let mut next = self;
        for c in 0..3 {
            let (scale, offset) = (of(scale, c)?, of(offset, c)?);
            next.scale[c] = self.scale[c] * scale;
            next.offset[c] = self.offset[c] * scale + offset;
        }
        let is_usual = next
            .scale
            .iter()
            .all(|scale| scale.is_normal() && *scale > 0.0);
        is_usual.then_some(next)
    }
}

impl Import {
    /// Marks the image as read, in its present form: all layers must read the same one.
    pub(super) fn settle(&mut self, site: &Site<'_>, x: Value) -> Result<Value, Error> {
        let Pending::Pixels(pixels) = x.pending else {
            return Ok(x);
        };
        if *self.pixels.get_or_insert(pixels) != pixels {
            return Err(site.refuse(
                "the layers read the pixels of the image in two forms, which is not supported",
            ));
        }
        let pending = Pending::Nothing;
        Ok(Value { pending, ..x })
    }

    pub(super) fn affine(
        &mut self,
        site: &Site<'_>,
        x: Value,
        affine: &Affine,
    ) -> Result<Value, Error> {
        let Affine {
            scale,
            offset,
            channels,
        } = affine;
        let count = self.draft.shape(x.id).c;
        let lengths = [scale.len(), offset.len()];
        if lengths.iter().any(|&len| len != 1 && len != count) {
            let numbers = lengths[0].max(lengths[1]);
            return Err(site.refuse(format!(
                "a constant of {numbers} numbers does not fit {count} channels"
            )));
        }
        if scale.iter().chain(offset).any(|number| !number.is_finite()) {
            return Err(site.refuse("its constant gives no finite numbers"));
        }
        if x.is_image && lengths != [1, 1] {
            self.check_channels(site, *channels)?;
        }
        if let Pending::Pixels(pixels) = x.pending
            && let Some(next) = pixels.then(scale, offset)
        {
            let pending = Pending::Pixels(next);
            return Ok(Value { pending, ..x });
        }
        let x = self.plain(site, x)?;
        self.scaled |= self.images.contains(&x.id);
        let constant = |list: &[f64]| {
            #[expect(clippy::cast_possible_truncation, reason = "as Keras computes")]
            Tensor::from_fn(&[count], |c| {
                list[if list.len() == 1 { 0 } else { c }] as f32
            })
        };
        let name = self.draft.free(&site.path);
        let mut param = |role: Parameter, tensor| {
            let name = format!("{name}.{}", role.name());
            self.draft.tensor(&name, tensor).map(|()| name)
        };
        let operation = Operation::BatchNorm {
            gamma: param(Parameter::Gamma, constant(scale))?,
            beta: param(Parameter::Beta, constant(offset))?,
            mean: param(Parameter::Mean, constant(&[0.0]))?,
            variance: param(Parameter::Variance, constant(&[1.0]))?,
            epsilon: 0.0,
            of_batch: false,
        };
        self.node(site, operation, &[x])
    }

    /// A `Normalization` layer with learned mean and variance.
    pub(super) fn normalize(
        &mut self,
        site: &Site<'_>,
        x: Value,
        invert: bool,
    ) -> Result<Value, Error> {
        let mut numbers = |role| -> Result<Vec<f64>, Error> {
            let tensor = self.weights.tensor(&site.path, role)?;
            Ok(tensor.data().iter().copied().map(f64::from).collect())
        };
        let (mean, variance) = (numbers(Parameter::Mean)?, numbers(Parameter::Variance)?);
        if mean.is_empty() || variance.is_empty() || variance.iter().any(|&v| v < 0.0) {
            return Err(site.refuse("its mean and variance make no sense"));
        }
        self.affine(site, x, &Affine::normalize(mean, &variance, invert))
    }

    pub(super) fn reverse(&mut self, site: &Site<'_>, x: Value) -> Result<Value, Error> {
        self.check_channels(site, Channels::Last)?;
        match x.pending {
            Pending::Pixels(pixels) => Ok(Value {
                pending: Pending::Pixels(pixels.reverse()),
                ..x
            }),
            _ => Err(site.refuse("only the channels of the image itself can be reversed")),
        }
    }

    pub(super) fn channel(
        &mut self,
        site: &Site<'_>,
        x: Value,
        channel: usize,
    ) -> Result<Value, Error> {
        self.check_channels(site, Channels::Last)?;
        match x.pending {
            Pending::Pixels(pixels) if channel < 3 => Ok(Value {
                pending: Pending::Channel(pixels, channel),
                ..x
            }),
            _ => Err(site.refuse("only channels of the image itself can be taken")),
        }
    }

    pub(super) fn stack(&self, site: &Site<'_>, channels: &[Value]) -> Result<Value, Error> {
        let taken = channels.iter().map(|value| match value.pending {
            Pending::Channel(pixels, channel) => Some((pixels, channel)),
            _ => None,
        });
        let taken: Option<Vec<_>> = taken.collect();
        let pixels = match taken.as_deref() {
            Some(&[(a, 2), (b, 1), (c, 0)]) if a == b && b == c => Some(a.reverse()),
            Some(&[(a, 0), (b, 1), (c, 2)]) if a == b && b == c => Some(a),
            _ => None,
        };
        let (Some(pixels), Some(&x)) = (pixels, channels.first()) else {
            return Err(site.refuse("only a stack of the three channels of the image is supported"));
        };
        let pending = Pending::Pixels(pixels);
        Ok(Value { pending, ..x })
    }

    /// Adds a resizing. Arithmetic on the pixels of the image remains pending: it does the same to
    /// a mean of pixels as to each of them.
    pub(super) fn resize(
        &mut self,
        site: &Site<'_>,
        x: Value,
        resizing: &Resizing,
    ) -> Result<Value, Error> {
        self.check_channels(site, resizing.channels)?;
        let x = match x.pending {
            Pending::Pixels(_) => x,
            _ => self.plain(site, x)?,
        };
        let x = image(site, x)?;
        let shape = self.draft.shape(x.id);
        let ([h, w], [to_h, to_w]) = ([shape.h, shape.w], resizing.size);
        if let Some(option) = resizing.keeps_ratio
            && h.checked_mul(to_w) != w.checked_mul(to_h)
        {
            return Err(site.refuse(format!(
                "'{option}' is only supported where it changes nothing: an image of {h}x{w} does \
                 not have the aspect ratio of {to_h}x{to_w}"
            )));
        }
        let is_image = self.images.contains(&x.id);
        let interpolation = match &resizing.interpolation {
            Ok(Interpolation::Linear) if resizing.rounds && self.are_integers(x) => Err(
                "it rounds, since the numbers of its image are integers, which is not supported; \
                 convert them with a Rescaling layer before it",
            ),
            Ok(interpolation) => Ok(*interpolation),
            Err(reason) => Err(reason.as_str()),
        };
        let interpolation = match interpolation {
            // Whatever the interpolation, it changes nothing.
            Err(_) if self.fixed && [h, w] == resizing.size => return Ok(x),
            interpolation => interpolation.map_err(|reason| site.refuse(reason))?,
        };
        let operation = Operation::Resize {
            size: resizing.size,
            interpolation,
            same_ratio: resizing.keeps_ratio.is_some(),
        };
        let y = self.node(site, operation, &[x])?;
        if is_image {
            self.images.push(y.id);
        }
        Ok(Value { id: y.id, ..x })
    }

    /// Whether a value is the image, whose numbers are integers, with nothing done to them.
    fn are_integers(&self, x: Value) -> bool {
        let untouched = match x.pending {
            Pending::Pixels(pixels) => pixels.scale == [1.0; 3] && pixels.offset == [0.0; 3],
            _ => true,
        };
        self.integers && self.images.contains(&x.id) && untouched
    }

    /// Drops a crop to the size that the image already has.
    pub(super) fn crop(
        &self,
        site: &Site<'_>,
        x: Value,
        [height, width]: [usize; 2],
    ) -> Result<Value, Error> {
        let shape = self.draft.shape(x.id);
        if [shape.h, shape.w] == [height, width] {
            return Ok(x);
        }
        Err(site.refuse(format!(
            "it makes an image of {height}x{width} of one of {}x{}, which is not supported within a \
             network; save the part of the network that follows it",
            shape.h, shape.w
        )))
    }
}
