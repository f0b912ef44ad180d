//! The device of this program, owned by the host as in any graphics program.

use std::error::Error;

use resnet_wgpu::gpu::device_descriptor;
use resnet_wgpu::wgpu;

/// Adapter, device and queue.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) adapter: wgpu::Adapter,
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
}

impl Host {
    /// Creates a device that can run a network and, given a surface, present to it. Honours
    /// `WGPU_ADAPTER_NAME`.
    pub(crate) fn new(
        instance: &wgpu::Instance,
        surface: Option<&wgpu::Surface<'_>>,
    ) -> Result<Self, Box<dyn Error>> {
        pollster::block_on(async {
            let adapter =
                wgpu::util::initialize_adapter_from_env_or_default(instance, surface).await?;
            let (device, queue) = adapter.request_device(&device_descriptor(&adapter)).await?;
            Ok(Self {
                adapter,
                device,
                queue,
            })
        })
    }

    /// Creates a texture with one mip level, and a view of it.
    pub(crate) fn texture(
        &self,
        label: &str,
        [width, height]: [u32; 2],
        format: wgpu::TextureFormat,
        usage: wgpu::TextureUsages,
    ) -> (wgpu::Texture, wgpu::TextureView) {
        let texture = self.device.create_texture(&wgpu::TextureDescriptor {
            label: Some(label),
            size: wgpu::Extent3d {
                width,
                height,
                depth_or_array_layers: 1,
            },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format,
            usage,
            view_formats: &[],
        });
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        (texture, view)
    }

    /// Reads back a texture with four bytes per pixel, row by row. Waits for the result.
    pub(crate) fn read(&self, texture: &wgpu::Texture) -> Result<Vec<u8>, Box<dyn Error>> {
        let row = 4 * texture.width();
        let pitch = row.next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT);
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("readback"),
            size: u64::from(pitch * texture.height()),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self
            .device
            .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_texture_to_buffer(
            texture.as_image_copy(),
            wgpu::TexelCopyBufferInfo {
                buffer: &buffer,
                layout: wgpu::TexelCopyBufferLayout {
                    offset: 0,
                    bytes_per_row: Some(pitch),
                    rows_per_image: None,
                },
            },
            texture.size(),
        );
        self.queue.submit([encoder.finish()]);
        buffer.map_async(wgpu::MapMode::Read, .., |_| ());
        self.device.poll(wgpu::PollType::wait_indefinitely())?;
        let mapped = buffer.get_mapped_range(..)?;
        let rows = mapped.chunks_exact(pitch as usize);
        Ok(rows
            .flat_map(|bytes| &bytes[..row as usize])
            .copied()
            .collect())
    }
}
