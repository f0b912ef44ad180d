//! Pipelines of kernels that are no part of a plan: what is bound to them is the host's, and comes
//! when the plan is on the device already.

use std::sync::OnceLock;

use super::pipelines::Pipelines;
use crate::error::Error;
use crate::kernels::Launch;

/// A pipeline and the layout of its bind group.
type Pipeline = (wgpu::ComputePipeline, wgpu::BindGroupLayout);

/// One pipeline for each helper, made when it is first wanted.
#[derive(Debug, Default)]
pub(super) struct Helpers {
    pub(super) resample_rows: Helper,
    pub(super) resample_columns: Helper,
    pub(super) heat_map: Helper,
}

/// A pipeline that may not exist yet.
#[derive(Debug, Default)]
pub(super) struct Helper(OnceLock<Pipeline>);

impl Helper {
    /// The pipeline; all launches of a helper need the same one.
    pub(super) fn get(&self, device: &wgpu::Device, launch: &Launch) -> Result<Pipeline, Error> {
        if let Some(pipeline) = self.0.get() {
            return Ok(pipeline.clone());
        }
        let made = Pipelines::new(device, None).get(launch)?;
        // Another thread may have been first; both are the same.
        Ok(self.0.get_or_init(|| made).clone())
    }
}
