//! Writes the tile geometry of a launch into the text of a shader.

use std::borrow::Cow;

use super::Kernel;
use crate::error::Error;

/// Replaces the value of `const NAME: u32 = …;` declarations in a kernel's text.
///
/// # Errors
/// [`Error::Specialise`] unless each name is declared exactly once, at the start of a line.
pub fn specialise(
    kernel: &'static Kernel,
    constants: &[(&'static str, u32)],
) -> Result<Cow<'static, str>, Error> {
    let mut source = Cow::Borrowed(kernel.source);
    for (name, value) in constants {
        let declaration = format!("\nconst {name}: u32 = ");
        let error = |reason| Error::Specialise {
            kernel: kernel.name,
            reason,
        };
        let mut found = source.match_indices(&declaration).map(|(at, _)| at);
        let at = found
            .next()
            .ok_or_else(|| error(format!("there is no `const {name}: u32`")))?;
        if found.next().is_some() {
            return Err(error(format!("`const {name}: u32` is declared twice")));
        }
        let value_at = at + declaration.len();
        let end = source[value_at..]
            .find(';')
            .ok_or_else(|| error(format!("the declaration of {name} has no end")))?;
        let text = format!(
            "{}{value}u{}",
            &source[..value_at],
            &source[value_at + end..]
        );
        source = Cow::Owned(text);
    }
    Ok(source)
}

#[cfg(test)]
mod tests {
    use super::super::conv2d_tiled;
    use super::*;

    #[test]
    fn specialising_replaces_exactly_one_declaration() {
        let source = specialise(&conv2d_tiled::KERNEL, &[("TILE_PX", 32)]).unwrap();
        assert!(source.contains("const TILE_PX: u32 = 32u;"), "new value");
        assert!(
            !source.contains("const TILE_PX: u32 = 64u;"),
            "old value is gone"
        );
        assert_eq!(
            source.lines().count(),
            conv2d_tiled::KERNEL.source.lines().count(),
            "one line changed"
        );
    }

    #[test]
    fn specialising_an_unknown_constant_is_an_error() {
        for name in ["TILE", "TILE_P", "IN_GROUPS"] {
            let result = specialise(&conv2d_tiled::KERNEL, &[(name, 32)]);
            assert!(matches!(result, Err(Error::Specialise { .. })), "{name}");
        }
    }

    #[test]
    fn specialising_a_repeated_constant_is_an_error() {
        static TWICE: Kernel = Kernel {
            name: "twice",
            source: "\nconst A: u32 = 1u;\nconst A: u32 = 2u;\n",
            threads: 1,
            bindings: &[],
        };
        assert!(
            specialise(&TWICE, &[("A", 3)]).is_err(),
            "A is declared twice"
        );
    }
}
