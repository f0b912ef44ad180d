//! Settings for Mesa: its software Vulkan, and its layer that sorts devices.

#[cfg(target_os = "linux")]
use std::env;
#[cfg(target_os = "linux")]
use std::ffi::OsStr;
#[cfg(target_os = "linux")]
use std::path::{Path, PathBuf};

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
use crate::manifests;

/// The width of llvmpipe's vectors in bits, and the folder in which Mesa keeps what it compiles.
#[cfg(target_os = "linux")]
const BITS: &str = "LP_NATIVE_VECTOR_WIDTH";
#[cfg(target_os = "linux")]
const CACHE: &str = "MESA_SHADER_CACHE_DIR";

/// Makes the settings that the user has not made. Must be called before any threads are started.
///
/// Whoever sets the width of llvmpipe's vectors, what the driver compiles for it is kept apart: Mesa 25.0 takes
/// code for another width from its cache, and then computes wrongly or crashes.
#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "the program has one thread: nobody reads the environment now"
)]
pub(crate) fn settle() {
    for (name, value) in [wide_vectors(), no_layer()].into_iter().flatten() {
        if env::var_os(name).is_none() {
            // SAFETY: no other thread has been started.
            unsafe { env::set_var(name, value) };
        }
    }
    if let Some(folder) = own_cache()
        && env::var_os(CACHE).is_none()
    {
        // SAFETY: as above.
        unsafe { env::set_var(CACHE, folder) };
    }
}

/// Elsewhere llvmpipe uses the full width by default, or is no part of the system.
#[cfg(not(target_os = "linux"))]
pub(crate) const fn settle() {}

/// Lets llvmpipe use 512 bits where that was measured to be faster: with Mesa 22.3, which uses 256
/// by itself even if the processor has 512. Newer ones are best left alone: 512 bits make
/// ResNet-50 2.7 times slower with Mesa 25.0 and 3.7 times with 26.2. Not for a process that draws:
/// Mesa 22.3's rasteriser cannot do it.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn wide_vectors() -> Option<(&'static str, &'static str)> {
    let has_512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    (has_512 && manifests::are_of_mesa_22_3()).then_some((BITS, "512"))
}

#[cfg(all(target_os = "linux", not(target_arch = "x86_64")))]
const fn wide_vectors() -> Option<(&'static str, &'static str)> {
    None
}

/// Leaves out the layer of Mesa that asks a compositor for its device. Without a session there is none,
/// and all that it does is to print an error twice. Who tells it what to choose keeps it.
#[cfg(target_os = "linux")]
fn no_layer() -> Option<(&'static str, &'static str)> {
    let is_path = |name| env::var_os(name).is_some_and(|value| Path::new(&value).is_absolute());
    let says = |name: &&OsStr| env::var_os(name).is_some();
    let asked = ["MESA_VK_DEVICE_SELECT", "DRI_PRIME"].map(OsStr::new);
    let needed = is_path("XDG_RUNTIME_DIR") || asked.iter().any(says);
    (!needed).then_some(("NODEVICE_SELECT", "1"))
}

/// The driver's cache for a width that somebody has set.
#[cfg(target_os = "linux")]
fn own_cache() -> Option<PathBuf> {
    let caches = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let caches = caches.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))?;
    Some(caches.join(folder(&env::var(BITS).ok()?)?))
}

/// Its name in the folder of all caches.
#[cfg(target_os = "linux")]
fn folder(bits: &str) -> Option<String> {
    let bits: u16 = bits.parse().ok()?;
    Some(format!("resnet-wgpu/mesa-{bits}"))
}

#[cfg(all(test, target_os = "linux"))]
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
