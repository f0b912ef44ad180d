//! How many compute units a device has. No API reports it; the name tells it, with the
//! makers' data sheets.

use super::capabilities::Vendor;

/// Names of NVIDIA's devices and their multiprocessors, from the makers' data sheets. The first name that is
/// part of the adapter's applies, so that the longer of two stands before the shorter.
#[rustfmt::skip]
const NVIDIA: &[(&str, u32)] = &[
    ("RTX 5090 Laptop", 82), ("RTX 5090", 170), ("RTX 5080 Laptop", 60), ("RTX 5080", 84),
    ("RTX 5070 Ti Laptop", 46), ("RTX 5070 Ti", 70), ("RTX 5070 Laptop", 36), ("RTX 5070", 48),
    ("RTX 5060 Ti", 36), ("RTX 5060", 30), ("RTX 5050", 20),
    ("RTX 4090 Laptop", 76), ("RTX 4090 D", 114), ("RTX 4090", 128), ("RTX 4080 Laptop", 58),
    ("RTX 4080 SUPER", 80), ("RTX 4080", 76), ("RTX 4070 Ti SUPER", 66), ("RTX 4070 Ti", 60),
    ("RTX 4070 SUPER", 56), ("RTX 4070 Laptop", 36), ("RTX 4070", 46), ("RTX 4060 Ti", 34),
    ("RTX 4060", 24), ("RTX 4050", 20),
    ("RTX 3090 Ti", 84), ("RTX 3090", 82), ("RTX 3080 Ti Laptop", 58), ("RTX 3080 Ti", 80),
    ("RTX 3080 Laptop", 48), ("RTX 3080", 68), ("RTX 3070 Ti Laptop", 46), ("RTX 3070 Ti", 48),
    ("RTX 3070 Laptop", 40), ("RTX 3070", 46), ("RTX 3060 Ti", 38), ("RTX 3060 Laptop", 30),
    ("RTX 3060", 28), ("RTX 3050", 20),
    ("RTX 2080 Ti", 68), ("RTX 2080 SUPER", 48), ("RTX 2080", 46), ("RTX 2070 SUPER", 40), ("RTX 2070", 36),
    ("RTX 2060 SUPER", 34), ("RTX 2060", 30),
    ("GTX 1660", 22), ("GTX 1650", 14), ("GTX 1080 Ti", 28), ("GTX 1080", 20), ("GTX 1070 Ti", 19),
    ("GTX 1070", 15), ("GTX 1060", 10), ("GTX 1050", 6),
    ("B200", 148), ("H200", 132), ("H100 PCIe", 114), ("H100", 132), ("A100", 108), ("L40S", 142), ("L40", 142), ("L4", 58),
    ("A40", 84), ("A30", 56), ("A10", 72), ("V100", 80), ("T4", 40),
    ("RTX 6000 Ada", 142), ("RTX A6000", 84), ("RTX A5000", 64), ("RTX A4000", 48), ("RTX A2000", 26),
    ("Orin", 16),
];

/// AMD's compute units; two of RDNA's share a workgroup processor. Mesa adds the chip's name.
#[rustfmt::skip]
const AMD: &[(&str, u32)] = &[
    ("RX 9070 XT", 64), ("RX 9070 GRE", 48), ("RX 9070", 56), ("RX 9060", 32),
    ("RX 7900 XTX", 96), ("RX 7900 XT", 84), ("RX 7900 GRE", 80), ("RX 7900M", 72), ("RX 7800 XT", 60),
    ("RX 7700 XT", 54), ("RX 7600", 32),
    ("RX 6950 XT", 80), ("RX 6900 XT", 80), ("RX 6800 XT", 72), ("RX 6800", 60), ("RX 6750 XT", 40),
    ("RX 6700 XT", 40), ("RX 6700", 36), ("RX 6650 XT", 32), ("RX 6600 XT", 32), ("RX 6600", 28),
    ("RX 6500", 16), ("RX 6400", 12),
    ("RX 5700 XT", 40), ("RX 5700", 36), ("RX 5600", 36), ("RX 5500", 22),
    ("RX 590", 36), ("RX 580", 36), ("RX 570", 32), ("RX 560", 16), ("Vega 64", 64), ("Vega 56", 56),
    ("Radeon VII", 60), ("MI300X", 304), ("MI250X", 110), ("MI250", 104), ("MI210", 104), ("MI100", 120),
    ("8060S", 40), ("8050S", 32), ("890M", 16), ("880M", 12), ("860M", 8), ("780M", 12), ("760M", 8), ("740M", 4),
    ("680M", 12), ("660M", 6), ("VANGOGH", 8), ("Custom GPU 0405", 8), ("Vega 11", 11), ("Vega 8", 8),
];

