//! The window, which eframe opens on a device that suits the network.

use std::error::Error;
use std::sync::Arc;

use eframe::egui;
use eframe::egui_wgpu::{RenderState, WgpuConfiguration, WgpuSetup, WgpuSetupCreateNew};
use resnet_wgpu::gpu::{Context, device_descriptor};
use resnet_wgpu::wgpu;

use crate::Arguments;
use crate::app::{Gpu, Viewer};
use crate::theme;
use crate::times;

/// Width and height at the start.
pub(crate) const SIZE: [f32; 2] = [1080.0, 720.0];

/// What is asked of the adapter: what makes the network fast, and a clock.
pub(crate) fn descriptor(adapter: &wgpu::Adapter) -> wgpu::DeviceDescriptor<'static> {
    let mut descriptor = device_descriptor(adapter);
    descriptor.required_features |= adapter.features() & times::FEATURES;
    descriptor
}

impl Viewer {
    fn of_window(state: &RenderState, arguments: &Arguments, ui: &egui::Context) -> Self {
        let gpu = Gpu {
            context: Context::of(state.device.clone(), state.queue.clone()),
            renderer: Arc::clone(&state.renderer),
            adapter: state.adapter.get_info().name,
        };
        Self::new(gpu, arguments, ui)
    }
}

impl eframe::App for Viewer {
    fn ui(&mut self, ui: &mut egui::Ui, _: &mut eframe::Frame) {
        let ctx = ui.ctx().clone();
        self.advance(&ctx);
        Self::ui(self, ui);
        if self.changed {
            ctx.request_repaint();
        }
    }
}

/// Opens the window and runs until it is closed.
pub(crate) fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let mut setup = WgpuSetupCreateNew::without_display_handle();
    setup.device_descriptor = Arc::new(descriptor);
    let options = eframe::NativeOptions {
        viewport: egui::ViewportBuilder::default()
            .with_inner_size(SIZE)
            .with_min_inner_size([640.0, 420.0]),
        wgpu_options: WgpuConfiguration {
            wgpu_setup: WgpuSetup::CreateNew(setup),
            ..WgpuConfiguration::default()
        },
        ..eframe::NativeOptions::default()
    };
    let create = move |creation: &eframe::CreationContext<'_>| {
        theme::install(&creation.egui_ctx);
        let state = creation
            .wgpu_render_state
            .as_ref()
            .ok_or("eframe runs without wgpu")?;
        let viewer = Viewer::of_window(state, &arguments, &creation.egui_ctx);
        Ok(Box::new(viewer) as Box<dyn eframe::App>)
    };
    eframe::run_native("resnet-wgpu", options, Box::new(create))?;
    Ok(())
}
