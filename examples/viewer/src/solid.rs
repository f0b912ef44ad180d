//! The live scene: a solid, rendered into a texture in the encoder of the frame.

use resnet_wgpu::wgpu;

use crate::controls::Controls;
use crate::network::texture;
use crate::scene::{Renderer, Scene};

/// Rays per pixel of the scene, along each side.
const RAYS: u32 = 1;

/// What renders the solid, and what it is rendered into.
#[derive(Debug)]
pub(crate) struct Solid {
    renderer: Renderer,
    scene: wgpu::Buffer,
    bound: wgpu::BindGroup,
    texture: wgpu::Texture,
    view: wgpu::TextureView,
}

impl Solid {
    /// A picture of `size` × `size` pixels.
    pub(crate) fn new(device: &wgpu::Device, size: u32) -> Self {
        let usage = wgpu::TextureUsages::STORAGE_BINDING | wgpu::TextureUsages::COPY_SRC;
        let texture = texture(device, "solid", [size; 2], usage);
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        let scene = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("scene"),
            size: size_of::<Scene>() as u64,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let renderer = Renderer::new(device, RAYS);
        Self {
            bound: renderer.bind(device, scene.as_entire_buffer_binding(), &view),
            renderer,
            scene,
            texture,
            view,
        }
    }

    /// The texture; its alpha is the solid's mask.
    pub(crate) const fn texture(&self) -> &wgpu::Texture {
        &self.texture
    }

    pub(crate) const fn view(&self) -> &wgpu::TextureView {
        &self.view
    }

    /// Renders it as the controls say.
    pub(crate) fn draw(
        &self,
        queue: &wgpu::Queue,
        encoder: &mut wgpu::CommandEncoder,
        controls: &Controls,
    ) {
        let size = self.texture.width();
        queue.write_buffer(&self.scene, 0, bytemuck::bytes_of(&controls.scene(size)));
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        self.renderer
            .draw(&mut pass, controls.shape, &self.bound, size, 1);
    }
}
