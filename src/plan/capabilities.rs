//! The limits, features and kind of a device, from which defaults are chosen.

use std::fmt;

use super::textures;

/// The limits and features of a device. The defaults are those of WebGPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The maximum size of a storage buffer binding in bytes.
    pub storage_binding_bytes: u64,
    /// The maximum size of a buffer in bytes.
    pub buffer_bytes: u64,
    /// The maximum number of workgroups in one dimension of a dispatch.
    pub workgroups_per_dimension: u64,
    /// The maximum number of texels along one side of a texture.
    pub texture_side: u64,
    /// The maximum size of immediates in bytes; zero without that feature.
    pub immediate_bytes: u64,
    /// Whether a shader may read and write the same storage texture.
    pub read_write_textures: bool,
    /// Whether shaders may compute in half precision.
    pub half_arithmetic: bool,
    /// Whether the device has wgpu's experimental cooperative matrices, of size 16×16 in half
    /// precision with sums in single precision.
    pub cooperative_matrix: bool,
    /// The smallest and largest number of lanes in a subgroup, if shaders may use subgroups.
    pub subgroup_lanes: Option<[u32; 2]>,
    /// The kind of device.
    pub device: DeviceKind,
    /// The number of compute units, each of which computes workgroups of its own: AMD's compute units, NVIDIA's
    /// multiprocessors, Intel's Xe cores, Apple's cores, the cores of a CPU. `None` counts as the number of a
    /// mid-range device of its kind.
    pub compute_units: Option<u32>,
    /// The major version of Mesa, where the device is its llvmpipe: versions compile the same text differently.
    pub llvmpipe: Option<u32>,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            storage_binding_bytes: 128 << 20,
            buffer_bytes: 256 << 20,
            workgroups_per_dimension: 65_535,
            texture_side: 8192,
            immediate_bytes: 0,
            read_write_textures: false,
            half_arithmetic: false,
            cooperative_matrix: false,
            subgroup_lanes: None,
            device: DeviceKind::default(),
            compute_units: None,
            llvmpipe: None,
        }
    }
}

impl Capabilities {
    /// Adds what a browser knows about its device and wgpu does not hand on: `vendor` and
    /// `architecture` of the `GPUAdapterInfo`. Kernels are chosen by them.
    #[must_use]
    pub fn in_browser(self, vendor: &str, architecture: &str) -> Self {
        Self {
            device: DeviceKind::in_browser(vendor, architecture),
            ..self
        }
    }
}

impl Capabilities {
    /// The lanes of a subgroup, where the kernels on textures can run.
    pub(crate) fn texture_lanes(&self) -> Option<u32> {
        textures::lanes(self).ok()
    }
}

#[doc(hidden)]
impl Capabilities {
    /// The reason why the device cannot run the kernels on textures; `None` if it can.
    pub fn texture_path_obstacle(&self) -> Option<String> {
        textures::lanes(self).err()
    }
}

/// The class of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DeviceClass {
    /// Not reported by the adapter, or virtual.
    #[default]
    Unknown,
    /// A CPU.
    Software,
    /// A GPU that shares memory with the CPU.
    Integrated,
    /// A GPU on a card of its own.
    Discrete,
}

/// The vendor of a device, as far as it matters for choosing kernels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Vendor {
    /// Any other.
    #[default]
    Unknown,
    /// AMD.
    Amd,
    /// Apple.
    Apple,
    /// Intel.
    Intel,
    /// NVIDIA.
    Nvidia,
    /// Vendors of mobile GPUs: Arm, Broadcom, Imagination, Qualcomm, Samsung.
    Mobile,
}

impl Vendor {
    /// Recognises a vendor by its PCI identifier, or by the identifier that the Vulkan registry
    /// assigns to makers without one; if the backend reports none (Metal, browsers), by the name of
    /// the adapter or of its maker.
    pub fn new(id: u32, name: &str) -> Self {
        match id {
            0x1002 | 0x1022 => Self::Amd,
            0x106B => Self::Apple,
            0x8086 => Self::Intel,
            0x10DE => Self::Nvidia,
            0x1010 | 0x13B5 | 0x144D | 0x14E4 | 0x5143 => Self::Mobile,
            0 => Self::named(name),
            _ => Self::Unknown,
        }
    }

