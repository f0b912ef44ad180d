//! One frame, recorded into one encoder: the scene to a texture, the network on that very texture,
//! the heat map over it, and the panel next to it.

use std::error::Error;

use resnet_wgpu::wgpu;

use crate::Arguments;
use crate::controls::Controls;
use crate::host::Host;
use crate::layout::{Status, frame};
use crate::network::Network;
use crate::panel::Panel;
use crate::scene::{FORMAT, Renderer, Scene};

/// Rays per pixel of the scene, along each side.
const RAYS: u32 = 1;

/// Everything needed to draw.
#[derive(Debug)]
pub(crate) struct Stage {
    host: Host,
    renderer: Renderer,
    scene: wgpu::Buffer,
    bound: wgpu::BindGroup,
    picture: wgpu::Texture,
    pub(crate) network: Network,
    panel: Panel,
}

impl Stage {
    /// Creates a stage that draws to targets of the given format.
    pub(crate) fn new(
        host: &Host,
        arguments: &Arguments,
        format: wgpu::TextureFormat,
    ) -> Result<Self, Box<dyn Error>> {
        let usage = wgpu::TextureUsages::STORAGE_BINDING
            | wgpu::TextureUsages::TEXTURE_BINDING
            | wgpu::TextureUsages::COPY_SRC;
        let (picture, view) = host.texture("picture", [arguments.size; 2], FORMAT, usage);
        let scene = host.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("scene"),
            size: size_of::<Scene>() as u64,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let renderer = Renderer::new(&host.device, RAYS);
        let bound = renderer.bind(&host.device, scene.as_entire_buffer_binding(), &view);
        let network = Network::new(host, &arguments.weights, &view, arguments.split)?;
        let panel = Panel::new(
            &host.device,
            &host.queue,
            format,
            &view,
            &network.heat_map().1,
        );
        Ok(Self {
            host: host.clone(),
            renderer,
            scene,
            bound,
            picture,
            network,
            panel,
        })
    }

    /// The texture that is rendered and classified; its alpha is the solid's mask.
    pub(crate) const fn picture(&self) -> &wgpu::Texture {
        &self.picture
    }

    /// Records and submits a frame.
    pub(crate) fn draw(
        &mut self,
        controls: &Controls,
        status: &Status,
        target: &wgpu::TextureView,
    ) -> Result<(), Box<dyn Error>> {
        let Host { device, queue, .. } = &self.host;
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let size = self.picture.width();
        queue.write_buffer(&self.scene, 0, bytemuck::bytes_of(&controls.scene(size)));
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            self.renderer
                .draw(&mut pass, controls.shape, &self.bound, size, 1);
        }
        // A run that is spread over frames reads the picture only in its first frame.
        self.network.record(&mut encoder)?;
        self.record_panel(&mut encoder, controls, status, target);
        queue.submit([encoder.finish()]);
        self.network.after_submit()?;
        Ok(())
    }

    /// Draws and submits the panel again, with the network's latest results.
    pub(crate) fn show(&self, controls: &Controls, status: &Status, target: &wgpu::TextureView) {
        let Host { device, queue, .. } = &self.host;
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        self.record_panel(&mut encoder, controls, status, target);
        queue.submit([encoder.finish()]);
    }

    fn record_panel(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        controls: &Controls,
        status: &Status,
        target: &wgpu::TextureView,
    ) {
        let size = target.texture().size();
        let size = [size.width, size.height];
        let canvas = frame(size, controls, self.network.seen(), status);
        self.panel
            .record(&self.host.queue, encoder, &canvas, target);
    }
}
