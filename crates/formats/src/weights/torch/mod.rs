//! PyTorch checkpoints (`.pth`, `.pt`, `.bin`), read without Python and without running any code.
//!
//! Since 1.6 a checkpoint has been a zip archive: a pickle that describes the objects (`data.pkl`),
//! and the numbers of each storage in a file of their own (`data/0`, `data/1` …). Before, it was a
//! stream of pickles followed by the numbers. `zip` finds the files of an archive, `pickle` turns a
//! pickle into data, `objects` says what that data can be, `checkpoint` finds the state dict in
//! it, and `facts` what stands beside that.
//!
//! A pickle is a program for a small stack machine that can call any function of any Python module.
//! This machine knows a fixed list of names ([`objects::Global`]) that all stand for data. Objects
//! of other classes may accompany the weights: they are recorded by name and never created. A name
//! of a function that acts on the computer ends the reading. Each step uses at least one byte of
//! the file and creates at most one value, which bounds memory; steps are limited.

mod checkpoint;
mod facts;
mod legacy;
mod objects;
mod pickle;

use std::ops::Range;

use super::contents::{Contents, Fault};
use super::zip::Archive;
use crate::weights::bytes::Bytes;
use checkpoint::Storages;
use objects::Storage;

pub(super) use legacy::read as read_legacy;

/// Reads the table of contents of an archive.
pub(super) fn read_zip(source: &Bytes, entry: Option<&str>) -> Result<Contents, Fault> {
    let archive = Archive::open(source)?;
    let prefix = prefix(&archive)?;
    let file = |name: &str| archive.find(&[prefix.as_bytes(), name.as_bytes()].concat());
    if archive.names().any(|name| {
        name.strip_prefix(prefix.as_bytes())
            .is_some_and(|name| name == b"constants.pkl" || name.starts_with(b"code/"))
    }) {
        return Err(Fault::damaged(
            "this is a TorchScript archive, which holds a program; take its weights out with \
             `torch.save(torch.jit.load(\"model.pt\").state_dict(), \"weights.pth\")`",
        ));
    }
    if let Some(order) = file("byteorder")? {
        check_byte_order(*source.read(order)? == *b"little")?;
    }
    let pickle = file("data.pkl")?
        .ok_or_else(|| Fault::damaged("the archive has no 'data.pkl', which describes tensors"))?;
    let pickle = source.read(pickle)?;
    let pickle = pickle::load(&pickle)?;
    checkpoint::contents(
        &pickle.objects,
        pickle.root,
        &ZipStorages {
            file_bytes: source.len(),
            file,
        },
        entry,
    )
}

/// The prefix of every name in the archive: the name that the file had when it was saved.
fn prefix<'a>(archive: &'a Archive<'_>) -> Result<&'a str, Fault> {
    let mut found = archive.names().filter_map(|name| {
        let prefix = name.strip_suffix(b"data.pkl")?;
        let folders = prefix.iter().filter(|byte| **byte == b'/').count();
        let whole = prefix.is_empty() || prefix.ends_with(b"/");
        let prefix = str::from_utf8(prefix).ok()?;
        (folders <= 1 && whole).then_some(prefix)
    });
    match (found.next(), found.next()) {
        (Some(prefix), None) => Ok(prefix),
        (Some(_), Some(_)) => Err(Fault::damaged(
            "a zip archive with several 'data.pkl'; it must hold exactly one checkpoint",
        )),
        (None, _) => Err(Fault::Damaged(format!(
            "this is a zip archive, but not a checkpoint of PyTorch: {}",
            archive.kind()
        ))),
    }
}

fn check_byte_order(little: bool) -> Result<(), Fault> {
    if little {
        Ok(())
    } else {
        Err(Fault::damaged(
            "the checkpoint was saved on a big-endian machine; load it with PyTorch on a \
             little-endian one and save it again",
        ))
    }
}

/// Storages that are files of the archive.
struct ZipStorages<F> {
    file_bytes: usize,
    file: F,
}

impl<F: Fn(&str) -> Result<Option<Range<usize>>, Fault>> Storages for ZipStorages<F> {
    fn file_bytes(&self) -> usize {
        self.file_bytes
    }

    fn format(&self) -> &'static str {
        "PyTorch checkpoint"
    }

    fn locate(&self, storage: &Storage<'_>) -> Result<Range<usize>, Fault> {
        let key = storage.key;
        (self.file)(&format!("data/{key}"))?
            .ok_or_else(|| Fault::Damaged(format!("the archive lacks the storage 'data/{key}'")))
    }
}
