//! wgpu's experimental cooperative matrices: which adapters have them, and whether they compute
//! correctly.
//!
//! A host that wants them asks its adapter with [`cooperative_matrix_features`], creates its device
//! with those features and `wgpu::ExperimentalFeatures`, and sets
//! [`crate::plan::PlanOptions::cooperative_matrix`] once [`cooperative_matrix_works`] has returned
//! true for the [`Context`] [of](Context::of) that device.

use super::{Context, Session};
use crate::error::Error;
use crate::graph::{Conv2d, Graph, Op};
use crate::kernels::{Precision, conv2d_cooperative};
use crate::plan::{Capabilities, KernelPath, Plan, PlanOptions};
use crate::tensor::{Shape, Tensor};

/// The features to request; `None` if the adapter lacks the matrices that the kernel multiplies:
/// 16×16 in half precision, summed in single precision.
pub fn cooperative_matrix_features(adapter: &wgpu::Adapter) -> Option<wgpu::Features> {
    let features = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX
        | wgpu::Features::SHADER_F16
        | wgpu::Features::SUBGROUP;
    let side = conv2d_cooperative::SIDE;
    let fits = |p: &wgpu::CooperativeMatrixProperties| {
        [p.m_size, p.n_size, p.k_size] == [side; 3]
            && p.ab_type == wgpu::CooperativeScalarType::F16
            && p.cr_type == wgpu::CooperativeScalarType::F32
    };
    let has_matrices = adapter.cooperative_matrix_properties().iter().any(fits);
    (has_matrices && adapter.features().contains(features)).then_some(features)
}

/// Computes a convolution with and without cooperative matrices and compares the results: some
/// drivers have got them wrong.
///
/// # Errors
/// Those of planning and running; a difference of the results is not an error.
pub fn cooperative_matrix_works(context: &Context) -> Result<bool, Error> {
    let (graph, input) = convolution()?;
    let run = |cooperative_matrix| {
        let options = PlanOptions::new(Capabilities::of(&context.device))
            .path(KernelPath::Buffers)
            .precision(Precision::F16)
            .cooperative_matrix(cooperative_matrix);
        let session = Session::new(context, &Plan::new(&graph, &options)?)?;
        session.run(&input)
    };
    let (plain, cooperative) = (run(false)?, run(true)?);
    let pairs = plain[0].data().iter().zip(cooperative[0].data());
    // Sums of 189 products of numbers up to 1: most of them are between -10 and 10.
    Ok(pairs.into_iter().all(|(a, b)| (a - b).abs() <= 0.1))
}

/// A 3×3 convolution with partial tiles on all sides, over numbers whose period divides none of the
/// dimensions.
fn convolution() -> Result<(Graph, Tensor), Error> {
    let number = |i: usize| f32::from(u8::try_from(i * 37 % 251).unwrap_or(0)) / 125.0 - 1.0;
    let shape = Shape::new(2, 21, 9, 7);
    let mut graph = Graph::new();
    let input = graph.input("input", shape)?;
    let weight = graph.param("weight", Tensor::from_fn(&[70, 21, 3, 3], number));
    let bias = graph.param("bias", Tensor::from_fn(&[70], number));
    let conv = Conv2d::new(weight).padding(1).bias(Some(bias));
    let output = graph.add("output", Op::Conv2d(conv), &[input])?;
    graph.mark_output(output)?;
    Ok((graph, Tensor::from_fn(&shape.dims(), number)))
}
