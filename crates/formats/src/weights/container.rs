//! Recognises containers by their first bytes; for those that cannot be read, says what they are
//! and what to do about it.

use std::path::Path;

/// Advice for weights of other frameworks.
const CONVERT: &str = "not supported yet: convert it to safetensors, for example with \
                       `safetensors.torch.save_file(model.state_dict(), \"model.safetensors\")`";

/// What the first bytes of a file reveal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Container {
    /// A safetensors file, or something unknown; the header will tell.
    Safetensors,
    /// A zip archive, as PyTorch has written since 1.6.
    #[cfg(feature = "torch")]
    Zip,
    /// A Python pickle, as PyTorch wrote before 1.6.
    #[cfg(feature = "torch")]
    Pickle,
    /// JSON text, which may be an index of shards.
    Json,
    /// A format that cannot be read: what it is, and what to do.
    Foreign(String),
}

/// The magic bytes of a format, and what to say about it.
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
    magic(b"\n<!DOCTYPE", "a web page; the download went wrong", false),
    magic(
        b"\x1f\x8b",
        "compressed with gzip; unpack it with `gunzip` first",
        false,
    ),
    magic(
        b"BZh",
        "compressed with bzip2; unpack it with `bunzip2` first",
        false,
    ),
    magic(
        b"\xfd7zXZ",
        "compressed with xz; unpack it with `unxz` first",
        false,
    ),
    magic(
        b"7767517\n",
        "a network of ncnn; use the file that it was converted from",
        false,
    ),
    magic(b"\x89PNG", PICTURE, false),
    magic(b"\xff\xd8\xff", PICTURE, false),
    magic(b"GIF8", PICTURE, false),
    Magic {
        offset: 8,
        bytes: b"WEBP",
        kind: PICTURE,
        convert: false,
    },
    magic(b"%PDF", "a document", false),
    magic(b"!<arch>", "a static library", false),
    magic(b"\x7fELF", "a program", false),
    Magic {
        offset: 4,
        bytes: b"TFL3",
        kind: "a network of TensorFlow Lite; use the Keras or ONNX file that it was converted from",
        convert: false,
    },
];

/// The first bytes of PyTorch checkpoints, and what to call such files when this build cannot read
/// them. An empty archive starts with its end record.
const PYTORCH: &[(&[u8], &str)] = &[
    (b"PK\x03\x04", ZIP),
    (b"PK\x05\x06", ZIP),
    (b"\x80\x02", PICKLE),
    (b"\x80\x03", PICKLE),
    (b"\x80\x04", PICKLE),
    (b"\x80\x05", PICKLE),
];
const PICTURE: &str = "a picture, no weights";
const ZIP: &str = "a zip archive, as PyTorch (.pth, .pt), Keras 3 (.keras) and NumPy (.npz) write";
const PICKLE: &str = "a Python pickle, as PyTorch (.pth) wrote before 1.6";

/// Chooses the reader for a file.
pub(super) fn recognise(data: &[u8]) -> Container {
    // A safetensors header starts with `{` right after its length. Such a file is never refused
    // here, whatever the bytes of its length spell. JSON text has no zero bytes.
    if data.get(8) == Some(&b'{') && (!data.starts_with(b"{") || data[7] == 0) {
        return Container::Safetensors;
    }
    if data.starts_with(b"{") {
        return Container::Json;
    }
    if is_onnx(data) {
        let how = if cfg!(feature = "onnx") {
            "a whole network; open it with `open`"
        } else {
            "which takes the feature `onnx`"
        };
        return Container::Foreign(format!("this is an ONNX file, {how}"));
    }
    if data.starts_with(b"\x89HDF\r\n\x1a\n") {
        let how = if cfg!(feature = "keras") {
            "which may be a whole network; open it with `open`"
        } else {
            "which takes the feature `keras`"
        };
        return Container::Foreign(format!(
            "this is an HDF5 file, as Keras writes (.h5), {how}"
        ));
    }
    let found = PYTORCH.iter().find(|(start, _)| data.starts_with(start));
    if let Some((_, kind)) = found {
        return pytorch(kind);
    }
    let found = MAGICS.iter().find(|magic| {
        data.get(magic.offset..)
            .is_some_and(|rest| rest.starts_with(magic.bytes))
    });
    match found {
        None => Container::Safetensors,
        Some(Magic { kind, convert, .. }) => Container::Foreign(if *convert {
            format!("this is {kind}, {CONVERT}")
        } else {
            format!("this is {kind}")
        }),
    }
}

