//! Names that become parts of paths and URLs: repositories, commits and hashes.

use std::fmt;

/// `OWNER/NAME[@REVISION]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Repository<'a> {
    owner: &'a str,
    name: &'a str,
    pub(super) revision: &'a str,
}

impl<'a> Repository<'a> {
    /// Allows letters, digits, `.`, `_` and `-`, but not `..`, or `--` (the cache's mark for `/`).
    pub(super) fn parse(text: &'a str) -> Result<Self, String> {
        let (id, revision) = text.split_once('@').unwrap_or((text, "main"));
        let plain = |text: &str| {
            let known = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            (1..=96).contains(&text.len()) && text.bytes().all(known) && !text.starts_with('.')
        };
        let joined = |text: &str| text.contains("--") || text.contains("..");
        match id.split_once('/') {
            Some((owner, name))
                if [owner, name, revision].into_iter().all(plain) && !joined(id) =>
            {
                Ok(Self {
                    owner,
                    name,
                    revision,
                })
            }
            _ => Err(
                "not the name of a repository; expected OWNER/NAME or OWNER/NAME@REVISION, such as \
                 timm/resnet50.a1_in1k"
                    .to_owned(),
            ),
        }
    }

    pub(super) fn id(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// The name of its folder in the cache.
    pub(super) fn folder(&self) -> String {
        format!("models--{}--{}", self.owner, self.name)
    }
}

/// Whether a text is a git hash, which becomes a folder name.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && is_hex(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The hash of a file, which names it in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    /// Git's SHA-1, for small files.
    Git(String),
    /// SHA-256, for large files.
    Sha256(String),
}

impl Hash {
    /// The hash contained in an `ETag`.
    pub(super) fn of_etag(etag: &str) -> Option<Self> {
        let text = etag.trim_start_matches("W/").trim_matches('"');
        match text.len() {
            40 if is_hex(text) => Some(Self::Git(text.to_owned())),
            64 if is_hex(text) => Some(Self::Sha256(text.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Git(text) | Self::Sha256(text)) = self;
        f.write_str(text)
    }
}
