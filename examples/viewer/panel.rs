//! Rectangles, letters and the picture, drawn by one pipeline in one render pass.
//!
//! Written by hand because it takes only a hundred lines: egui would bring a toolkit for five bars,
//! and glyphon needs the system's fonts, which a server lacks.

use bytemuck::{Pod, Zeroable};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};
use resnet_wgpu::wgpu;

/// Maximum number of rectangles in a frame, letters included.
const MAX_QUADS: usize = 1024;

/// The characters that can be written.
const PRINTABLE: std::ops::RangeInclusive<u8> = b' '..=b'~';

/// Letters are rasterised at this height in pixels and scaled from there.
const RASTER: RasterHeight = RasterHeight::Size32;

/// What a rectangle shows.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
enum Kind {
    Plain,
    Letter,
    Picture,
}

/// A rectangle in the layout of the shader.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Quad {
    rect: [f32; 4],
    source: [f32; 4],
    colour: [f32; 4],
    kind: u32,
}

/// Red, green, blue and alpha, encoded sRGB, 0 to 1.
pub(crate) type Colour = [f32; 4];

/// The contents of a frame, back to front, in layout units: there are [`Canvas::SIZE`] of them.
#[derive(Debug)]
pub(crate) struct Canvas {
    quads: Vec<Quad>,
    /// Pixels per unit, and the position of the origin.
    scale: f32,
    origin: [f32; 2],
}

impl Canvas {
    /// Width and height of the layout, which is scaled to the window and centred in it.
    pub(crate) const SIZE: [u16; 2] = [960, 540];

    pub(crate) fn new(size: [u32; 2]) -> Self {
        let [w, h] = size.map(|side| side as f32);
        let [layout_w, layout_h] = Self::SIZE.map(f32::from);
        let scale = (w / layout_w).min(h / layout_h);
        let origin = [w - scale * layout_w, h - scale * layout_h];
        Self {
            quads: Vec::with_capacity(MAX_QUADS),
            scale,
            origin: origin.map(|rest| (0.5 * rest).floor()),
        }
    }

    fn push(&mut self, kind: Kind, [x, y, w, h]: [f32; 4], source: [f32; 4], colour: Colour) {
        // Text that does not fit is truncated.
        if self.quads.len() < MAX_QUADS {
            self.quads.push(Quad {
                rect: [
                    self.origin[0] + self.scale * x,
                    self.origin[1] + self.scale * y,
                    self.scale * w,
                    self.scale * h,
                ],
                source,
                colour,
                kind: kind as u32,
            });
        }
    }

    /// Fills the whole target, including its margins.
    pub(crate) fn background(&mut self, colour: Colour) {
        let [x, y] = self.origin.map(|margin| margin / self.scale);
        let [w, h] = Self::SIZE.map(f32::from);
        self.fill([-x, -y, w + 2.0 * x + 1.0, h + 2.0 * y + 1.0], colour);
    }

    /// Draws a rectangle: left, top, width, height.
    pub(crate) fn fill(&mut self, rect: [f32; 4], colour: Colour) {
        self.push(Kind::Plain, rect, [0.0; 4], colour);
    }

    /// Draws the picture and the heat map over it, with opacity `heat`.
    pub(crate) fn picture(&mut self, rect: [f32; 4], heat: f32) {
        self.push(
            Kind::Picture,
            rect,
            [0.0, 0.0, 1.0, 1.0],
            [0.0, 0.0, 0.0, heat],
        );
    }

    /// Draws a line of text of the given height, starting at its upper left corner.
    pub(crate) fn text(&mut self, [x, y]: [f32; 2], height: f32, colour: Colour, text: &str) {
        let width = height * Atlas::ASPECT;
        let characters = text
            .bytes()
            .map(|b| if PRINTABLE.contains(&b) { b } else { b'?' });
        for (column, character) in (0u16..).zip(characters) {
            let x = x + f32::from(column) * width;
            let source = Atlas::place(character);
            self.push(Kind::Letter, [x, y, width, height], source, colour);
        }
    }

    /// Draws a line of text that ends at its right edge.
    pub(crate) fn text_to(
        &mut self,
        [right, y]: [f32; 2],
        height: f32,
        colour: Colour,
        text: &str,
    ) {
        let width = height * Atlas::ASPECT * text.len() as f32;
        self.text([right - width, y], height, colour, text);
    }
}

/// All letters side by side in one texture.
struct Atlas;

impl Atlas {
    const LETTERS: usize = (*PRINTABLE.end() - *PRINTABLE.start()) as usize + 1;
    const LETTER_WIDTH: usize = get_raster_width(FontWeight::Regular, RASTER);
    const HEIGHT: usize = RASTER.val();
    /// Width of a letter relative to its height.
    const ASPECT: f32 = Self::LETTER_WIDTH as f32 / Self::HEIGHT as f32;

    /// The rectangle of a letter in the texture, in the range 0 to 1.
    fn place(character: u8) -> [f32; 4] {
        let width = 1.0 / Self::LETTERS as f32;
        [
            f32::from(character - *PRINTABLE.start()) * width,
            0.0,
            width,
            1.0,
        ]
    }

    /// One byte per pixel: its coverage by the letter.
    fn pixels() -> Vec<u8> {
        let row_len = Self::LETTERS * Self::LETTER_WIDTH;
        let mut pixels = vec![0; row_len * Self::HEIGHT];
        for (i, character) in PRINTABLE.enumerate() {
            let raster = get_raster(char::from(character), FontWeight::Regular, RASTER);
            let rows = raster.iter().flat_map(|raster| raster.rows());
            for (y, row) in rows.enumerate() {
                let start = y * row_len + i * Self::LETTER_WIDTH;
                pixels[start..start + row.len()].copy_from_slice(row);
            }
        }
        pixels
    }
}

