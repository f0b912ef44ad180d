//! Pictures of every format, whole and truncated. Corpus: `assets`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use resnet_wgpu::picture::Reader;

fuzz_target!(|data: &[u8]| {
    for truncated in [false, true] {
        let mut reader = Reader::default();
        reader.truncated = truncated;
        let _ = reader.decode("fuzz", data);
    }
});
