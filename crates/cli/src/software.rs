//! Settings for Mesa's software Vulkan.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
use crate::manifests;

/// Lets llvmpipe use 512 bits where that was measured to be faster: with Mesa 22.3, which uses 256
/// by itself even if the processor has 512. Newer ones are best left alone: 512 bits make
/// ResNet-50 2.7 times slower with Mesa 25.0 and 3.7 times with 26.2. A setting made by the user
/// stays. Must be called before any threads are started, and in no process that draws: Mesa 22.3's
/// rasteriser cannot do it.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
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
    if has_512 && std::env::var_os(BITS).is_none() && manifests::are_of_mesa_22_3() {
        // SAFETY: no other thread has been started.
        unsafe { std::env::set_var(BITS, "512") };
    }
}

/// Elsewhere llvmpipe uses the full width by default, or is no part of the system.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub(crate) const fn widen_vectors() {}
