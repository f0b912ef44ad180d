//! Safetensors files. Corpus: `crates/formats/tests/data/families`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if data.get(8) == Some(&b'{') {
        let _ = resnet_formats::from_bytes("fuzz", data, &Default::default());
    }
});
