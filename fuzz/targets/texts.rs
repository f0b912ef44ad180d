//! Label files and preprocessing rules.

#![no_main]

use libfuzzer_sys::fuzz_target;
use resnet_wgpu::picture::Labels;

fuzz_target!(|text: &str| {
    let _ = Labels::parse(text);
    let _ = resnet_formats::preprocess(text);
});
