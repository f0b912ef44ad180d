//! The description of a network inside a safetensors file, which has no tensors: what is read before them.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|graph: &str| {
    // A string of JSON, escaped as Rust does it, but for the escapes that JSON does not know.
    let text: String = graph.chars().filter(|c| !c.is_control()).collect();
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    let header = format!(r#"{{"__metadata__":{{"graph":"{text}","architecture":"fuzz"}}}}"#);
    let length = (header.len() as u64).to_le_bytes();
    let file = [&length[..], header.as_bytes()].concat();
    let _ = resnet_formats::from_bytes("fuzz", file, &Default::default());
});
