//! How programs find a grid that `cargo burla up` keeps on this machine.
//!
//! Its address is in a file of the user's own, which `up` keeps locked for as long as it runs: a file that is not locked is what
//! one that crashed has left, and is not believed.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

/// An address is shorter than this; what is longer is none.
const ADDRESS_BYTES_MAX: u64 = 1024;

/// The file, in a folder that only the user can read and write: whoever could write there could have the user's functions.
pub fn path() -> Option<PathBuf> {
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let folder = runtime_dir.or_else(|| Some(std::env::home_dir()?.join(".cache")))?;
    Some(folder.join("burla/up"))
}

/// The address of the grid that runs on this machine, if one does.
pub fn find() -> Option<String> {
    let mut file = File::open(path()?).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {}
        // Nobody holds it, or nobody can tell.
        Ok(()) | Err(TryLockError::Error(_)) => return None,
    }
    let mut address = String::new();
    Read::by_ref(&mut file).take(ADDRESS_BYTES_MAX).read_to_string(&mut address).ok()?;
    let address = address.trim();
    (!address.is_empty()).then(|| address.to_owned())
}

/// Tells programs the address of a grid on this machine, until it is dropped.
#[derive(Debug)]
pub struct Announcement {
    _locked: File,
    path: PathBuf,
}

/// Why a grid could not be announced.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceError {
    /// Another one is.
    #[error("a grid runs on this machine already{}", .address.as_ref().map(|address| format!(", at {address}")).unwrap_or_default())]
    Running {
        /// Where.
        address: Option<String>,
    },
    /// The file could not be written.
    #[error("cannot write {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is no folder for it.
    #[error("cannot tell the user's folder for running programs: set HOME or XDG_RUNTIME_DIR")]
    NoFolder,
}

impl Announcement {
    /// Announces the grid at `address`.
    ///
    /// # Errors
    ///
    /// When another grid is announced, or the file cannot be written.
    pub fn new(address: &str) -> Result<Self, AnnounceError> {
        let path = path().ok_or(AnnounceError::NoFolder)?;
        let failed = |source| AnnounceError::File { path: path.clone(), source };
        if let Some(folder) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        }
        let mut options = File::options();
        // Not truncated on opening: it may be another's.
        let mut file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(AnnounceError::Running { address: find() }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        file.set_len(0).and_then(|()| writeln!(file, "{address}")).map_err(failed)?;
        Ok(Self { _locked: file, path })
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // A file that stays is not believed, since its lock goes with this process.
        let _ = std::fs::remove_file(&self.path);
    }
}
