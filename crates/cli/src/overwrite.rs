//! Outputs that would take the place of an input.

use std::path::Path;

use crate::failure::Failure;

/// Refuses an output that is one of the files that are read, under whatever name.
pub(crate) fn refuse<'a>(
    output: &Path,
    inputs: impl IntoIterator<Item = &'a Path>,
) -> Result<(), Failure> {
    // A pipe or a terminal may be both.
    let Some(output) = output.canonicalize().ok().filter(|path| path.is_file()) else {
        return Ok(());
    };
    let is_output = |input: &Path| input.canonicalize().is_ok_and(|input| input == output);
    if inputs.into_iter().any(is_output) {
        return Err(Failure::usage(
            "the output is the input; give the new file another name",
        ));
    }
    Ok(())
}
