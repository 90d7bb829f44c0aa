//! Space that is kept beside the ledger for removing entries from it.
//!
//! A tree that is copied on write needs pages to remove something too, so that a ledger on a full disk could not be made smaller.
//! This file gives way then, and is written again once there is space.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What removing entries copies: the way to them in the trees, the list of pages that it frees, and the map of all pages, of which a
/// TiB has some tens of MiB and a ledger of a few GiB a hundred KiB.
const RESERVE_BYTES: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    pub(super) fn beside(ledger: &Path) -> Self {
        let mut path = ledger.as_os_str().to_owned();
        path.push(".reserve");
        Self { path: path.into() }
    }

    /// Takes the space, if it is not taken. A ledger does without where there is none, so a failure is no reason to stop.
    pub(super) fn take(&self) {
        let taken = fs::metadata(&self.path).is_ok_and(|file| file.len() == RESERVE_BYTES as u64);
        if !taken && self.write().is_err() {
            self.give_way();
        }
    }

    /// Gives the space back, and says whether there was any.
    pub(super) fn give_way(&self) -> bool {
        fs::remove_file(&self.path).is_ok()
    }

    fn write(&self) -> io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.path)?;
        // Not zeros, for which some file systems take no space.
        file.write_all(&vec![0xb5; RESERVE_BYTES])
    }
}
