//! Writes out the loops of a shader that are marked with `// unroll`.
//!
//! Sums in an array are in registers only where every index is a constant, and drivers differ in the
//! loops that they unroll: Mesa 25 leaves loops over more than about 64 sums alone, and reads and
//! writes every sum lane by lane. With the outermost of the loops written out it unrolls those inside
//! by itself. A text with all of them written out takes all drivers longer to translate.

use std::borrow::Cow;

use super::Kernel;
use crate::error::Error;

/// What follows the brace of a loop that is to be written out.
const MARK: &str = "{ // unroll\n";

/// Writes out the marked loops of a kernel's text. Their form is `for (var NAME = 0u; NAME < BOUND;
/// NAME++) {`, where `BOUND` is a literal or a `const` of the module, and their body has neither a
/// `break` or `continue` nor braces in comments.
///
/// # Errors
/// [`Error::Specialise`] if a marked loop has another form.
pub(super) fn unroll(
    kernel: &'static Kernel,
    mut source: Cow<'static, str>,
) -> Result<Cow<'static, str>, Error> {
    while let Some(mark) = source.rfind(MARK) {
        let error = || Error::Specialise {
            kernel: kernel.name,
            reason: "a loop is marked `// unroll`, but it is not over constants".to_owned(),
        };
        source = Cow::Owned(written_out(&source, mark).ok_or_else(error)?);
    }
    Ok(source)
}

/// The text with the loop that has its mark there written out.
fn written_out(text: &str, mark: usize) -> Option<String> {
    let start = text[..mark].rfind("for (var ")?;
    let (variable, rest) = text[start..mark]
        .strip_prefix("for (var ")?
        .split_once(" = 0u; ")?;
    let (bound, rest) = rest
        .strip_prefix(variable)?
        .strip_prefix(" < ")?
        .split_once("; ")?;
    if rest.strip_prefix(variable)? != "++) " {
        return None;
    }
    let count = Constants(text).value(bound)?;
    let inside = &text[mark + MARK.len()..];
    let (body, after) = inside.split_at(closing_brace(inside)?);
    let copies = (0..count).map(|value| format!("{{\n{}}}", replaced(body, variable, value)));
    let copies: String = copies.collect();
    Some([&text[..start], &copies, &after[1..]].concat())
}

/// Where the brace is that closes a block of which this is the inside.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 1;
    text.bytes().position(|byte| {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        depth == 0
    })
}

/// The text with a variable's value in its place. A field of the same name is not the variable.
fn replaced(text: &str, variable: &str, value: u32) -> String {
    let mut out = String::with_capacity(text.len());
    for word in words(text) {
        if word == variable && !out.ends_with('.') {
            out.push_str(&format!("{value}u"));
        } else {
            out.push_str(word);
        }
    }
    out
}

/// The words of a text and what is between them, all of it.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.as_bytes()
        .chunk_by(move |&a, &b| is_word(a) == is_word(b))
        .scan(0, move |at, chunk| {
            let word = &text[*at..*at + chunk.len()];
            *at += chunk.len();
            Some(word)
        })
}

/// The module whose constants are asked for.
struct Constants<'m>(&'m str);

impl Constants<'_> {
    /// The value of a literal such as `4u`, or of a constant that is computed from such by `+`, `-`,
    /// `*` and `/`.
    fn value(&self, expression: &str) -> Option<u32> {
        Expression {
            constants: self,
            rest: expression,
        }
        .whole()
    }

    /// The expression that a constant is declared as.
    fn declaration(&self, name: &str) -> Option<&str> {
        let declared = format!("\nconst {name}: u32 = ");
        let at = self.0.find(&declared)? + declared.len();
        self.0[at..].split(';').next()
    }
}

