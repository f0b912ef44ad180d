//! rten: its own kernels for the CPU, from the ONNX file.

use std::sync::Arc;

use rten::{Model, ModelOptions, RunOptions, ThreadPool};
use rten_tensor::NdTensorView;
use rten_tensor::prelude::*;

use crate::{Opened, Options, Result, version_of};

pub(crate) fn open(options: &Options) -> Result<Opened> {
    let model: Model = ModelOptions::with_all_ops()
        .prepack_weights(true)
        .load_file(&options.model)?;
    let pool = Arc::new(ThreadPool::with_num_threads(options.threads));
    let ([height, width], batch) = (options.size, options.batch);
    let run = move |image: &[f32]| {
        let image = NdTensorView::from_data([batch, 3, height, width], image);
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&pool)));
        let output = model.run_one(image.into(), Some(options))?;
        let output: NdTensorView<f32, 2> = output.as_view().try_into()?;
        Ok(output.to_vec())
    };
    Ok(Opened {
        run: Box::new(run),
        used: format!("CPU, {} threads, weights prepacked", options.threads),
        version: version_of("rten"),
    })
}
