//! The description of a network, in a safetensors file without tensors: it is parsed first.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|graph: &str| {
    // Escapes a JSON string as Rust does, avoiding escapes that JSON lacks.
    let text: String = graph.chars().filter(|c| !c.is_control()).collect();
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    let header = format!(r#"{{"__metadata__":{{"graph":"{text}","architecture":"fuzz"}}}}"#);
    let length = (header.len() as u64).to_le_bytes();
    let file = [&length[..], header.as_bytes()].concat();
    let _ = resnet_formats::from_bytes("fuzz", file, &Default::default());
});
