//! PyTorch's archives and pickles. Corpus: `crates/formats/tests/data`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if data.starts_with(b"PK") || data.starts_with(b"\x80") {
        let _ = resnet_formats::from_bytes("fuzz", data, &Default::default());
    }
});
