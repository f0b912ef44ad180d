//! How Mesa's software Vulkan is asked to compute.

/// Lets llvmpipe use all of a processor's vectors: by itself it uses 256 bits where there are 512, and
/// ResNet-50 takes a fifth longer. What the user has set stays. To be called before there are threads.
#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "the program has one thread: nobody reads the environment now"
)]
pub(crate) fn widen_vectors() {
    const BITS: &str = "LP_NATIVE_VECTOR_WIDTH";
    let has_512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    if has_512 && std::env::var_os(BITS).is_none() {
        // SAFETY: no other thread was started.
        unsafe { std::env::set_var(BITS, "512") };
    }
}

/// On other processors llvmpipe uses all there is.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) const fn widen_vectors() {}
