//! Renders many pictures and copies them to the host.

use resnet_wgpu::Error;
use resnet_wgpu::gpu::Context;
use resnet_wgpu::wgpu;

use super::{CLASSES, FORMAT, Renderer, Scene, Shape, Sides};

/// Rendered pictures, in order.
#[derive(Debug, Default)]
pub(crate) struct Pictures {
    /// Three bytes per pixel.
    pub(crate) rgb: Vec<u8>,
    /// One byte per pixel.
    pub(crate) masks: Vec<u8>,
    pub(crate) labels: Vec<Shape>,
}

/// The seed of `Scene::random` for picture `i` of a data set.
const fn picture_seed(seed: u32, i: u32) -> u64 {
    (seed as u64) << 32 | i as u64
}

/// A texture with room for the same number of pictures of each shape, and what renders into it.
#[derive(Debug)]
pub(crate) struct Studio<'c> {
    context: &'c Context,
    renderer: Renderer,
    size: u32,
    sides: Sides,
    /// What is shown, in turns.
    shapes: Vec<Shape>,
    /// The number of pictures of each shape.
    depth: u32,
    /// Number of pictures in a row of the texture.
    columns: u32,
    scenes: wgpu::Buffer,
    /// Bindings by class.
    bound: Vec<wgpu::BindGroup>,
    texture: wgpu::Texture,
    readback: wgpu::Buffer,
}

/// The largest width or height of the texture in pixels.
const SIDE: u32 = 2048;

impl<'c> Studio<'c> {
    pub(crate) fn new(context: &'c Context, size: u32, rays: u32) -> Self {
        let device = &context.device;
        let columns = SIDE / size;
        // To be copied to a buffer, rows of the texture must be multiples of 256 bytes.
        let width = (columns * size).next_multiple_of(64);
        let depth = (columns * columns / CLASSES).clamp(1, 32);
        let rows = (depth * CLASSES).div_ceil(columns);
        let renderer = Renderer::new(device, rays);
        let texture = device.create_texture(&wgpu::TextureDescriptor {
            label: Some("pictures"),
            size: wgpu::Extent3d {
                width,
                height: rows * size,
                depth_or_array_layers: 1,
            },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: FORMAT,
            usage: wgpu::TextureUsages::STORAGE_BINDING | wgpu::TextureUsages::COPY_SRC,
            view_formats: &[],
        });
        let scene_bytes = size_of::<Scene>() as u64;
        let scenes = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("scenes"),
            size: u64::from(CLASSES * depth) * scene_bytes,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let readback = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("pictures"),
            size: u64::from(4 * width * rows * size),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        let of_class = |class: u32| wgpu::BufferBinding {
            buffer: &scenes,
            offset: u64::from(class * depth) * scene_bytes,
            size: None,
        };
        let bound = (0..CLASSES)
            .map(|class| renderer.bind(device, of_class(class), &view))
            .collect();
        Self {
            context,
            renderer,
            size,
            sides: Sides::Clear,
            shapes: Shape::ALL.into(),
            depth,
            columns,
            scenes,
            bound,
            texture,
            readback,
        }
    }

    /// Shows one shape alone in what is rendered from now on.
    pub(crate) fn set_only(&mut self, shape: Shape) {
        self.shapes = vec![shape];
    }

    /// Maximum number of pictures that are rendered at once.
    pub(crate) fn capacity(&self) -> u32 {
        self.shapes.iter().map(|_| self.depth).sum()
    }

    /// What a picture shows.
    fn shape(&self, picture: u32) -> Shape {
        self.shapes[picture as usize % self.shapes.len()]
    }

    /// Shows solids from these sides in what is rendered from now on.
    pub(crate) const fn set_sides(&mut self, sides: Sides) {
        self.sides = sides;
    }

    /// Renders some pictures and appends them to `pictures`.
    pub(crate) fn render(
        &mut self,
        seed: u32,
        first: u32,
        count: u32,
        pictures: &mut Pictures,
    ) -> Result<(), Error> {
        let Context { device, queue, .. } = self.context;
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for (class, shape) in (0..).zip(Shape::ALL) {
                let of_class: Vec<Scene> = (0..count)
                    .filter(|i| self.shape(first + i) == shape)
                    .map(|i| Scene {
                        tile: self.tile(i),
                        ..Scene::random(shape, self.sides, picture_seed(seed, first + i), self.size)
                    })
                    .collect();
                let offset = u64::from(class * self.depth) * size_of::<Scene>() as u64;
                queue.write_buffer(&self.scenes, offset, bytemuck::cast_slice(&of_class));
                let bound = &self.bound[class as usize];
                self.renderer
                    .draw(&mut pass, shape, bound, self.size, of_class.len());
            }
        }
        encoder.copy_texture_to_buffer(
            self.texture.as_image_copy(),
            wgpu::TexelCopyBufferInfo {
                buffer: &self.readback,
                layout: wgpu::TexelCopyBufferLayout {
                    offset: 0,
                    bytes_per_row: Some(4 * self.texture.width()),
                    rows_per_image: None,
                },
            },
            self.texture.size(),
        );
        queue.submit([encoder.finish()]);
        self.readback.map_async(wgpu::MapMode::Read, .., |_| ());
        let failed = |reason: String| Error::Gpu {
            what: "rendering".to_owned(),
            reason,
        };
        device
            .poll(wgpu::PollType::wait_indefinitely())
            .map_err(|error| failed(error.to_string()))?;
        {
            let bytes = self
                .readback
                .get_mapped_range(..)
                .map_err(|error| failed(error.to_string()))?;
            for i in 0..count {
                self.append(&bytes, i, pictures);
                pictures.labels.push(self.shape(first + i));
            }
        }
        self.readback.unmap();
        Ok(())
    }

    /// The top left corner of a picture in the texture.
    const fn tile(&self, i: u32) -> [u32; 2] {
        [i % self.columns * self.size, i / self.columns * self.size]
    }

    fn append(&self, texture: &[u8], i: u32, pictures: &mut Pictures) {
        let [x, y] = self.tile(i);
        for row in y..y + self.size {
            let start = 4 * (row * self.texture.width() + x) as usize;
            let row = &texture[start..start + 4 * self.size as usize];
            for &[r, g, b, covered] in row.as_chunks::<4>().0 {
                pictures.rgb.extend([r, g, b]);
                pictures.masks.push(covered);
            }
        }
    }
}
