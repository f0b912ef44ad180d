//! Settings for Mesa: its software Vulkan, and its layer that sorts devices.

#[cfg(target_os = "linux")]
use std::env;
#[cfg(target_os = "linux")]
use std::ffi::OsStr;
#[cfg(target_os = "linux")]
use std::path::Path;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
use crate::manifests;

/// Makes the settings that the user has not made. Must be called before any threads are started.
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
    (has_512 && manifests::are_of_mesa_22_3()).then_some(("LP_NATIVE_VECTOR_WIDTH", "512"))
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