    fn named(name: &str) -> Self {
        let name = name.to_lowercase();
        let is = |makers: &[&str]| makers.iter().any(|maker| name.starts_with(maker));
        match () {
            () if is(&["apple"]) => Self::Apple,
            () if is(&["amd"]) => Self::Amd,
            () if is(&["intel"]) => Self::Intel,
            () if is(&["nvidia"]) => Self::Nvidia,
            () if is(&["arm", "broadcom", "img-tec", "qualcomm", "samsung"]) => Self::Mobile,
            () => Self::Unknown,
        }
    }
}

/// The kind of device that a plan is made for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DeviceKind {
    /// Its class.
    pub class: DeviceClass,
    /// Its vendor.
    pub vendor: Vendor,
}

impl DeviceKind {
    /// A CPU.
    pub const SOFTWARE: Self = Self {
        class: DeviceClass::Software,
        vendor: Vendor::Unknown,
    };

    /// A browser does not say whether a device is a card; those of AMD count as cards.
    fn in_browser(vendor: &str, architecture: &str) -> Self {
        let vendor = Vendor::new(0, vendor);
        let class = match (vendor, architecture) {
            (_, "llvmpipe" | "swiftshader" | "warp") => DeviceClass::Software,
            (Vendor::Unknown, _) => DeviceClass::Unknown,
            (Vendor::Amd | Vendor::Nvidia, _) => DeviceClass::Discrete,
            (Vendor::Intel, "xe-hpc" | "xe-hpg" | "xe2-hpg") => DeviceClass::Discrete,
            (Vendor::Apple | Vendor::Intel | Vendor::Mobile, _) => DeviceClass::Integrated,
        };
        Self { class, vendor }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = match self.class {
            DeviceClass::Unknown => "unknown",
            DeviceClass::Software => "software",
            DeviceClass::Integrated => "integrated",
            DeviceClass::Discrete => "discrete",
        };
        let vendor = match self.vendor {
            Vendor::Unknown => return f.write_str(class),
            Vendor::Amd => "AMD",
            Vendor::Apple => "Apple",
            Vendor::Intel => "Intel",
            Vendor::Nvidia => "NVIDIA",
            Vendor::Mobile => "mobile",
        };
        write!(f, "{class} {vendor}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vendors_are_known_by_number_and_on_metal_by_name() {
        for (id, name, vendor) in [
            (0x10DE, "NVIDIA GeForce RTX 4090", Vendor::Nvidia),
            (0x1002, "AMD Radeon RX 6900 XT", Vendor::Amd),
            (0x8086, "Intel(R) UHD Graphics 770", Vendor::Intel),
            (0x5143, "Adreno (TM) 740", Vendor::Mobile),
            (0, "Apple M2 Pro", Vendor::Apple),
            (0, "AMD Radeon Pro 5500M", Vendor::Amd),
            (0, "qualcomm", Vendor::Mobile),
            (0, "", Vendor::Unknown),
            (0x10005, "llvmpipe (LLVM 15.0.6, 256 bits)", Vendor::Unknown),
            (0x1AE0, "SwiftShader Device", Vendor::Unknown),
        ] {
            assert_eq!(Vendor::new(id, name), vendor, "{name}");
        }
    }

    #[test]
    fn browsers_tell_maker_and_architecture() {
        use DeviceClass as Class;
        for (vendor, architecture, kind) in [
            ("nvidia", "ampere", (Class::Discrete, Vendor::Nvidia)),
            ("amd", "rdna-3", (Class::Discrete, Vendor::Amd)),
            ("intel", "gen-12lp", (Class::Integrated, Vendor::Intel)),
            ("intel", "xe-hpg", (Class::Discrete, Vendor::Intel)),
            ("apple", "metal-3", (Class::Integrated, Vendor::Apple)),
            ("arm", "valhall", (Class::Integrated, Vendor::Mobile)),
            ("google", "swiftshader", (Class::Software, Vendor::Unknown)),
            ("", "", (Class::Unknown, Vendor::Unknown)),
        ] {
            let got = DeviceKind::in_browser(vendor, architecture);
            assert_eq!((got.class, got.vendor), kind, "{vendor} {architecture}");
        }
    }
}
