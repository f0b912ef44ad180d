//! Recognises files that are not safetensors, to say what they are and what to do about it.

/// What to do with weights of another framework.
const CONVERT: &str = "not supported yet: convert it to safetensors, for example with \
                       `safetensors.torch.save_file(model.state_dict(), \"model.safetensors\")`";

/// The first bytes of a format, and what to say about it.
struct Magic {
    offset: usize,
    bytes: &'static [u8],
    kind: &'static str,
    convert: bool,
}

const fn magic(bytes: &'static [u8], kind: &'static str, convert: bool) -> Magic {
    Magic {
        offset: 0,
        bytes,
        kind,
        convert,
    }
}

const MAGICS: &[Magic] = &[
    magic(
        b"PK\x03\x04",
        "a zip archive, as PyTorch (.pth, .pt), Keras 3 (.keras) and NumPy (.npz) write",
        true,
    ),
    magic(
        b"\x89HDF\r\n\x1a\n",
        "an HDF5 file, as Keras (.h5) writes",
        true,
    ),
    magic(
        b"\x80\x02",
        "a Python pickle, as PyTorch (.pth) wrote before 1.6",
        true,
    ),
    magic(b"\x80\x03", "a Python pickle", true),
    magic(b"\x80\x04", "a Python pickle", true),
    magic(b"\x80\x05", "a Python pickle", true),
    magic(b"\x93NUMPY", "a NumPy array (.npy)", true),
    magic(b"GGUF", "a GGUF file", true),
    Magic {
        offset: 257,
        bytes: b"ustar",
        kind: "a tar archive, as PyTorch (.pth) wrote in its first versions",
        convert: true,
    },
    magic(
        b"version https://git-lfs",
        "a Git LFS pointer instead of the file that it stands for; run `git lfs pull`",
        false,
    ),
    magic(b"<!DOCTYPE", "a web page; the download went wrong", false),
    magic(b"<!doctype", "a web page; the download went wrong", false),
    magic(b"<html", "a web page; the download went wrong", false),
    magic(
        b"{",
        "a JSON text; name the .safetensors file itself (one file, not a list of shards)",
        false,
    ),
];

/// What a file is when its first bytes show that it is no safetensors file.
pub(super) fn foreign(data: &[u8]) -> Option<String> {
    // A safetensors header starts with `{` after its length; a file that agrees is never refused
    // here, whatever its length happens to spell.
    if data.get(8) == Some(&b'{') && !data.starts_with(b"{") {
        return None;
    }
    if is_onnx(data) {
        let how = if cfg!(feature = "onnx") {
            "a whole network; open it with `models::open`"
        } else {
            "which takes the feature `onnx`"
        };
        return Some(format!("this is an ONNX file, {how}"));
    }
    let found = MAGICS.iter().find(|magic| {
        data.get(magic.offset..)
            .is_some_and(|rest| rest.starts_with(magic.bytes))
    })?;
    Some(if found.convert {
        format!("this is {}, {CONVERT}", found.kind)
    } else {
        format!("this is {}", found.kind)
    })
}

/// An ONNX model is a protobuf message without magic bytes. It starts with field 1, the version of
/// the format (a small number), and goes on with another field of a model: texts, the graph (7), or
/// the versions of its operators (8). No safetensors file starts like that: its header would be
/// longer than any.
pub(crate) fn is_onnx(data: &[u8]) -> bool {
    matches!(
        data,
        [0x08, 1..=31, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42 | 0x72, rest @ ..]
            if rest.len() > 8 && rest.get(5) != Some(&b'{')
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_formats_are_called_by_their_name() {
        let tar = [&[0u8; 257][..], b"ustar"].concat();
        for (bytes, expected) in [
            (&b"PK\x03\x04rest of it"[..], "PyTorch (.pth"),
            (b"\x89HDF\r\n\x1a\nrest", "HDF5"),
            (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "pickle"),
            (b"\x08\x08\x12\x07pytorch\x1a\x03", "ONNX"),
            (
                b"version https://git-lfs.github.com/spec/v1",
                "git lfs pull",
            ),
            (b"<!DOCTYPE html><html>", "web page"),
            (b"{\"weight_map\": {}}", "JSON"),
            (&tar, "tar"),
        ] {
            let reason = foreign(bytes).unwrap_or_default();
            assert!(reason.contains(expected), "{expected}: got '{reason}'");
        }
    }

    #[test]
    fn a_safetensors_header_is_not_foreign_whatever_its_length_spells() {
        let mut file = 0x8002u64.to_be_bytes().to_vec();
        file.rotate_left(6);
        file.extend(b"{}");
        assert!(
            file.starts_with(b"\x80\x02"),
            "the length looks like a pickle"
        );
        assert_eq!(foreign(&file), None, "still a safetensors file");
    }
}