/// Intel's Xe cores, or slices of 16 execution units.
#[rustfmt::skip]
const INTEL: &[(&str, u32)] = &[
    ("B580", 20), ("B570", 18), ("A770", 32), ("A750", 28), ("A580", 24), ("A380", 8), ("A310", 6),
    ("140V", 8), ("130V", 7), ("140T", 8), ("130T", 7), ("Iris(R) Xe", 6), ("UHD Graphics 770", 2),
    ("UHD Graphics 750", 2), ("UHD Graphics 730", 2), ("UHD Graphics 630", 2), ("UHD Graphics 620", 2),
];

/// The cores of Apple's GPUs; of the two or three that most names stand for, the largest.
#[rustfmt::skip]
const APPLE: &[(&str, u32)] = &[
    ("M1 Ultra", 64), ("M1 Max", 32), ("M1 Pro", 16), ("M1", 8),
    ("M2 Ultra", 76), ("M2 Max", 38), ("M2 Pro", 19), ("M2", 10),
    ("M3 Ultra", 80), ("M3 Max", 40), ("M3 Pro", 18), ("M3", 10),
    ("M4 Max", 40), ("M4 Pro", 20), ("M4", 10), ("M5", 10),
];

/// The compute units of the device of this name; `None` if the name is not known.
pub(crate) fn by_name(vendor: Vendor, name: &str) -> Option<u32> {
    let names = match vendor {
        Vendor::Nvidia => NVIDIA,
        Vendor::Amd => AMD,
        Vendor::Intel => INTEL,
        Vendor::Apple => APPLE,
        Vendor::Mobile | Vendor::Unknown => return None,
    };
    let found = names.iter().find(|(part, _)| has_words(name, part));
    found.map(|&(_, units)| units)
}

/// Whether a name has these words, and not just longer ones that begin or end with them: `M1` is no part of
/// `M10`, nor `A10` of `A100`.
fn has_words(name: &str, words: &str) -> bool {
    let is_inside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    name.match_indices(words).any(|(at, _)| {
        let (before, after) = (&name[..at], &name[at + words.len()..]);
        !is_inside(before.chars().next_back()) && !is_inside(after.chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_drivers_tell_the_compute_units() {
        for (vendor, name, units) in [
            (Vendor::Nvidia, "NVIDIA GeForce RTX 4090", Some(128)),
            (
                Vendor::Nvidia,
                "NVIDIA GeForce RTX 4090 Laptop GPU",
                Some(76),
            ),
            (Vendor::Nvidia, "NVIDIA GeForce RTX 3060 Ti", Some(38)),
            (Vendor::Nvidia, "NVIDIA H200", Some(132)),
            (Vendor::Nvidia, "NVIDIA A100-SXM4-40GB", Some(108)),
            (Vendor::Nvidia, "NVIDIA L40S", Some(142)),
            (Vendor::Nvidia, "Tesla T4", Some(40)),
            (
                Vendor::Amd,
                "AMD Radeon RX 7900 XTX (RADV NAVI31)",
                Some(96),
            ),
            (Vendor::Amd, "AMD Radeon RX 6800 XT", Some(72)),
            (
                Vendor::Amd,
                "AMD Radeon 780M Graphics (RADV PHOENIX)",
                Some(12),
            ),
            (Vendor::Amd, "AMD Custom GPU 0405 (RADV VANGOGH)", Some(8)),
            (
                Vendor::Intel,
                "Intel(R) Arc(tm) A770 Graphics (DG2)",
                Some(32),
            ),
            (
                Vendor::Intel,
                "Intel(R) Iris(R) Xe Graphics (TGL GT2)",
                Some(6),
            ),
            (Vendor::Apple, "Apple M1", Some(8)),
            (Vendor::Apple, "Apple M4 Max", Some(40)),
            (Vendor::Apple, "Apple A17 GPU", None),
            (Vendor::Mobile, "Adreno (TM) 740", None),
            (Vendor::Unknown, "Apple M1", None),
        ] {
            assert_eq!(by_name(vendor, name), units, "{name}");
        }
    }

    #[test]
    fn the_longer_of_two_names_stands_first() {
        for names in [NVIDIA, AMD, INTEL, APPLE] {
            for (at, (name, _)) in names.iter().enumerate() {
                let earlier = names[..at]
                    .iter()
                    .find(|(before, _)| has_words(name, before));
                assert_eq!(earlier, None, "it hides {name}");
            }
        }
    }
}
