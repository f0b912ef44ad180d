//! The window and its events.

#![expect(
    clippy::cast_possible_truncation,
    reason = "times and distances on the screen need no more digits than an f32 has"
)]

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use resnet_wgpu::wgpu;
use winit::application::ApplicationHandler;
use winit::dpi::LogicalSize;
use winit::event::{ElementState, MouseButton, MouseScrollDelta, WindowEvent};
use winit::event_loop::{ActiveEventLoop, EventLoop};
use winit::keyboard::{Key, NamedKey};
use winit::window::{Window, WindowId};

use crate::Arguments;
use crate::controls::Controls;
use crate::host::Host;
use crate::layout::Status;
use crate::panel::Canvas;
use crate::stage::Stage;

/// Opens the window and runs until it is closed.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let events = EventLoop::new()?;
    let mut viewer = Viewer {
        arguments,
        controls: Controls::new(arguments.shape, arguments.seed),
        shown: None,
        failure: None,
    };
    events.run_app(&mut viewer)?;
    viewer.failure.map_or(Ok(()), Err)
}

struct Viewer<'a> {
    arguments: &'a Arguments,
    controls: Controls,
    /// `None` until the system allows a window.
    shown: Option<Shown>,
    /// Why the window was closed, if not by the user.
    failure: Option<Box<dyn Error>>,
}

/// The window, and what draws into it.
struct Shown {
    window: Arc<Window>,
    surface: wgpu::Surface<'static>,
    configuration: wgpu::SurfaceConfiguration,
    host: Host,
    stage: Stage,
    status: Status,
    last_frame: Instant,
    /// The last position of the mouse, and whether its button is held.
    cursor: [f64; 2],
    dragging: bool,
}

impl ApplicationHandler for Viewer<'_> {
    fn resumed(&mut self, events: &ActiveEventLoop) {
        if self.shown.is_none() {
            match Shown::new(events, self.arguments) {
                Ok(shown) => self.shown = Some(shown),
                Err(failure) => self.fail(events, failure),
            }
        }
    }

    fn window_event(&mut self, events: &ActiveEventLoop, _: WindowId, event: WindowEvent) {
        let Some(shown) = &mut self.shown else {
            return;
        };
        match event {
            WindowEvent::CloseRequested => events.exit(),
            WindowEvent::Resized(size) => shown.resize([size.width, size.height]),
            WindowEvent::KeyboardInput { event, .. } if event.state == ElementState::Pressed => {
                press(&mut self.controls, &event.logical_key, events);
            }
            WindowEvent::MouseInput {
                button: MouseButton::Left,
                state,
                ..
            } => {
                shown.dragging = state == ElementState::Pressed;
                self.controls.spins &= !shown.dragging;
            }
            WindowEvent::CursorMoved { position, .. } => {
                let moved = shown.move_cursor([position.x, position.y]);
                if shown.dragging {
                    self.controls.drag(moved);
                }
            }
            WindowEvent::MouseWheel { delta, .. } => self.controls.zoom(match delta {
                MouseScrollDelta::LineDelta(_, lines) => lines,
                MouseScrollDelta::PixelDelta(by) => by.y as f32 / 40.0,
            }),
            WindowEvent::RedrawRequested => {
                if let Err(failure) = shown.draw(&mut self.controls) {
                    self.fail(events, failure);
                }
            }
            _ => {}
        }
    }
}

impl Viewer<'_> {
    fn fail(&mut self, events: &ActiveEventLoop, failure: Box<dyn Error>) {
        self.failure.get_or_insert(failure);
        events.exit();
    }
}

fn press(controls: &mut Controls, key: &Key, events: &ActiveEventLoop) {
    match key.as_ref() {
        Key::Named(NamedKey::Escape) => events.exit(),
        Key::Named(NamedKey::ArrowRight) => controls.change_shape(1),
        Key::Named(NamedKey::ArrowLeft) => controls.change_shape(-1),
        Key::Named(NamedKey::Space) => controls.spins = !controls.spins,
        Key::Character("m" | "M") => controls.shows_map = !controls.shows_map,
        Key::Character("c" | "C") => controls.seed += 1,
        _ => {}
    }
}

impl Shown {
    fn new(events: &ActiveEventLoop, arguments: &Arguments) -> Result<Self, Box<dyn Error>> {
        let [width, height] = Canvas::SIZE;
        let attributes = Window::default_attributes()
            .with_title("resnet-wgpu")
            .with_inner_size(LogicalSize::new(width, height));
        let window = Arc::new(events.create_window(attributes)?);
        let instance =
            wgpu::Instance::new(wgpu::InstanceDescriptor::new_with_display_handle_from_env(
                Box::new(events.owned_display_handle()),
            ));
        let surface = instance.create_surface(Arc::clone(&window))?;
        let host = Host::new(&instance, Some(&surface))?;
        let size = window.inner_size();
        let mut configuration = surface
            .get_default_config(&host.adapter, size.width.max(1), size.height.max(1))
            .ok_or("the adapter cannot draw to this window")?;
        // At most one frame ahead, so that the picture follows the mouse.
        configuration.desired_maximum_frame_latency = 1;
        surface.configure(&host.device, &configuration);
        let stage = Stage::new(&host, arguments, configuration.format)?;
        Ok(Self {
            window,
            surface,
            configuration,
            status: Status {
                adapter: host.adapter.get_info().name,
                frame_milliseconds: None,
                split: arguments.split,
            },
            host,
            stage,
            last_frame: Instant::now(),
            cursor: [0.0; 2],
            dragging: false,
        })
    }

    fn resize(&mut self, [width, height]: [u32; 2]) {
        // A minimised window has a size of zero.
        if width > 0 && height > 0 {
            (self.configuration.width, self.configuration.height) = (width, height);
            self.surface
                .configure(&self.host.device, &self.configuration);
        }
    }

    /// How far the mouse has moved, in units of the window's height.
    fn move_cursor(&mut self, to: [f64; 2]) -> [f32; 2] {
        let height = f64::from(self.configuration.height);
        let moved = [0, 1].map(|i| ((to[i] - self.cursor[i]) / height) as f32);
        self.cursor = to;
        moved
    }

    fn draw(&mut self, controls: &mut Controls) -> Result<(), Box<dyn Error>> {
        use wgpu::CurrentSurfaceTexture as Current;
        self.window.request_redraw();
        let texture = match self.surface.get_current_texture() {
            Current::Success(texture) | Current::Suboptimal(texture) => texture,
            Current::Timeout | Current::Occluded => return Ok(()),
            Current::Outdated | Current::Lost | Current::Validation => {
                self.surface
                    .configure(&self.host.device, &self.configuration);
                return Ok(());
            }
        };
        let seconds = self.last_frame.elapsed().as_secs_f64();
        self.last_frame = Instant::now();
        // Smoothed, so that the digits are readable.
        let last = self.status.frame_milliseconds.unwrap_or(1000.0 * seconds);
        self.status.frame_milliseconds = Some(0.9 * last + 0.1 * 1000.0 * seconds);
        controls.pass(seconds as f32);
        // Lets results of earlier frames arrive, without waiting.
        self.host.device.poll(wgpu::PollType::Poll)?;
        let view = texture
            .texture
            .create_view(&wgpu::TextureViewDescriptor::default());
        self.stage.draw(controls, &self.status, &view)?;
        self.window.pre_present_notify();
        self.host.queue.present(texture);
        Ok(())
    }
}
