//! Makes names and texts from files and servers safe to print: no control characters reach the
//! terminal, and no name can fake a line of output or fill the screen.

use std::path::Path;

/// Maximum length of a message in bytes.
const LONGEST_MESSAGE: usize = 2000;
/// Maximum length of a name or label in characters.
const LONGEST: usize = 300;

/// A text on one line, shortened and escaped: names from a damaged file must not break the line,
/// control the terminal or fill the screen.
pub(crate) fn one_line(text: &str) -> String {
    let mut short = 0..=text.len().min(LONGEST_MESSAGE);
    let end = short.rfind(|&end| text.is_char_boundary(end)).unwrap_or(0);
    let rest = text.len() - end;
    match rest {
        0 => printable(text),
        _ => format!("{}… ({rest} bytes more)", printable(&text[..end])),
    }
}

/// A text with control characters escaped, so that they cannot control a terminal or fake a line.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A name or label, escaped and shortened.
pub(crate) fn short(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}… ({} bytes)", printable(&text[..end]), text.len()),
        None => printable(text),
    }
}

/// A path in full; bytes that are not UTF-8 are shown as numbers.
pub(crate) fn shown(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// JSON with escapes in its strings for characters that could control a terminal.
pub(crate) fn without_controls(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\u{7f}'..='\u{9f}' => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => text.push(c),
        }
    }
    text
}

#[cfg(test)]
#[path = "../tests/unit/escape.rs"]
mod tests;
