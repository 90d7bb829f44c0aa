//! How programs find a grid that `cargo burla up` keeps on this machine.
//!
//! Its address is in a file of the user's own, which `up` keeps locked for as long as it runs. A program ignores a file
//! that is not locked: a grid that crashed has left it.
//!
//! The file is in the first of these folders that is the user's, and that others cannot write: `burla` in
//! `XDG_RUNTIME_DIR`, `.cache/burla` in the home, `burla-UID` among the temporary files. A service, `sudo` or a
//! container may have the variable of another user, or none, and no home, so that programs look in all three.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An address is shorter than this; what is longer is none.
const ADDRESS_BYTES_MAX: u64 = 1024;

/// How often `up` tries to lock its file: a program that looks at it holds it for a moment.
const LOCK_TRIES: usize = 50;

/// The wait between two of them.
const LOCK_DELAY: Duration = Duration::from_millis(10);

/// Where `up` may announce its grid, best first.
#[derive(Debug)]
struct Places {
    folders: Vec<PathBuf>,
    /// The user's number, unless the system does not tell it: then no folder is believed to be the user's.
    user: Option<u32>,
}

impl Places {
    fn of_this_process() -> Self {
        let user = std::fs::metadata("/proc/self").ok().map(|process| process.uid());
        let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        Self::new(runtime_dir, std::env::home_dir(), &std::env::temp_dir(), user)
    }

    fn new(runtime_dir: Option<PathBuf>, home: Option<PathBuf>, temp_dir: &Path, user: Option<u32>) -> Self {
        // A relative path means another folder for each program.
        let absolute = |folder: &PathBuf| folder.is_absolute();
        // Systems make the runtime folder and its user does not, so that one that is missing stays so.
        let is_the_users = |folder: &PathBuf| folder.metadata().is_ok_and(|found| found.is_dir() && Some(found.uid()) == user);
        let runtime_dir = runtime_dir.filter(absolute).filter(is_the_users).map(|folder| folder.join("burla"));
        let home = home.filter(absolute).map(|home| home.join(".cache/burla"));
        let temp_dir = user.map(|user| temp_dir.join(format!("burla-{user}")));
        Self { folders: runtime_dir.into_iter().chain(home).chain(temp_dir).collect(), user }
    }

    /// The first folder that is, or can be made, the user's. The error tells of all of them.
    fn make_folder(&self) -> Result<&Path, AnnounceError> {
        let mut tried = Vec::new();
        for folder in &self.folders {
            match self.make_own(folder) {
                Ok(()) => return Ok(folder),
                Err(error) => tried.push(format!("{} ({error})", folder.display())),
            }
        }
        let tried = if tried.is_empty() { "the system does not tell who the user is".to_owned() } else { tried.join(", ") };
        Err(AnnounceError::NoFolder { tried })
    }

    fn make_own(&self, folder: &Path) -> io::Result<()> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        if !self.own(folder) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is another user's, or others can write it"));
        }
        // A file system may be read-only, whatever the permissions say.
        let probe = folder.join(format!("probe-{}", std::process::id()));
        File::options().write(true).create(true).truncate(false).mode(0o600).open(&probe)?;
        let _ = std::fs::remove_file(&probe);
        Ok(())
    }

    /// Whether a folder is the user's, and nobody else can write it. A link is not: anyone can make one among the
    /// temporary files.
    fn own(&self, folder: &Path) -> bool {
        let found = std::fs::symlink_metadata(folder);
        found.is_ok_and(|found| found.is_dir() && Some(found.uid()) == self.user && found.mode() & 0o022 == 0)
    }

    /// Whether a file is the user's, and nobody else can write it: whoever else could would have the user's functions
    /// and inputs.
    fn owns(&self, file: &File) -> bool {
        file.metadata().is_ok_and(|found| Some(found.uid()) == self.user && found.mode() & 0o022 == 0)
    }

    /// The address of a grid that is announced in one of the folders.
    fn find(&self) -> Option<String> {
        self.folders.iter().filter(|folder| self.own(folder)).find_map(|folder| self.read(&folder.join(file_name())))
    }

    fn read(&self, path: &Path) -> Option<String> {
        let mut file = File::open(path).ok()?;
        if !self.owns(&file) {
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
}

/// The file has the machine's name in its own: a home may be on several machines.
fn file_name() -> String {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("up-{}", machine.trim().replace('/', "-"))
}

/// The address of the grid that runs on this machine, if one does.
pub fn find() -> Option<String> {
    Places::of_this_process().find()
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
    #[error(
        "cannot tell programs where the grid is: no folder is this user's alone; tried {tried}; set XDG_RUNTIME_DIR or HOME to a folder \
         of yours"
    )]
    NoFolder {
        /// Which folders, and why not.
        tried: String,
    },
}

impl Announcement {
    /// Announces the grid at `address`.
    ///
    /// # Errors
    ///
    /// When another grid is announced, or the file cannot be written.
    pub fn new(address: &str) -> Result<Self, AnnounceError> {
        Self::in_one_of(&Places::of_this_process(), address)
    }

