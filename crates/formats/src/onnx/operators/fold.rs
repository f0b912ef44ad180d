//! Constant folding: shape arithmetic that exporters write for batches and images of any size, and
//! unfolded computations on weights.

use super::super::import::{Import, Site, Value};
use super::super::tensor::{BOOL, Constant, MAX_RANK, Numbers, is_float, is_int, volume};
use super::super::view::{Axis, Pending};
use super::sizes::{axis, inferred, permutation, ranges, squeezed, widen};
use super::steps::{Steps, common, comparison, on_floats, on_ints};
use resnet_wgpu::Error;
use resnet_wgpu::tensor::Tensor;

/// Evaluates a node on constants; `None` if it reads an activation or cannot be folded.
pub(super) fn run(import: &mut Import<'_>, site: &Site<'_>) -> Result<Option<Value>, Error> {
    let constant = match site.node.op {
        "Constant" => literal(import, site)?,
        "Shape" | "Size" if site.node.input(0).is_some() => shape(import, site)?,
        _ => {
            let mut inputs = Vec::new();
            let mut sized = false;
            for index in 0..site.node.inputs.len() {
                match import.optional(site, index)? {
                    Some(Value::Activation(_)) => return Ok(None),
                    Some(Value::Constant(constant)) => {
                        sized |= constant.sized;
                        inputs.push(Some(constant));
                    }
                    None => inputs.push(None),
                }
            }
            let mut fold = Fold {
                import,
                site,
                inputs,
            };
            match fold.run()? {
                Some(numbers) => Constant { numbers, sized },
                None => return Ok(None),
            }
        }
    };
    Ok(Some(Value::Constant(constant)))
}

fn literal(import: &mut Import<'_>, site: &Site<'_>) -> Result<Constant, Error> {
    let node = site.node;
    let damaged = |error| site.damaged(error);
    if let Some(tensor) = node.tensor("value").map_err(damaged)? {
        return import.decode(site, node.shown(), tensor);
    }
    if let Some(float) = node.float("value_float").map_err(damaged)? {
        return Ok(Constant::of(Numbers::Floats(Tensor::new(
            &[],
            vec![float],
        )?)));
    }
    if let Some(floats) = node.floats("value_floats").map_err(damaged)? {
        return Ok(Constant::of(Numbers::Floats(Tensor::new(
            &[floats.len()],
            floats,
        )?)));
    }
    if let Some(int) = node.int("value_int").map_err(damaged)? {
        return Ok(Constant::ints(&[], vec![int]));
    }
    match node.ints("value_ints").map_err(damaged)? {
        Some(ints) => Ok(Constant::ints(&[ints.len()], ints)),
        None => Err(site.refuse("the constant is not supported, only floats and integers")),
    }
}

/// `Shape` or `Size` of a value. Height and width hold for one image size only.
fn shape(import: &mut Import<'_>, site: &Site<'_>) -> Result<Constant, Error> {
    let (dims, sized) = match import.required(site, 0)? {
        Value::Constant(constant) => (constant.dims().to_vec(), vec![constant.sized; MAX_RANK]),
        Value::Activation(x) => {
            if let Pending::Pad(..) = x.pending {
                return Err(site.refuse("the shape of padded activations is not supported"));
            }
            let of_size = |&axis: &Axis| matches!(axis, Axis::Row | Axis::Column | Axis::Pixel);
            (import.dims(&x), x.axes.iter().map(of_size).collect())
        }
    };
    let ints: Vec<i64> = dims
        .iter()
        .filter_map(|&size| i64::try_from(size).ok())
        .collect();
    if site.node.op == "Size" {
        let product = ints
            .iter()
            .try_fold(1i64, |product, &size| product.checked_mul(size));
        let product = product.ok_or_else(|| site.refuse("the number overflows"))?;
        let sized = sized.contains(&true);
        return Ok(Constant {
            sized,
            ..Constant::ints(&[], vec![product])
        });
    }
    let rank = i64::try_from(ints.len()).unwrap_or(0);
    let bound = |name: &str, default: i64| -> Result<usize, Error> {
        let stated = site.int(name, default)?;
        let counted = if stated < 0 {
            stated.saturating_add(rank)
        } else {
            stated
        };
        Ok(usize::try_from(counted.clamp(0, rank)).unwrap_or(0))
    };
    let (start, end) = (bound("start", 0)?, bound("end", rank)?);
    let part = ints.get(start..end).unwrap_or_default().to_vec();
    let sized = sized.get(start..end).unwrap_or_default().contains(&true);
    Ok(Constant {
        sized,
        ..Constant::ints(&[part.len()], part)
    })
}

