//! Settings for Mesa's software Vulkan.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
use std::{env, path::PathBuf};

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
use crate::manifests;

/// Lets llvmpipe use 512 bits where that was measured to be faster: with Mesa 22.3, which uses 256
/// by itself even if the processor has 512. Newer ones are best left alone: 512 bits make
/// ResNet-50 2.7 times slower with Mesa 25.0 and 3.7 times with 26.2. A setting made by the user
/// stays. Must be called before any threads are started, and in no process that draws: Mesa 22.3's
/// rasteriser cannot do it.
///
/// Whoever sets the width, the driver keeps what it compiles apart: Mesa 25.0 takes code of another width from its
/// cache, and then computes wrongly or crashes.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[expect(
    unsafe_code,
    reason = "the program has one thread: nobody reads the environment now"
)]
pub(crate) fn set_vectors() {
    const BITS: &str = "LP_NATIVE_VECTOR_WIDTH";
    const CACHE: &str = "MESA_SHADER_CACHE_DIR";
    let has_512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    if has_512 && env::var_os(BITS).is_none() && manifests::are_of_mesa_22_3() {
        // SAFETY: no other thread has been started.
        unsafe { env::set_var(BITS, "512") };
    }
    let caches = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let caches = caches.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")));
    if let (Ok(bits), Some(caches)) = (env::var(BITS), caches)
        && env::var_os(CACHE).is_none()
        && let Some(folder) = folder(&bits)
    {
        // SAFETY: as above.
        unsafe { env::set_var(CACHE, caches.join(folder)) };
    }
}

/// The driver's cache for a width, in the folder of all caches.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn folder(bits: &str) -> Option<String> {
    let bits: u16 = bits.parse().ok()?;
    Some(format!("resnet-wgpu/mesa-{bits}"))
}

/// Elsewhere llvmpipe uses the full width by default, or is no part of the system.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub(crate) const fn set_vectors() {}

#[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
mod tests {
    use super::folder;

    #[test]
    fn each_vector_width_has_a_cache_of_its_own() {
        assert_eq!(folder("128").as_deref(), Some("resnet-wgpu/mesa-128"));
        assert_ne!(folder("128"), folder("512"));
        for wrong in ["", "wide", "../128", "-1"] {
            assert_eq!(folder(wrong), None, "{wrong}");
        }
    }
}
