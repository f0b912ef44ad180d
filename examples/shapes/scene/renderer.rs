//! The pipelines that render scenes.

use resnet_wgpu::wgpu;

use super::shape::Shape;

/// The shader of the solids, or that of pictures without one.
pub(crate) fn source(nothing: bool) -> String {
    let rest = if nothing {
        include_str!("nothing.wgsl")
    } else {
        "fn other_thing(p: vec3<f32>, kind: u32, vary: f32) -> f32 { return 4.0; }
         fn drawing(at: vec2<f32>, s: ptr<function, Scene>) -> vec3<f32> { return vec3(0.0); }"
    };
    format!("{}\n{rest}", include_str!("scene.wgsl"))
}

/// Renders scenes into textures, on any device.
#[derive(Debug)]
pub(crate) struct Renderer {
    layout: wgpu::BindGroupLayout,
    /// Pipelines by class.
    pipelines: Vec<wgpu::ComputePipeline>,
}

/// The format of the textures that scenes are rendered into.
pub(crate) const FORMAT: wgpu::TextureFormat = wgpu::TextureFormat::Rgba8Unorm;

/// Side in pixels of the square that a workgroup renders: `TILE` in the shader.
const TILE: u32 = 8;

impl Renderer {
    /// Creates a renderer that averages `rays` × `rays` rays per pixel.
    pub(crate) fn new(device: &wgpu::Device, rays: u32) -> Self {
        let [solids, nothing] = [false, true].map(|nothing| {
            device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some("scene"),
                source: wgpu::ShaderSource::Wgsl(source(nothing).into()),
            })
        });
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("scene"),
            entries: &[
                layout_entry(
                    0,
                    wgpu::BindingType::Buffer {
                        ty: wgpu::BufferBindingType::Storage { read_only: true },
                        has_dynamic_offset: false,
                        min_binding_size: None,
                    },
                ),
                layout_entry(
                    1,
                    wgpu::BindingType::StorageTexture {
                        access: wgpu::StorageTextureAccess::WriteOnly,
                        format: FORMAT,
                        view_dimension: wgpu::TextureViewDimension::D2,
                    },
                ),
            ],
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some("scene"),
            bind_group_layouts: &[Some(&layout)],
            ..Default::default()
        });
        let pipeline = |shape: Shape| {
            device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(shape.name()),
                layout: Some(&pipeline_layout),
                module: if shape == Shape::Nothing {
                    &nothing
                } else {
                    &solids
                },
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants: &[("SHAPE", f64::from(shape as u8)), ("RAYS", f64::from(rays))],
                    ..Default::default()
                },
                cache: None,
            })
        };
        Self {
            pipelines: Shape::ALL.map(pipeline).into(),
            layout,
        }
    }

    /// Binds a storage buffer of scenes, and the texture of [`FORMAT`] that they are rendered into,
    /// as a storage texture.
    pub(crate) fn bind(
        &self,
        device: &wgpu::Device,
        scenes: wgpu::BufferBinding<'_>,
        target: &wgpu::TextureView,
    ) -> wgpu::BindGroup {
        device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("scene"),
            layout: &self.layout,
            entries: &[
                wgpu::BindGroupEntry {
                    binding: 0,
                    resource: wgpu::BindingResource::Buffer(scenes),
                },
                wgpu::BindGroupEntry {
                    binding: 1,
                    resource: wgpu::BindingResource::TextureView(target),
                },
            ],
        })
    }

    /// Renders the first `count` scenes, all of one shape and `size` pixels square, each at its
    /// `tile`.
    pub(crate) fn draw(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        shape: Shape,
        bound: &wgpu::BindGroup,
        size: u32,
        count: usize,
    ) {
        let Ok(count @ 1..) = u32::try_from(count) else {
            return;
        };
        pass.set_pipeline(&self.pipelines[shape as usize]);
        pass.set_bind_group(0, bound, &[]);
        let tiles = size.div_ceil(TILE);
        pass.dispatch_workgroups(tiles, tiles, count);
    }
}

const fn layout_entry(binding: u32, ty: wgpu::BindingType) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty,
        count: None,
    }
}
