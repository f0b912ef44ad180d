//! ONNX files, starting with the version field. Corpus: `crates/formats/tests/data/onnx`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if data.starts_with(b"\x08") {
        let _ = resnet_formats::from_bytes("fuzz", data, &Default::default());
    }
});
