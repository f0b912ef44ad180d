//! The comparison itself: a wrong answer must make it fail.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::panic::catch_unwind;

use common::{Numbers, assert_close};
use resnet_wgpu::internals::compare::{Difference, Tolerance};
use resnet_wgpu::picture::top_k;
use resnet_wgpu::tensor::Tensor;

const TOLERANCE: Tolerance = Tolerance {
    atol: 1e-6,
    rtol: 1e-6,
};

fn fails(want: &Tensor, got: &Tensor) -> bool {
    catch_unwind(|| assert_close("harness", want, got, TOLERANCE)).is_err()
}

fn with(tensor: &Tensor, index: usize, value: f32) -> Tensor {
    let mut data = tensor.data().to_vec();
    data[index] = value;
    Tensor::new(tensor.dims(), data).unwrap()
}

#[test]
fn equal_tensors_pass() {
    let want = Numbers::new(1).tensor(&[2, 3, 4, 5]);
    assert!(!fails(&want, &want.clone()), "a tensor agrees with itself");
}

#[test]
fn one_flipped_element_fails_and_is_located() {
    let want = Numbers::new(2).tensor(&[2, 3, 4, 5]);
    let got = with(&want, 119, -want.data()[119]);
    assert!(fails(&want, &got), "the last element was flipped");
    let difference = Difference::between(&want, &got, TOLERANCE).unwrap();
    assert_eq!(
        difference.first.unwrap().index,
        [1, 2, 3, 4],
        "its place as [n, c, y, x]"
    );
}

#[test]
fn a_nan_or_an_infinity_on_either_side_fails() {
    let want = Numbers::new(3).tensor(&[1, 2, 3, 4]);
    for value in [f32::NAN, f32::INFINITY] {
        let broken = with(&want, 7, value);
        assert!(fails(&want, &broken), "{value} was computed");
        assert!(fails(&broken, &want), "{value} was wanted");
    }
}

#[test]
fn a_transposed_result_fails() {
    let want = Numbers::new(4).tensor(&[1, 1, 4, 4]);
    let got = Tensor::from_fn(&[1, 1, 4, 4], |i| want.data()[i % 4 * 4 + i / 4]);
    assert!(fails(&want, &got), "rows and columns were swapped");
}

#[test]
fn other_sizes_fail_even_with_the_same_number_of_scalars() {
    let want = Numbers::new(5).tensor(&[1, 2, 3, 4]);
    let shorter = Tensor::new(&[1, 2, 3, 3], want.data()[..18].to_vec()).unwrap();
    let reshaped = Tensor::new(&[1, 2, 4, 3], want.data().to_vec()).unwrap();
    assert!(fails(&want, &shorter), "a row is missing");
    assert!(fails(&want, &reshaped), "sizes were swapped");
}

#[test]
fn zeros_fail() {
    let want = Numbers::new(6).tensor(&[1, 2, 3, 4]);
    assert!(
        fails(&want, &Tensor::from_fn(&[1, 2, 3, 4], |_| 0.0)),
        "nothing was computed"
    );
}

#[test]
fn top_k_is_in_descending_order_and_puts_nans_last() {
    assert_eq!(
        top_k(&[0.1, f32::NAN, 3.0, -2.0, 3.0], 4),
        [2, 4, 0, 3],
        "ties keep their order"
    );
    assert_eq!(top_k(&[1.0], 5), [0], "k may exceed the length");
}