/// A sign, and what it does.
type Operator = (&'static str, fn(u32, u32) -> Option<u32>);

/// What is left to read of an expression.
struct Expression<'c, 'e> {
    constants: &'c Constants<'c>,
    rest: &'e str,
}

impl Expression<'_, '_> {
    fn whole(mut self) -> Option<u32> {
        let value = self.sum()?;
        self.rest.is_empty().then_some(value)
    }

    fn sum(&mut self) -> Option<u32> {
        let signs: [Operator; 2] = [(" + ", u32::checked_add), (" - ", u32::checked_sub)];
        self.left_to_right(signs, Self::product)
    }

    fn product(&mut self) -> Option<u32> {
        let signs: [Operator; 2] = [(" * ", u32::checked_mul), (" / ", u32::checked_div)];
        self.left_to_right(signs, Self::term)
    }

    /// Operands with operators of one precedence between them.
    fn left_to_right(
        &mut self,
        operators: [Operator; 2],
        operand: fn(&mut Self) -> Option<u32>,
    ) -> Option<u32> {
        let mut value = operand(self)?;
        while let Some((_, apply)) = operators.into_iter().find(|(sign, _)| self.skip(sign)) {
            value = apply(value, operand(self)?)?;
        }
        Some(value)
    }

    fn term(&mut self) -> Option<u32> {
        if self.skip("(") {
            let value = self.sum()?;
            return self.skip(")").then_some(value);
        }
        let word = words(self.rest).next()?;
        self.rest = &self.rest[word.len()..];
        if word.starts_with(|first: char| first.is_ascii_digit()) {
            return word.strip_suffix('u')?.parse().ok();
        }
        self.constants.value(self.constants.declaration(word)?)
    }

    fn skip(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::super::textures::conv2d_texture;
    use super::*;

    const CONSTANTS: &str = "
const TILE: u32 = 8u;
const GROUPS: u32 = (TILE + 4u - 1u) / 4u * 1u;
override COUNT: u32;
";

    fn unrolled(body: &str) -> Result<String, Error> {
        let source = Cow::Owned(format!("{CONSTANTS}{body}"));
        let text = unroll(&conv2d_texture::KERNEL, source)?;
        Ok(text[CONSTANTS.len()..].to_owned())
    }

    #[test]
    fn marked_loops_are_written_out() {
        for (body, expected) in [
            (
                "for (var i = 0u; i < 2u; i++) { // unroll\na[i];}",
                "{\na[0u];}{\na[1u];}",
            ),
            (
                "for (var i = 0u; i < GROUPS; i++) { // unroll\n{f(i);}} g();",
                "{\n{f(0u);}}{\n{f(1u);}} g();",
            ),
            (
                "for (var i = 0u; i < 2u; i++) { // unroll\nfor (var j = 0u; j < 1u; j++) { // unroll\na[i][j];}}",
                "{\n{\na[0u][0u];}}{\n{\na[1u][0u];}}",
            ),
            // Neither a field, nor a part of a word, nor the suffix of a number is the variable.
            (
                "for (var u = 0u; u < 1u; u++) { // unroll\nx.u + u * 4u + under;}",
                "{\nx.u + 0u * 4u + under;}",
            ),
            (
                "for (var i = 0u; i < 2u; i++) {a[i];}",
                "for (var i = 0u; i < 2u; i++) {a[i];}",
            ),
        ] {
            assert_eq!(unrolled(body).unwrap(), expected, "{body}");
        }
    }

    #[test]
    fn a_marked_loop_that_is_not_over_constants_is_an_error() {
        for head in [
            "for (var i = 0u; i < COUNT; i++)",
            "for (var i = 0u; i < geometry.steps; i++)",
            "for (var i = 1u; i < 2u; i++)",
            "for (var i = 0u; i < 2u; i += 2u)",
            "if (i < 2u)",
        ] {
            let result = unrolled(&format!("{head} {{ // unroll\na[i];}}"));
            assert!(matches!(result, Err(Error::Specialise { .. })), "{head}");
        }
        let open = unrolled("for (var i = 0u; i < 2u; i++) { // unroll\na[i];");
        assert!(open.is_err(), "the loop has no end");
    }

    #[test]
    fn constants_are_computed() {
        let constants = Constants(CONSTANTS);
        let groups = constants.value("GROUPS");
        assert_eq!(groups, Some(2), "in the order of precedence");
        assert_eq!(constants.value("TILE - 3u * 2u"), Some(2));
        for unknown in ["COUNT", "TILE - 9u", "TILE / 0u", "TILE %", "4", ""] {
            assert_eq!(constants.value(unknown), None, "{unknown}");
        }
    }
}