/// The pipeline and its bindings.
#[derive(Debug)]
pub(crate) struct Panel {
    pipeline: wgpu::RenderPipeline,
    bind_group: wgpu::BindGroup,
    target_size: wgpu::Buffer,
    quads: wgpu::Buffer,
}

impl Panel {
    /// Creates a panel for a target format, with a picture and a heat map to lay over it.
    pub(crate) fn new(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        format: wgpu::TextureFormat,
        picture: &wgpu::TextureView,
        heat_map: &wgpu::TextureView,
    ) -> Self {
        let pipeline = pipeline(device, format);
        let target_size = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("target size"),
            size: 16,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let quads = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("panel"),
            size: (MAX_QUADS * size_of::<Quad>()) as u64,
            usage: wgpu::BufferUsages::VERTEX | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let sampler = device.create_sampler(&wgpu::SamplerDescriptor {
            mag_filter: wgpu::FilterMode::Linear,
            min_filter: wgpu::FilterMode::Linear,
            ..Default::default()
        });
        let glyphs = glyphs(device, queue);
        let resources = [
            target_size.as_entire_binding(),
            wgpu::BindingResource::TextureView(&glyphs),
            wgpu::BindingResource::TextureView(picture),
            wgpu::BindingResource::TextureView(heat_map),
            wgpu::BindingResource::Sampler(&sampler),
        ];
        let entries: Vec<wgpu::BindGroupEntry<'_>> = (0..)
            .zip(resources)
            .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource })
            .collect();
        Self {
            bind_group: device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("panel"),
                layout: &pipeline.get_bind_group_layout(0),
                entries: &entries,
            }),
            pipeline,
            target_size,
            quads,
        }
    }

    /// Draws a frame to the whole target.
    pub(crate) fn record(
        &self,
        queue: &wgpu::Queue,
        encoder: &mut wgpu::CommandEncoder,
        canvas: &Canvas,
        target: &wgpu::TextureView,
    ) {
        let size = target.texture().size();
        let size = [size.width as f32, size.height as f32, 0.0, 0.0];
        queue.write_buffer(&self.target_size, 0, bytemuck::cast_slice(&size));
        queue.write_buffer(&self.quads, 0, bytemuck::cast_slice(&canvas.quads));
        let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
            label: Some("panel"),
            color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                view: target,
                depth_slice: None,
                resolve_target: None,
                ops: wgpu::Operations {
                    load: wgpu::LoadOp::Clear(wgpu::Color::BLACK),
                    store: wgpu::StoreOp::Store,
                },
            })],
            ..Default::default()
        });
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.set_vertex_buffer(0, self.quads.slice(..));
        let count = u32::try_from(canvas.quads.len()).unwrap_or(0);
        pass.draw(0..4, 0..count);
    }
}

fn pipeline(device: &wgpu::Device, format: wgpu::TextureFormat) -> wgpu::RenderPipeline {
    let module = device.create_shader_module(wgpu::include_wgsl!("panel.wgsl"));
    let linear = f64::from(u8::from(format.is_srgb()));
    let compilation_options = wgpu::PipelineCompilationOptions {
        constants: &[("LINEAR", linear)],
        ..Default::default()
    };
    device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
        label: Some("panel"),
        layout: None,
        vertex: wgpu::VertexState {
            module: &module,
            entry_point: Some("corner"),
            compilation_options: compilation_options.clone(),
            buffers: &[Some(wgpu::VertexBufferLayout {
                array_stride: size_of::<Quad>() as u64,
                step_mode: wgpu::VertexStepMode::Instance,
                attributes: &wgpu::vertex_attr_array![
                    0 => Float32x4, 1 => Float32x4, 2 => Float32x4, 3 => Uint32
                ],
            })],
        },
        primitive: wgpu::PrimitiveState {
            topology: wgpu::PrimitiveTopology::TriangleStrip,
            ..Default::default()
        },
        depth_stencil: None,
        multisample: wgpu::MultisampleState::default(),
        fragment: Some(wgpu::FragmentState {
            module: &module,
            entry_point: Some("shade"),
            compilation_options,
            targets: &[Some(wgpu::ColorTargetState {
                format,
                blend: Some(wgpu::BlendState::ALPHA_BLENDING),
                write_mask: wgpu::ColorWrites::ALL,
            })],
        }),
        multiview_mask: None,
        cache: None,
    })
}

/// The texture of all letters.
fn glyphs(device: &wgpu::Device, queue: &wgpu::Queue) -> wgpu::TextureView {
    let width = u32::try_from(Atlas::LETTERS * Atlas::LETTER_WIDTH).unwrap_or(u32::MAX);
    let height = u32::try_from(Atlas::HEIGHT).unwrap_or(u32::MAX);
    let size = wgpu::Extent3d {
        width,
        height,
        depth_or_array_layers: 1,
    };
    let texture = device.create_texture(&wgpu::TextureDescriptor {
        label: Some("letters"),
        size,
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: wgpu::TextureFormat::R8Unorm,
        usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
        view_formats: &[],
    });
    let layout = wgpu::TexelCopyBufferLayout {
        offset: 0,
        bytes_per_row: Some(width),
        rows_per_image: None,
    };
    queue.write_texture(texture.as_image_copy(), &Atlas::pixels(), layout, size);
    texture.create_view(&wgpu::TextureViewDescriptor::default())
}
