//! Names of classes and rules of preprocessing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use resnet_wgpu::picture::{Labels, Preprocess};

fuzz_target!(|text: &str| {
    let _ = Labels::parse(text);
    let _ = Preprocess::from_json(text);
});
