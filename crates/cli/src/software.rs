//! Settings for Mesa's software Vulkan.

/// Lets llvmpipe use the full vector width of the processor: by default it uses 256 bits even if
/// there are 512, and ResNet-50 takes a fifth longer. A setting made by the user is kept. Must be
/// called before any threads are started.
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
        // SAFETY: no other thread has been started.
        unsafe { std::env::set_var(BITS, "512") };
    }
}

/// On other processors llvmpipe uses the full width by default.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) const fn widen_vectors() {}
