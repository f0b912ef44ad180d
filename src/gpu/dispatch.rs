//! One dispatch: a pipeline and its bindings, ready to record.

use super::guarded;
use crate::error::Error;
use crate::kernels::Launch;

/// One dispatch, ready to record.
#[derive(Clone, Debug)]
pub(super) struct Dispatch {
    pub(super) pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    immediates: Vec<u8>,
    workgroups: [u32; 3],
}

impl Dispatch {
    /// Binds resources, in the order of the kernel's bindings, to a pipeline.
    pub(super) fn new<'a>(
        device: &wgpu::Device,
        node: &str,
        launch: &Launch,
        (pipeline, layout): (wgpu::ComputePipeline, wgpu::BindGroupLayout),
        resources: impl IntoIterator<Item = wgpu::BindingResource<'a>>,
    ) -> Result<Self, Error> {
        let entries: Vec<wgpu::BindGroupEntry<'_>> = (0u32..)
            .zip(resources)
            .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource })
            .collect();
        let bind_group = guarded(device, node, || {
            device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(&label(node)),
                layout: &layout,
                entries: &entries,
            })
        })?;
        Ok(Self {
            pipeline,
            bind_group,
            immediates: immediates(launch),
            workgroups: workgroups(node, launch)?,
        })
    }

    /// The same with the smallest grid.
    pub(super) fn of_one_workgroup(&self) -> Self {
        Self {
            workgroups: [1, 1, 1],
            ..self.clone()
        }
    }

    /// The same with no grid at all: the driver sees the pipeline, and nothing runs.
    pub(super) fn of_no_workgroup(&self) -> Self {
        Self {
            workgroups: [0, 0, 0],
            ..self.clone()
        }
    }

    pub(super) fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        let [x, y, z] = self.workgroups;
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        if !self.immediates.is_empty() {
            pass.set_immediates(0, &self.immediates);
        }
        pass.dispatch_workgroups(x, y, z);
    }
}

/// Labels start with the crate's name so that a host's captures stay legible.
pub(super) fn label(name: &str) -> String {
    format!("resnet-wgpu {name}")
}

fn workgroups(node: &str, launch: &Launch) -> Result<[u32; 3], Error> {
    let [x, y, z] = launch.workgroups.map(u32::try_from);
    match (x, y, z) {
        (Ok(x), Ok(y), Ok(z)) => Ok([x, y, z]),
        _ => Err(Error::LimitExceeded {
            node: node.to_owned(),
            what: "workgroups in one dimension",
            needed: launch.workgroups.into_iter().max().unwrap_or(0),
            allowed: u32::MAX.into(),
            hint: "use a smaller batch or image",
        }),
    }
}

pub(super) fn immediates(launch: &Launch) -> Vec<u8> {
    let values = launch.immediates.iter();
    values.flat_map(|(_, value)| value.to_ne_bytes()).collect()
}
