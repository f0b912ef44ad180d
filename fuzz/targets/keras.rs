//! Keras's HDF5 files and archives. Corpus: `crates/formats/tests/data/keras`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if data.starts_with(b"\x89HDF") || data.starts_with(b"PK") {
        let _ = resnet_formats::from_bytes("fuzz", data, &Default::default());
    }
});