/// Formats without magic bytes: file name extensions, and what to say about them.
const ENDINGS: &[(&str, &str)] = &[
    (
        "pb",
        "a SavedModel or a frozen graph of TensorFlow; save the network with `model.save(\"network.keras\")`",
    ),
    ("caffemodel", "a network of Caffe; convert it to ONNX"),
    (
        "mlmodel",
        "a network of Core ML; use the file that it was converted from",
    ),
    (
        "param",
        "a network of ncnn; use the file that it was converted from",
    ),
    (
        "pdparams",
        "weights of Paddle; convert them with paddle2onnx",
    ),
    (
        "msgpack",
        "weights of Flax; use the repository's model.safetensors",
    ),
    (
        "t7",
        "a file of Lua Torch, which no current framework reads",
    ),
    ("params", "weights of MXNet; export the network as ONNX"),
    (
        "engine",
        "an engine of TensorRT; use the ONNX file that it was built from",
    ),
    (
        "trt",
        "an engine of TensorRT; use the ONNX file that it was built from",
    ),
];

/// Identifies a file by its name if its content is of no format that can be read.
pub(crate) fn foreign_name(path: &Path, data: &[u8]) -> Option<String> {
    let ending = path.extension()?.to_str()?.to_lowercase();
    let (_, what) = ENDINGS.iter().find(|(known, _)| *known == ending)?;
    let nothing = recognise(data) == Container::Safetensors && data.get(8) != Some(&b'{');
    // These protobuf files can look like ONNX.
    let named = ending == "mlmodel" || path.ends_with("saved_model.pb");
    (nothing || is_onnx(data) && named).then(|| format!("this is {what}"))
}

#[cfg(feature = "torch")]
fn pytorch(kind: &'static str) -> Container {
    if kind == ZIP {
        Container::Zip
    } else {
        Container::Pickle
    }
}

#[cfg(not(feature = "torch"))]
fn pytorch(kind: &'static str) -> Container {
    Container::Foreign(format!(
        "this is {kind}; this program was built without the cargo feature `torch`, which reads \
         PyTorch's, and otherwise it is {CONVERT}"
    ))
}

/// Whether the bytes are an ONNX model: a protobuf message without magic bytes. It starts with
/// field 1, the format version (a small number), and another field: a string, the graph (7) or the
/// opsets (8). No safetensors file starts like that: its header would be longer than any real one.
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
            (&b"\x89HDF\r\n\x1a\nrest"[..], "HDF5"),
            (b"\x08\x08\x12\x07pytorch\x1a\x03", "ONNX"),
            (
                b"version https://git-lfs.github.com/spec/v1",
                "git lfs pull",
            ),
            (b"<!DOCTYPE html><html>", "web page"),
            (&tar, "tar"),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a picture"),
            (b"\xff\xd8\xff\xe0\0\x10JFIF", "a picture"),
            (b"RIFF\x24\0\0\0WEBPVP8 ", "a picture"),
        ] {
            match recognise(bytes) {
                Container::Foreign(reason) => {
                    assert!(reason.contains(expected), "{expected}: got '{reason}'");
                }
                other => panic!("{expected}: {other:?}"),
            }
        }
        assert_eq!(recognise(b"{\"weight_map\": {}}"), Container::Json, "JSON");
    }

    #[test]
    #[cfg(feature = "torch")]
    fn checkpoints_of_pytorch_are_told_apart() {
        assert_eq!(recognise(b"PK\x03\x04rest of it"), Container::Zip, "zip");
        let legacy = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.";
        assert_eq!(recognise(legacy), Container::Pickle, "pickle");
    }

    #[test]
    #[cfg(not(feature = "torch"))]
    fn checkpoints_of_pytorch_name_the_feature_that_reads_them() {
        for start in [&b"PK\x03\x04rest of it"[..], b"\x80\x02\x8a\nl\xfc"] {
            match recognise(start) {
                Container::Foreign(reason) => {
                    assert!(reason.contains("feature `torch`"), "{reason}");
                }
                other => panic!("{other:?}"),
            }
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
        assert_eq!(recognise(&file), Container::Safetensors, "still one");
    }
}