/// A node whose inputs are all constants.
struct Fold<'i, 'a, 's> {
    import: &'i mut Import<'a>,
    site: &'i Site<'s>,
    inputs: Vec<Option<Constant>>,
}

impl Fold<'_, '_, '_> {
    /// Computes the node: one arm per operator.
    fn run(&mut self) -> Result<Option<Numbers>, Error> {
        Ok(Some(match self.site.node.op {
            "Identity" | "Dropout" => self.input(0)?.numbers.clone(),
            "Max" | "Min" | "Sum" if self.inputs.len() == 1 => self.input(0)?.numbers.clone(),
            "Cast" => self.cast(self.site.int("to", 0)?)?,
            "CastLike" => match self.input(1)?.numbers {
                Numbers::Floats(_) => self.cast(1)?,
                Numbers::Ints { .. } => self.cast(7)?,
            },
            "Transpose" => self.transpose()?,
            "Slice" => self.slice()?,
            "Expand" => self.expand()?,
            "Gather" => self.gather()?,
            "Concat" => self.concat()?,
            "Reshape" => self.reshape()?,
            "Flatten" => self.flatten()?,
            "Squeeze" | "Unsqueeze" => self.squeeze()?,
            "ConstantOfShape" => self.filled()?,
            "Range" => self.range()?,
            "Sqrt" | "Reciprocal" | "Neg" | "Abs" | "Floor" | "Not" => self.unary()?,
            "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Min" | "Max" | "Equal" | "Greater"
            | "Less" | "GreaterOrEqual" | "LessOrEqual" => self.binary()?,
            _ => return Ok(None),
        }))
    }

    fn input(&self, index: usize) -> Result<&Constant, Error> {
        let input = self.inputs.get(index).and_then(Option::as_ref);
        input.ok_or_else(|| self.site.refuse(format!("input {index} is missing")))
    }

    fn refuse<T>(&self, reason: impl Into<String>) -> Result<T, Error> {
        Err(self.site.refuse(reason))
    }

    fn list(&self, index: usize) -> Result<Vec<i64>, Error> {
        match &self.input(index)?.numbers {
            Numbers::Ints { ints, .. } => Ok(ints.clone()),
            Numbers::Floats(_) => self.refuse(format!("input {index} must be integers")),
        }
    }

    /// An attribute of older opsets, or the input that replaced it.
    fn setting(&self, name: &str, index: usize) -> Result<Option<Vec<i64>>, Error> {
        if self.site.node.has(name) {
            return self.site.ints(name);
        }
        match self.inputs.get(index) {
            Some(Some(_)) => self.list(index).map(Some),
            _ => Ok(None),
        }
    }

    /// Rearranges, repeats or drops elements of an input.
    fn moved(
        &mut self,
        index: usize,
        dims: &[usize],
        from: impl Fn(usize) -> usize,
    ) -> Result<Numbers, Error> {
        let len = self.volume(dims)?;
        self.import.spend(self.site, len)?;
        Ok(match &self.input(index)?.numbers {
            Numbers::Floats(tensor) => {
                Numbers::Floats(Tensor::from_fn(dims, |i| tensor.data()[from(i)]))
            }
            Numbers::Ints { ints, .. } => Numbers::Ints {
                dims: dims.to_vec(),
                ints: (0..len).map(|i| ints[from(i)]).collect(),
            },
        })
    }

    fn volume(&self, dims: &[usize]) -> Result<usize, Error> {
        volume(dims).ok_or_else(|| self.site.refuse(format!("sizes {dims:?} overflow")))
    }

    fn stepped(&mut self, index: usize, steps: &Steps) -> Result<Numbers, Error> {
        self.moved(index, &steps.dims, |i| steps.index(i))
    }

    fn transpose(&mut self) -> Result<Numbers, Error> {
        let own = Steps::whole(self.input(0)?.dims());
        let rank = own.dims.len();
        let perm = match self.site.ints("perm")? {
            Some(perm) => perm,
            None => (0..rank)
                .rev()
                .filter_map(|axis| i64::try_from(axis).ok())
                .collect(),
        };
        let perm = permutation(self.site, &perm, rank)?;
        let steps = Steps {
            dims: perm.iter().map(|&axis| own.dims[axis]).collect(),
            first: 0,
            steps: perm.iter().map(|&axis| own.steps[axis]).collect(),
        };
        self.stepped(0, &steps)
    }

    fn slice(&mut self) -> Result<Numbers, Error> {
        let dims = self.input(0)?.dims().to_vec();
        let settings = [("starts", 1), ("ends", 2), ("axes", 3), ("steps", 4)];
        let [starts, ends, axes, steps] = settings.map(|(name, index)| self.setting(name, index));
        let ranges = ranges(self.site, &dims, [starts?, ends?, axes?, steps?])?;
        let mut own = Steps::whole(&dims);
        for (axis, range) in ranges.iter().enumerate() {
            own.dims[axis] = range.len;
            own.first += range.start.cast_signed() * own.steps[axis];
            own.steps[axis] *= range.step;
        }
        self.stepped(0, &own)
    }

    fn expand(&mut self) -> Result<Numbers, Error> {
        let own = self.input(0)?.dims().to_vec();
        let shape = self.sizes(1)?;
        let Some(dims) = common(&own, &shape) else {
            return self.refuse(format!("{own:?} cannot become {shape:?}"));
        };
        let steps = Steps::broadcast(&own, &dims);
        let steps = steps.ok_or_else(|| self.site.refuse("its sizes do not fit"))?;
        self.stepped(0, &steps)
    }

    /// An input as a list of sizes.
    fn sizes(&self, index: usize) -> Result<Vec<usize>, Error> {
        let list = self.list(index)?;
        let sizes: Result<_, _> = list.iter().map(|&size| usize::try_from(size)).collect();
        sizes.or_else(|_| self.refuse("a size is negative"))
    }

    fn gather(&mut self) -> Result<Numbers, Error> {
        let dims = self.input(0)?.dims().to_vec();
        let at = axis(self.site, self.site.int("axis", 0)?, dims.len())?;
        let mut picked = Vec::new();
        for index in self.list(1)? {
            picked.push(axis(self.site, index, dims[at])?);
        }
        let inner: usize = dims[at + 1..].iter().product();
        let out = [&dims[..at], self.input(1)?.dims(), &dims[at + 1..]].concat();
        let (count, size) = (picked.len(), dims[at]);
        self.moved(0, &out, |i| {
            let (outer, rest) = (i / (count * inner), i % (count * inner));
            (outer * size + picked[rest / inner]) * inner + rest % inner
        })
    }

    fn concat(&mut self) -> Result<Numbers, Error> {
        let mut dims = self.input(0)?.dims().to_vec();
        let at = axis(self.site, self.site.int("axis", 0)?, dims.len())?;
        let outer: usize = dims[..at].iter().product();
        dims[at] = 0;
        let (mut floats, mut ints) = (Vec::new(), Vec::new());
        for index in 0..self.inputs.len() {
            let own = self.input(index)?.dims();
            let others =
                own.len() == dims.len() && (0..own.len()).all(|a| a == at || own[a] == dims[a]);
            if !others {
                return self.refuse("its inputs differ in dimensions other than the axis");
            }
            dims[at] = dims[at].saturating_add(own[at]);
        }
        let len = self.volume(&dims)?;
        self.import.spend(self.site, len)?;
        for row in 0..outer {
            for index in 0..self.inputs.len() {
                let input = self.input(index)?;
                let part = input.len() / outer;
                let part = row * part..(row + 1) * part;
                match &input.numbers {
                    Numbers::Floats(tensor) => floats.extend_from_slice(&tensor.data()[part]),
                    Numbers::Ints { ints: own, .. } => ints.extend_from_slice(&own[part]),
                }
            }
        }
        match (floats.is_empty(), ints.is_empty()) {
            (true, _) => Ok(Numbers::Ints { dims, ints }),
            (false, true) => Ok(Numbers::Floats(Tensor::new(&dims, floats)?)),
            (false, false) => self.refuse("it joins floats and integers"),
        }
    }

    fn reshape(&mut self) -> Result<Numbers, Error> {
        let stated = self.setting("shape", 1)?;
        let stated = stated.ok_or_else(|| self.site.refuse("the shape is missing"))?;
        let dims = inferred(self.site, self.input(0)?.dims(), &stated)?;
        self.moved(0, &dims, |i| i)
    }

    fn flatten(&mut self) -> Result<Numbers, Error> {
        let dims = self.input(0)?.dims().to_vec();
        let at = self.site.int("axis", 1)?;
        let at = axis(self.site, at, dims.len() + 1)?;
        let dims = [&dims[..at], &dims[at..]].map(|part| part.iter().product());
        self.moved(0, &dims, |i| i)
    }

    fn squeeze(&mut self) -> Result<Numbers, Error> {
        let dims = self.input(0)?.dims().to_vec();
        let axes = self.setting("axes", 1)?;
        let dims = if self.site.node.op == "Squeeze" {
            squeezed(self.site, &dims, axes.as_deref())?
                .into_iter()
                .map(|axis| dims[axis])
                .collect()
        } else {
            let mut dims = dims;
            widen(self.site, &mut dims, &axes.unwrap_or_default(), 1)?;
            dims
        };
        self.moved(0, &dims, |i| i)
    }

    fn filled(&mut self) -> Result<Numbers, Error> {
        let dims = self.sizes(0)?;
        let value = self
            .site
            .node
            .tensor("value")
            .map_err(|error| self.site.damaged(error))?;
        let value = match value {
            Some(tensor) => self.import.decode(self.site, "value", tensor)?,
            None => Constant::of(Numbers::Floats(Tensor::new(&[], vec![0.0])?)),
        };
        if value.len() != 1 {
            return self.refuse("it fills with more than one number");
        }
        self.inputs = vec![Some(value)];
        self.moved(0, &dims, |_| 0)
    }

    fn range(&mut self) -> Result<Numbers, Error> {
        let (start, limit, step) = (self.list(0)?, self.list(1)?, self.list(2)?);
        let (&[start], &[limit], &[step]) = (&start[..], &limit[..], &step[..]) else {
            return self.refuse("its bounds are not numbers");
        };
        let distance = i128::from(limit) - i128::from(start);
        let len = match i128::from(step) {
            0 => return self.refuse("its step is 0"),
            step => (distance / step + i128::from(distance % step != 0)).max(0),
        };
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        self.import.spend(self.site, len)?;
        let ints = (0..len).map(|i| start.wrapping_add(step.wrapping_mul(i.cast_signed() as i64)));
        Ok(Numbers::Ints {
            dims: vec![len],
            ints: ints.collect(),
        })
    }

    fn cast(&mut self, to: i64) -> Result<Numbers, Error> {
        let input = self.input(0)?.clone();
        self.import.spend(self.site, input.len())?;
        Ok(match input.numbers {
            same @ Numbers::Floats(_) if is_float(to) => same,
            Numbers::Floats(tensor) if is_int(to) => Numbers::Ints {
                dims: tensor.dims().to_vec(),
                ints: tensor
                    .data()
                    .iter()
                    .map(|&x| truncated(x, to == BOOL))
                    .collect(),
            },
            Numbers::Ints { dims, ints } if is_float(to) => {
                Numbers::Floats(Tensor::from_fn(&dims, |i| ints[i] as f32))
            }
            Numbers::Ints { dims, ints } if to == BOOL => Numbers::Ints {
                dims,
                ints: ints.into_iter().map(|int| i64::from(int != 0)).collect(),
            },
            same @ Numbers::Ints { .. } if is_int(to) => same,
            _ => return self.refuse("the type is not supported, only floats and integers"),
        })
    }

    fn unary(&mut self) -> Result<Numbers, Error> {
        let input = self.input(0)?.clone();
        self.import.spend(self.site, input.len())?;
        match input.numbers {
            Numbers::Floats(tensor) => {
                let f: fn(f32) -> f32 = match self.site.node.op {
                    "Sqrt" => f32::sqrt,
                    "Reciprocal" => f32::recip,
                    "Neg" => |x| -x,
                    "Abs" => f32::abs,
                    "Floor" => f32::floor,
                    _ => return self.refuse("its type is not supported"),
                };
                let data = tensor.data();
                Ok(Numbers::Floats(Tensor::from_fn(tensor.dims(), |i| {
                    f(data[i])
                })))
            }
            Numbers::Ints { dims, ints } => {
                let f: fn(i64) -> i64 = match self.site.node.op {
                    "Neg" => i64::wrapping_neg,
                    "Abs" => i64::wrapping_abs,
                    "Not" => |x| i64::from(x == 0),
                    _ => return self.refuse("its type is not supported"),
                };
                let ints = ints.into_iter().map(f).collect();
                Ok(Numbers::Ints { dims, ints })
            }
        }
    }

    fn binary(&mut self) -> Result<Numbers, Error> {
        let op = self.site.node.op;
        if self.inputs.len() != 2 {
            return self.refuse("it needs two inputs");
        }
        let (a, b) = (
            self.input(0)?.dims().to_vec(),
            self.input(1)?.dims().to_vec(),
        );
        let Some(dims) = common(&a, &b) else {
            return self.refuse(format!("shapes {a:?} and {b:?} do not match"));
        };
        let (Some(a), Some(b)) = (Steps::broadcast(&a, &dims), Steps::broadcast(&b, &dims)) else {
            return self.refuse("its sizes do not fit");
        };
        let (a, mut b) = (self.stepped(0, &a)?, self.stepped(1, &b)?);
        if let (Numbers::Floats(_), Numbers::Ints { ints, .. }, "Pow") = (&a, &b, op) {
            b = Numbers::Floats(Tensor::from_fn(&dims, |i| ints[i] as f32));
        }
        match (a, b) {
            (Numbers::Floats(a), Numbers::Floats(b)) => {
                let (a, b) = (a.data(), b.data());
                if let Some(f) = on_floats(op) {
                    return Ok(Numbers::Floats(Tensor::from_fn(&dims, |i| f(a[i], b[i]))));
                }
                let Some(f) = comparison(op) else {
                    return self.refuse("its type is not supported");
                };
                let ints = a
                    .iter()
                    .zip(b)
                    .map(|(a, b)| f(a.partial_cmp(b)).into())
                    .collect();
                Ok(Numbers::Ints { dims, ints })
            }
            (Numbers::Ints { ints: a, .. }, Numbers::Ints { ints: b, .. }) => {
                let pairs = a.into_iter().zip(b);
                let ints: Option<Vec<i64>> = match comparison(op) {
                    Some(f) => Some(pairs.map(|(a, b)| f(Some(a.cmp(&b))).into()).collect()),
                    None => pairs.map(|(a, b)| on_ints(op, a, b)).collect(),
                };
                let ints = ints.ok_or_else(|| self.site.refuse("the integers overflow"))?;
                Ok(Numbers::Ints { dims, ints })
            }
            _ => self.refuse("it mixes floats and integers"),
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "what ONNX means by a cast")]
fn truncated(x: f32, truth: bool) -> i64 {
    if truth { i64::from(x != 0.0) } else { x as i64 }
}
