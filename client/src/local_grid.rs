//! How programs find a grid that `cargo burla up` keeps on this machine.
//!
//! Its address is in a file of the user's own, which `up` keeps locked for as long as it runs: a file that is not locked is what
//! one that crashed has left, and is not believed.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::Duration;

/// An address is shorter than this; what is longer is none.
const ADDRESS_BYTES_MAX: u64 = 1024;

/// How often `up` tries to lock its file: a program that looks at it holds it for a moment.
const LOCK_TRIES: usize = 50;

/// The wait between two of them.
const LOCK_DELAY: Duration = Duration::from_millis(10);

/// The file, which has the machine's name in its own: a home may be on several machines.
fn path() -> Option<PathBuf> {
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let folder = runtime_dir.or_else(|| Some(std::env::home_dir()?.join(".cache")))?;
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Some(folder.join("burla").join(format!("up-{}", machine.trim().replace('/', "-"))))
}

/// Whether only the user can write the file: whoever else could would have the user's functions and inputs.
fn is_the_users(file: &File) -> bool {
    let (Ok(of_file), Ok(of_process)) = (file.metadata(), std::fs::metadata("/proc/self")) else { return false };
    of_file.uid() == of_process.uid() && of_file.mode() & 0o022 == 0
}

/// The address of the grid that runs on this machine, if one does.
pub fn find() -> Option<String> {
    let mut file = File::open(path()?).ok()?;
    if !is_the_users(&file) {
        return None;
    }
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
    locked: File,
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
        if !is_the_users(&file) {
            return Err(failed(io::Error::new(io::ErrorKind::PermissionDenied, "others can write it")));
        }
        let mut tries_left = LOCK_TRIES;
        while let Err(error) = file.try_lock() {
            tries_left -= 1;
            match error {
                TryLockError::Error(source) => return Err(failed(source)),
                TryLockError::WouldBlock if tries_left == 0 => return Err(AnnounceError::Running { address: find() }),
                TryLockError::WouldBlock => std::thread::sleep(LOCK_DELAY),
            }
        }
        file.set_len(0).and_then(|()| writeln!(file, "{address}")).map_err(failed)?;
        Ok(Self { locked: file })
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // Not removed: another may have it open already, to lock it. What stays is not believed, since its lock goes with this process.
        let _ = self.locked.set_len(0);
    }
}
