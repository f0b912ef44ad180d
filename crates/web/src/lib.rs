//! ResNets in a browser: what the JavaScript in `js/` is made of.
//!
//! A [`Model`] comes from a weight file. It runs on a [`Gpu`], which uses the page's own device, or
//! on a [`Cpu`], which is this module itself. Both give an [`Answer`].

mod answer;
mod cpu;
mod gpu;
mod model;

use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

pub use answer::{Answer, heat};
pub use cpu::Cpu;
pub use gpu::{Gpu, Instance};
pub use model::Model;

/// An `Error` of JavaScript whose `kind` is the stage that failed.
fn thrown(error: resnet_wgpu::Error) -> JsValue {
    let kind = format!("{:?}", error.kind()).to_lowercase();
    refused(&kind, &error.to_string())
}

fn refused(kind: &str, reason: &str) -> JsValue {
    let error = js_sys::Error::new(reason);
    error.set_name("NetworkError");
    // An ordinary object takes a property.
    let _ = js_sys::Reflect::set(&error, &"kind".into(), &kind.into());
    error.into()
}

/// The version of the module.
#[wasm_bindgen]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}
