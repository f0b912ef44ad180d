//! Indexing into constants, and arithmetic on their elements.

use std::cmp::Ordering;

/// A strided view of a constant: its shape, its first element and the step along each axis.
pub(super) struct Steps {
    pub(super) dims: Vec<usize>,
    pub(super) first: isize,
    pub(super) steps: Vec<isize>,
}

impl Steps {
    pub(super) fn whole(dims: &[usize]) -> Self {
        let mut steps = vec![1; dims.len()];
        for axis in (1..dims.len()).rev() {
            steps[axis - 1] = steps[axis] * dims[axis].cast_signed();
        }
        Self {
            dims: dims.to_vec(),
            first: 0,
            steps,
        }
    }

    /// Broadcasts to a larger shape, as NumPy does.
    pub(super) fn broadcast(dims: &[usize], to: &[usize]) -> Option<Self> {
        let mut own = Self::whole(dims);
        let added = to.len().checked_sub(dims.len())?;
        for (axis, step) in own.steps.iter_mut().enumerate() {
            match dims[axis] {
                size if size == to[added + axis] => {}
                1 => *step = 0,
                _ => return None,
            }
        }
        let steps = vec![0; added].into_iter().chain(own.steps).collect();
        Some(Self {
            dims: to.to_vec(),
            steps,
            ..own
        })
    }

    pub(super) fn index(&self, mut element: usize) -> usize {
        let mut index = self.first;
        for (&size, &step) in self.dims.iter().zip(&self.steps).rev() {
            index += (element % size).cast_signed() * step;
            element /= size;
        }
        index.cast_unsigned()
    }
}

pub(super) fn on_floats(op: &str) -> Option<fn(f32, f32) -> f32> {
    Some(match op {
        "Add" => |a, b| a + b,
        "Sub" => |a, b| a - b,
        "Mul" => |a, b| a * b,
        "Div" => |a, b| a / b,
        "Pow" => f32::powf,
        "Min" => f32::min,
        "Max" => f32::max,
        _ => return None,
    })
}

/// Integer arithmetic; `None` on overflow or if the operator is not defined for integers.
pub(super) fn on_ints(op: &str, a: i64, b: i64) -> Option<i64> {
    match op {
        "Add" => a.checked_add(b),
        "Sub" => a.checked_sub(b),
        "Mul" => a.checked_mul(b),
        "Div" => a.checked_div(b),
        "Pow" => a.checked_pow(u32::try_from(b).ok()?),
        "Min" => Some(a.min(b)),
        "Max" => Some(a.max(b)),
        _ => None,
    }
}

pub(super) fn comparison(op: &str) -> Option<fn(Option<Ordering>) -> bool> {
    Some(match op {
        "Equal" => |order| order.is_some_and(Ordering::is_eq),
        "Greater" => |order| order.is_some_and(Ordering::is_gt),
        "Less" => |order| order.is_some_and(Ordering::is_lt),
        "GreaterOrEqual" => |order| order.is_some_and(Ordering::is_ge),
        "LessOrEqual" => |order| order.is_some_and(Ordering::is_le),
        _ => return None,
    })
}

/// The shape that two operands broadcast to, as in NumPy.
pub(super) fn common(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let size =
        |dims: &[usize], axis: usize| (axis + dims.len()).checked_sub(rank).map_or(1, |i| dims[i]);
    let mut dims = Vec::new();
    for axis in 0..rank {
        dims.push(match (size(a, axis), size(b, axis)) {
            (a, b) if a == b => a,
            (1, size) | (size, 1) => size,
            _ => return None,
        });
    }
    Some(dims)
}
