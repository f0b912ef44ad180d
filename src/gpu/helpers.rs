//! Pipelines of kernels that do not belong to a plan: they work on the host's resources, which
//! arrive after the plan is on the device.

use std::sync::OnceLock;

use super::pipelines::Pipelines;
use crate::error::Error;
use crate::kernels::Launch;

/// A pipeline and the layout of its bind group.
type Pipeline = (wgpu::ComputePipeline, wgpu::BindGroupLayout);

/// One pipeline per helper, created when first needed.
#[derive(Debug, Default)]
pub(super) struct Helpers {
    /// Of one plane, which is colours, and of the two or three of a video.
    pub(super) resample_rows: [Helper; 3],
    pub(super) resample_columns: Helper,
    pub(super) heat_map: Helper,
}

/// A pipeline, created on first use.
#[derive(Debug, Default)]
pub(super) struct Helper(OnceLock<Pipeline>);

impl Helper {
    /// The pipeline, which is the same for all launches of a helper.
    pub(super) fn get(&self, device: &wgpu::Device, launch: &Launch) -> Result<Pipeline, Error> {
        if let Some(pipeline) = self.0.get() {
            return Ok(pipeline.clone());
        }
        let made = Pipelines::new(device, None).get(launch)?;
        // Another thread may have been faster; both pipelines are equal.
        Ok(self.0.get_or_init(|| made).clone())
    }
}
