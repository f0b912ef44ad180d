//! A normalisation of the input image, whose mean and standard deviation are in the file.

use crate::error::Error;
use crate::network::TensorSource;

/// Names of the tensors with the mean and the standard deviation.
const NAMES: &[[&str; 2]] = &[
    ["mean", "std"],
    ["new_mean", "new_std"],
    ["pixel_mean", "pixel_std"],
    ["image_mean", "image_std"],
];

/// Finds tensors outside the backbone that hold means and standard deviations of three channels.
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

/// Reads the mean and standard deviation of a file's normalisations, for pixels from 0 to 1.
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
        // Some are meant for pixels from 0 to 255.
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
