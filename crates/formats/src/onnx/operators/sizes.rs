//! Interprets axes, shapes and ranges given as attributes or inputs.

use super::super::import::Site;
use super::super::tensor::MAX_RANK;
use resnet_wgpu::Error;

/// Normalises an axis; negative ones count from the end.
pub(super) fn axis(site: &Site<'_>, axis: i64, rank: usize) -> Result<usize, Error> {
    let counted = if axis < 0 {
        i64::try_from(rank)
            .ok()
            .and_then(|rank| axis.checked_add(rank))
    } else {
        Some(axis)
    };
    counted
        .and_then(|axis| usize::try_from(axis).ok())
        .filter(|&axis| axis < rank)
        .ok_or_else(|| site.refuse(format!("there is no axis {axis} among {rank}")))
}

/// Normalises a list of distinct axes and sorts it.
pub(super) fn axes(site: &Site<'_>, listed: &[i64], rank: usize) -> Result<Vec<usize>, Error> {
    let mut found = Vec::new();
    for &listed in listed.iter().take(MAX_RANK + 1) {
        found.push(axis(site, listed, rank)?);
    }
    found.sort_unstable();
    if found.windows(2).any(|pair| pair[0] == pair[1]) || found.len() != listed.len() {
        return Err(site.refuse(format!("axes {listed:?} make no sense")));
    }
    Ok(found)
}

/// A permutation of all axes.
pub(super) fn permutation(site: &Site<'_>, perm: &[i64], rank: usize) -> Result<Vec<usize>, Error> {
    if axes(site, perm, rank)?.len() != rank {
        return Err(site.refuse(format!("perm {perm:?} does not fit {rank} dimensions")));
    }
    perm.iter().map(|&index| axis(site, index, rank)).collect()
}

/// The indices of the axes that a `Squeeze` keeps.
pub(super) fn squeezed(
    site: &Site<'_>,
    dims: &[usize],
    listed: Option<&[i64]>,
) -> Result<Vec<usize>, Error> {
    let gone = match listed {
        Some(listed) => axes(site, listed, dims.len())?,
        None => (0..dims.len()).filter(|&axis| dims[axis] == 1).collect(),
    };
    if let Some(&axis) = gone.iter().find(|&&axis| dims[axis] != 1) {
        return Err(site.refuse(format!("axis {axis} of {dims:?} is not of size 1")));
    }
    Ok((0..dims.len())
        .filter(|axis| !gone.contains(axis))
        .collect())
}

/// Inserts `one` for each axis that an `Unsqueeze` adds; `listed` are positions in the result.
pub(super) fn widen<T: Copy>(
    site: &Site<'_>,
    list: &mut Vec<T>,
    listed: &[i64],
    one: T,
) -> Result<(), Error> {
    let rank = list.len() + listed.len();
    if rank > MAX_RANK {
        return Err(site.refuse("it has too many dimensions"));
    }
    for axis in axes(site, listed, rank)? {
        list.insert(axis, one);
    }
    Ok(())
}

/// The target shape of a `Reshape`, with its 0 and −1 resolved.
pub(super) fn inferred(
    site: &Site<'_>,
    dims: &[usize],
    stated: &[i64],
) -> Result<Vec<usize>, Error> {
    let refuse = || site.refuse(format!("{dims:?} cannot become {stated:?}"));
    let zero_copies = site.int("allowzero", 0)? == 0;
    let mut sizes = Vec::new();
    for (index, &size) in stated.iter().enumerate() {
        sizes.push(match size {
            -1 => None,
            0 if zero_copies => Some(*dims.get(index).ok_or_else(refuse)?),
            size => Some(usize::try_from(size).map_err(|_| refuse())?),
        });
    }
    let mut known = sizes.iter().flatten().copied();
    let known = known
        .try_fold(1usize, usize::checked_mul)
        .ok_or_else(refuse)?;
    let open = sizes.iter().filter(|size| size.is_none()).count();
    let len: usize = dims.iter().product();
    let fits = match open {
        0 => known == len,
        1 => known > 0 && len.is_multiple_of(known),
        _ => false,
    };
    if !fits || sizes.len() > MAX_RANK {
        return Err(refuse());
    }
    Ok(sizes
        .into_iter()
        .map(|size| size.unwrap_or_else(|| len / known))
        .collect())
}

/// The elements that a `Slice` takes along one axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) start: usize,
    pub(super) step: isize,
    pub(super) len: usize,
}

/// The ranges of a `Slice` along all axes; the settings are starts, ends, axes and steps.
pub(super) fn ranges(
    site: &Site<'_>,
    dims: &[usize],
    [starts, ends, listed, steps]: [Option<Vec<i64>>; 4],
) -> Result<Vec<Range>, Error> {
    let mut ranges: Vec<Range> = dims
        .iter()
        .map(|&len| Range {
            start: 0,
            step: 1,
            len,
        })
        .collect();
    let (Some(starts), Some(ends)) = (starts, ends) else {
        return Err(site.refuse("starts or ends are missing"));
    };
    let all = || {
        (0..starts.len())
            .filter_map(|axis| i64::try_from(axis).ok())
            .collect()
    };
    let listed = listed.unwrap_or_else(all);
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    axes(site, &listed, dims.len())?;
    if [ends.len(), listed.len(), steps.len()] != [starts.len(); 3] || steps.contains(&0) {
        return Err(site.refuse("its starts, ends, axes and steps do not fit each other"));
    }
    for (index, &listed) in listed.iter().enumerate() {
        let at = axis(site, listed, dims.len())?;
        let size = i64::try_from(dims[at]).unwrap_or(i64::MAX);
        let step = steps[index];
        let counted = |bound: i64| {
            if bound < 0 {
                bound.saturating_add(size)
            } else {
                bound
            }
        };
        let (start, end) = (counted(starts[index]), counted(ends[index]));
        let (start, distance) = if step > 0 {
            let start = start.clamp(0, size);
            (start, end.clamp(0, size) - start)
        } else {
            let start = start.clamp(0, (size - 1).max(0));
            (start, start - end.clamp(-1, (size - 1).max(0)))
        };
        let len = distance
            .max(0)
            .cast_unsigned()
            .div_ceil(step.unsigned_abs());
        ranges[at] = Range {
            start: usize::try_from(start).unwrap_or(0),
            // A step beyond the axis takes as few elements as any longer one.
            step: isize::try_from(step.clamp(-size.max(1), size.max(1))).unwrap_or(1),
            len: usize::try_from(len).unwrap_or(0),
        };
    }
    Ok(ranges)
}