    fn in_one_of(places: &Places, address: &str) -> Result<Self, AnnounceError> {
        let path = places.make_folder()?.join(file_name());
        let failed = |source| AnnounceError::File { path: path.clone(), source };
        let mut options = File::options();
        // Not truncated on opening: it may be another's.
        let mut file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
        if !places.owns(&file) {
            return Err(failed(io::Error::new(io::ErrorKind::PermissionDenied, "others can write it")));
        }
        let mut tries_left = LOCK_TRIES;
        while let Err(error) = file.try_lock() {
            tries_left -= 1;
            match error {
                TryLockError::Error(source) => return Err(failed(source)),
                TryLockError::WouldBlock if tries_left == 0 => return Err(AnnounceError::Running { address: places.find() }),
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// Three folders that may or may not be of use.
    struct Machine {
        runtime_dir: tempfile::TempDir,
        home: tempfile::TempDir,
        temp_dir: tempfile::TempDir,
        user: u32,
    }

    impl Machine {
        fn new() -> Self {
            let folder = || tempfile::tempdir().unwrap();
            let user = std::fs::metadata("/proc/self").unwrap().uid();
            Self { runtime_dir: folder(), home: folder(), temp_dir: folder(), user }
        }

        fn places(&self, runtime_dir: Option<PathBuf>, home: Option<PathBuf>) -> Places {
            Places::new(runtime_dir, home, self.temp_dir.path(), Some(self.user))
        }

        fn all(&self) -> Places {
            self.places(Some(self.runtime_dir.path().to_owned()), Some(self.home.path().to_owned()))
        }
    }

    #[test]
    fn a_grid_is_found_wherever_it_is_announced() {
        let machine = Machine::new();
        let file = machine.home.path().join("file");
        std::fs::write(&file, "").unwrap();
        let missing = machine.home.path().join("missing");
        let (runtime_dir, home) = (Some(machine.runtime_dir.path().to_owned()), Some(machine.home.path().to_owned()));
        // Nobody can make a folder below a file, or in /proc, root included.
        let cases = [
            (runtime_dir, home.clone(), machine.runtime_dir.path().join("burla")),
            (Some(missing.clone()), home.clone(), machine.home.path().join(".cache/burla")),
            (Some("relative".into()), home.clone(), machine.home.path().join(".cache/burla")),
            (Some("".into()), Some(file.clone()), machine.temp_dir.path().join(format!("burla-{}", machine.user))),
            (Some(file), Some("/proc".into()), machine.temp_dir.path().join(format!("burla-{}", machine.user))),
            (None, None, machine.temp_dir.path().join(format!("burla-{}", machine.user))),
        ];
        for (runtime_dir, home, folder) in cases {
            let places = machine.places(runtime_dir.clone(), home);
            let announced = Announcement::in_one_of(&places, "http://here").unwrap();
            assert!(folder.join(file_name()).exists(), "{runtime_dir:?}");
            assert_eq!(places.find().as_deref(), Some("http://here"));
            // A program with all variables finds it, too.
            assert_eq!(machine.all().find().as_deref(), Some("http://here"), "{runtime_dir:?}");
            let second = Announcement::in_one_of(&places, "http://there").unwrap_err().to_string();
            assert_eq!(second, "a grid runs on this machine already, at http://here");
            drop(announced);
            assert_eq!(machine.all().find(), None);
        }
        assert!(!missing.exists());
    }

    #[test]
    fn a_runtime_folder_of_another_user_is_passed_over() {
        let machine = Machine::new();
        let other = Places::new(Some("/".into()), None, machine.temp_dir.path(), Some(machine.user));
        let theirs =
            Places::new(Some(machine.runtime_dir.path().to_owned()), None, machine.temp_dir.path(), Some(machine.user + 1));
        assert!(theirs.folders.iter().all(|folder| !folder.starts_with(machine.runtime_dir.path())), "{theirs:?}");
        // Only root owns the root.
        assert_eq!(other.folders.len(), if machine.user == 0 { 2 } else { 1 });
    }

    #[test]
    fn a_folder_that_others_can_write_is_neither_used_nor_believed() {
        let machine = Machine::new();
        let places = machine.places(None, None);
        let folder = places.folders[0].clone();
        let announced = Announcement::in_one_of(&places, "http://here").unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(places.find(), None);
        let error = Announcement::in_one_of(&places, "http://there").unwrap_err().to_string();
        assert!(error.contains(&format!("{} (it is another user's, or others can write it)", folder.display())), "{error}");
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(places.find().as_deref(), Some("http://here"));
        // A link leads where its maker wants.
        let real = machine.home.path().join("real");
        std::fs::rename(&folder, &real).unwrap();
        symlink(&real, &folder).unwrap();
        assert_eq!(places.find(), None);
        assert!(matches!(Announcement::in_one_of(&places, "http://there"), Err(AnnounceError::NoFolder { .. })));
        drop(announced);
    }
}
