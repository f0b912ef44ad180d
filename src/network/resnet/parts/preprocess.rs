//! A normalisation in front of the network, whose mean and standard deviation are tensors of the file.

use crate::error::Error;
use crate::network::TensorSource;

/// What the mean is called, and what the standard deviation.
const NAMES: &[[&str; 2]] = &[
    ["mean", "std"],
    ["new_mean", "new_std"],
    ["pixel_mean", "pixel_std"],
    ["image_mean", "image_std"],
];

/// Means and standard deviations of three channels among tensors outside of the backbone.
pub(in super::super) fn normalizations(
    names: &[&str],
    dims: &impl Fn(&str) -> Option<Vec<usize>>,
) -> Vec<[String; 2]> {
    let three = |name: &str| {
        names.contains(&name) && dims(name).is_some_and(|dims| dims.iter().product::<usize>() == 3)
    };
    let pair = |name: &&str| {
        let (module, last) = name
            .rsplit_once('.')
            .map_or(("", *name), |(module, last)| (&name[..=module.len()], last));
        let [_, std] = NAMES.iter().find(|[mean, _]| *mean == last)?;
        let std = format!("{module}{std}");
        (three(name) && three(&std)).then(|| [(*name).to_owned(), std])
    };
    names.iter().filter_map(pair).collect()
}

/// Mean and standard deviation of a file's normalisations, in units of the full range.
pub(in super::super) fn read(
    source: &mut dyn TensorSource,
    normalizations: &[[String; 2]],
) -> Result<Option<[[f32; 3]; 2]>, Error> {
    let mut result: Option<[[f32; 3]; 2]> = None;
    for names in normalizations {
        let mut numbers = [[0.0; 3]; 2];
        for (name, numbers) in names.iter().zip(&mut numbers) {
            let dims = source.dims(name).unwrap_or_default();
            numbers.copy_from_slice(source.take(name, &dims)?.data());
        }
        // Some count from 0 to 255.
        if numbers[0].iter().any(|&mean| mean > 2.0) {
            numbers = numbers.map(|of| of.map(|number| number / 255.0));
        }
        if result.is_some_and(|earlier| earlier != numbers) {
            let reason = format!(
                "'{}' is not that of another normalisation in front",
                names[0]
            );
            return Err(Error::WeightsUnrecognised { reason, hint: None });
        }
        result = Some(numbers);
    }
    Ok(result)
}
