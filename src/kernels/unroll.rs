//! Writes out the loops of a shader whose bounds are constants.
//!
//! Sums in an array are in registers only where every index is a constant, and drivers differ in the
//! loops that they unroll: Mesa 25 leaves loops over more than about 64 sums alone, and reads and
//! writes every sum lane by lane. Written out, such a kernel is as fast on one driver as on another.

use std::borrow::Cow;
use std::ops::Range;

/// Writes out all loops of the form `for (var NAME = 0u; NAME < BOUND; NAME++) { … }`, where `BOUND`
/// is a literal or a `const` of the module. Other loops stay, as do those with a `break` or
/// `continue`.
pub(super) fn unroll(source: Cow<'static, str>) -> Cow<'static, str> {
    let constants = Constants(&source);
    if find_loop(&source, &constants).is_none() {
        return source;
    }
    Cow::Owned(unrolled(&source, &constants))
}

/// The text with its loops written out, the outer ones first.
fn unrolled(text: &str, constants: &Constants<'_>) -> String {
    let Some(found) = find_loop(text, constants) else {
        return text.to_owned();
    };
    let body = &text[found.body.clone()];
    let copies: String = (0..found.count)
        .map(|value| format!("{{{}}}", replaced(body, found.variable, value)))
        .collect();
    let before = &text[..found.start];
    let after = &text[found.body.end + 1..];
    [
        before,
        &unrolled(&copies, constants),
        &unrolled(after, constants),
    ]
    .concat()
}

/// A loop over `0..count`.
struct Loop<'t> {
    variable: &'t str,
    count: u32,
    /// Where `for` is.
    start: usize,
    /// What is between its braces.
    body: Range<usize>,
}

/// The first loop with a constant bound.
fn find_loop<'t>(text: &'t str, constants: &Constants<'_>) -> Option<Loop<'t>> {
    let starts = text.match_indices("for (var ").map(|(at, _)| at);
    starts.filter_map(|at| loop_at(text, at, constants)).next()
}

fn loop_at<'t>(text: &'t str, start: usize, constants: &Constants<'_>) -> Option<Loop<'t>> {
    let (variable, rest) = text[start..]
        .strip_prefix("for (var ")?
        .split_once(" = 0u; ")?;
    let (bound, rest) = rest
        .strip_prefix(variable)?
        .strip_prefix(" < ")?
        .split_once("; ")?;
    let inside = rest.strip_prefix(variable)?.strip_prefix("++) {")?;
    let count = constants.value(bound)?;
    let body = text.len() - inside.len();
    let length = closing_brace(inside)?;
    let jumps = words(&inside[..length]).any(|word| matches!(word, "break" | "continue"));
    (!jumps).then_some(Loop {
        variable,
        count,
        start,
        body: body..body + length,
    })
}

/// Where the brace is that closes a block of which this is the inside. Those in comments do not count.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 1;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let code = line.split("//").next().unwrap_or_default();
        for (column, byte) in code.bytes().enumerate() {
            match byte {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Some(at + column);
            }
        }
        at += line.len();
    }
    None
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
        let mut value = self.product()?;
        loop {
            if self.skip(" + ") {
                value = value.checked_add(self.product()?)?;
            } else if self.skip(" - ") {
                value = value.checked_sub(self.product()?)?;
            } else {
                return Some(value);
            }
        }
    }

    fn product(&mut self) -> Option<u32> {
        let mut value = self.term()?;
        loop {
            if self.skip(" * ") {
                value = value.checked_mul(self.term()?)?;
            } else if self.skip(" / ") {
                value = value.checked_div(self.term()?)?;
            } else {
                return Some(value);
            }
        }
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
    use super::*;

    const CONSTANTS: &str = "
const TILE: u32 = 8u;
const GROUPS: u32 = (TILE + 4u - 1u) / 4u * 1u;
override COUNT: u32;
";

    fn written_out(body: &'static str) -> String {
        let source = format!("{CONSTANTS}{body}");
        let text = unroll(Cow::Owned(source)).into_owned();
        text.replace('\n', " ")
            .split_once("COUNT: u32; ")
            .unwrap()
            .1
            .trim_end()
            .to_owned()
    }

    #[test]
    fn loops_over_constants_are_written_out() {
        for (body, expected) in [
            ("for (var i = 0u; i < 2u; i++) {a[i];}", "{a[0u];}{a[1u];}"),
            (
                "for (var i = 0u; i < GROUPS; i++) {f(i);} g();",
                "{f(0u);}{f(1u);} g();",
            ),
            (
                "for (var i = 0u; i < 2u; i++) {for (var j = 0u; j < GROUPS; j++) {a[i][j];}}",
                "{{a[0u][0u];}{a[0u][1u];}}{{a[1u][0u];}{a[1u][1u];}}",
            ),
            // Neither a field, nor a part of a word, nor the suffix of a number is the variable.
            (
                "for (var u = 0u; u < 1u; u++) {x.u + u * 4u + under; // u }\n}",
                "{x.u + 0u * 4u + under; // 0u } }",
            ),
        ] {
            assert_eq!(written_out(body), expected, "{body}");
        }
    }

    #[test]
    fn other_loops_stay() {
        for body in [
            "for (var i = 0u; i < COUNT; i++) {a[i];}",
            "for (var i = 0u; i < geometry.steps; i++) {a[i];}",
            "for (var i = 1u; i < 2u; i++) {a[i];}",
            "for (var i = first; i < 2u; i += 2u) {a[i];}",
            "for (var i = 0u; i < 2u; i++) {if (b) {break;}}",
        ] {
            assert_eq!(written_out(body), body, "{body}");
        }
    }

    #[test]
    fn a_loop_in_one_that_stays_is_written_out() {
        let body = "for (var i = 0; i < n; i++) {for (var j = 0u; j < 2u; j++) {a[j];}}";
        let expected = "for (var i = 0; i < n; i++) {{a[0u];}{a[1u];}}";
        assert_eq!(written_out(body), expected, "the inner one");
    }

    #[test]
    fn constants_are_computed() {
        let constants = Constants(CONSTANTS);
        assert_eq!(
            constants.value("GROUPS"),
            Some(2),
            "in the order of precedence"
        );
        assert_eq!(constants.value("TILE - 3u * 2u"), Some(2));
        for unknown in ["COUNT", "TILE - 9u", "TILE / 0u", "TILE %", "4", ""] {
            assert_eq!(constants.value(unknown), None, "{unknown}");
        }
    }
}
