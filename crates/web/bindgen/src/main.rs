//! `bindgen IN.wasm OUT_FOLDER`: the JavaScript and the types of a module, as `wasm-bindgen --target web`.

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, input, output] = &arguments[..] else {
        eprintln!("usage: bindgen IN.wasm OUT_FOLDER");
        std::process::exit(2);
    };
    let mut bindgen = wasm_bindgen_cli_support::Bindgen::new();
    let made = bindgen
        .input_path(input)
        .web(true)
        .and_then(|bindgen| bindgen.generate(output));
    if let Err(error) = made {
        eprintln!("{error:#}");
        std::process::exit(1);
    }
}
