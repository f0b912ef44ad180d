//! NumPy files: the header of an array, in any version of the format.

/// An array of a NumPy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array<'a> {
    /// Its type, such as `<f4`.
    pub kind: &'a str,
    /// Its sizes.
    pub dims: Vec<usize>,
    /// Whether its first size varies fastest, as in Fortran.
    pub fortran: bool,
    /// What follows the header: its elements, and what else there is in the file.
    pub data: &'a [u8],
}

/// The first bytes of every NumPy file.
pub const MAGIC: &[u8] = b"\x93NUMPY";

impl<'a> Array<'a> {
    /// Reads a header; `None` if this is none.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (version, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<2>()?;
        let (length, rest) = if version[0] == 1 {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (u16::from_le_bytes(*length).into(), rest)
        } else {
            let (length, rest) = rest.split_first_chunk::<4>()?;
            (u32::from_le_bytes(*length), rest)
        };
        let (text, data) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        let text = std::str::from_utf8(text).ok()?;
        // What stands behind a key of the Python dict.
        let after = |key: &str| Some(text.split_once(key)?.1.trim_start_matches([' ', ':']));
        let (kind, _) = after("'descr'")?.strip_prefix('\'')?.split_once('\'')?;
        let (sizes, _) = after("'shape'")?.strip_prefix('(')?.split_once(')')?;
        let sizes = sizes
            .split(',')
            .map(str::trim)
            .filter(|size| !size.is_empty());
        let dims: Option<Vec<usize>> = sizes.map(|size| size.parse().ok()).collect();
        let fortran = after("'fortran_order'")?;
        Some(Self {
            kind,
            dims: dims?,
            fortran: fortran.starts_with("True"),
            data,
        })
    }

    /// The number of elements, unless there are more than can be counted.
    pub fn count(&self) -> Option<usize> {
        let sizes = self.dims.iter();
        sizes.copied().try_fold(1_usize, usize::checked_mul)
    }
}
