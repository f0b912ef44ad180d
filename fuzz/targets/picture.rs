//! Pictures of every format, the JPEG decoder among them. Corpus: `assets`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use resnet_wgpu::picture::Picture;

fuzz_target!(|data: &[u8]| {
    let _ = Picture::decode("fuzz", data);
});
