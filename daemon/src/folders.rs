//! Where files are kept when nobody says: in the user's home, else in a folder of the user's own among the temporary
//! files.
//!
//! A home may be missing, read-only, or `/` (containers, services, `sudo`). That is no reason not to start: what is
//! kept there are caches, and jobs that somebody may not need. It is one to warn.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use rustix::fs::Access;

/// A folder that was chosen, and what its user should know of the choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// It exists, and can be written.
    pub path: PathBuf,
    /// Why it is not where it should be, and what to set.
    pub warning: Option<String>,
}

/// Why there is no folder.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep files in {wanted} ({reason}), nor in {fallback} ({fault}): set {remedy}")]
pub struct NoFolder {
    wanted: String,
    reason: String,
    fallback: PathBuf,
    remedy: String,
    fault: String,
}

/// The folder of this name, such as `burla/node`, in the user's cache directory. `remedy` is what to set for another.
pub fn cache_dir(name: &str, remedy: &str) -> Result<Folder, NoFolder> {
    let wanted = etcetera::choose_base_strategy().ok().map(|base| base.cache_dir().join(name));
    choose(wanted, &std::env::temp_dir(), &format!("cache/{name}"), remedy)
}

/// The same in the user's data directory.
pub fn data_dir(name: &str, remedy: &str) -> Result<Folder, NoFolder> {
    let wanted = etcetera::choose_base_strategy().ok().map(|base| base.data_dir().join(name));
    choose(wanted, &std::env::temp_dir(), &format!("data/{name}"), remedy)
}

fn choose(wanted: Option<PathBuf>, temp_dir: &Path, name: &str, remedy: &str) -> Result<Folder, NoFolder> {
    let tried = match &wanted {
        // Relative to the folder where the program happens to be started.
        Some(path) if !path.is_absolute() => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not an absolute path")),
        Some(path) => make_writable(path),
        None => Err(io::Error::new(io::ErrorKind::NotFound, "there is no home directory")),
    };
    let (reason, wanted) = match (tried, wanted) {
        (Ok(()), Some(path)) => return Ok(Folder { path, warning: None }),
        (tried, wanted) => {
            let reason = tried.err().map(|error| error.to_string()).unwrap_or_default();
            (reason, wanted.map_or_else(|| "the user's home".to_owned(), |path| path.display().to_string()))
        }
    };
    let own = temp_dir.join(format!("burla-{}", rustix::process::geteuid().as_raw()));
    let path = own.join(name);
    match make_own(&own).and_then(|()| make_writable(&path)) {
        Ok(()) => {
            let warning = format!(
                "cannot keep files in {wanted} ({reason}); keeping them in {}, which the system may empty: set {remedy}",
                path.display()
            );
            Ok(Folder { path, warning: Some(warning) })
        }
        Err(fault) => {
            let (remedy, fault) = (remedy.to_owned(), fault.to_string());
            Err(NoFolder { wanted, reason, fallback: path, remedy, fault })
        }
    }
}

/// Makes a folder, and those above it, and checks that files can be made in it: a file system may be read-only.
fn make_writable(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK)?;
    Ok(())
}

/// Makes a folder that is this user's alone, in one where everybody may make folders. One that is there already may be
/// somebody else's, or lead elsewhere.
fn make_own(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = std::fs::symlink_metadata(folder)?;
    let is_own = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o077 == 0;
    if is_own { Ok(()) } else { Err(io::Error::new(io::ErrorKind::PermissionDenied, "others have access to it")) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn own(temp_dir: &Path) -> PathBuf {
        temp_dir.join(format!("burla-{}", rustix::process::geteuid().as_raw()))
    }

    #[test]
    fn a_home_that_can_be_written_is_used_without_a_word() {
        let (home, temp) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let wanted = home.path().join(".cache/burla/node");
        let folder = choose(Some(wanted.clone()), temp.path(), "cache/burla/node", "HOME").unwrap();
        assert_eq!(folder, Folder { path: wanted.clone(), warning: None });
        assert!(wanted.is_dir() && !own(temp.path()).exists());
    }

    #[test]
    fn without_a_home_files_go_to_a_private_folder_with_a_warning() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("file"), "").unwrap();
        // Nobody can make a folder below a file, or in /proc, root included.
        let wanted = [None, Some(home.path().join("file/burla")), Some("/proc/burla".into()), Some("relative".into())];
        for wanted in wanted {
            let temp = tempfile::tempdir().unwrap();
            let folder = choose(wanted.clone(), temp.path(), "data/burla/up", "HOME or XDG_DATA_HOME").unwrap();
            assert_eq!(folder.path, own(temp.path()).join("data/burla/up"));
            let warning = folder.warning.unwrap();
            let named = wanted.map_or("the user's home".to_owned(), |path| path.display().to_string());
            assert!(warning.contains(&named) && warning.ends_with("set HOME or XDG_DATA_HOME"), "{warning}");
            assert_eq!(own(temp.path()).metadata().unwrap().mode() & 0o777, 0o700);
            // And again, now that it is there.
            assert!(choose(None, temp.path(), "data/burla/up", "HOME").is_ok());
        }
    }

    #[test]
    fn a_folder_of_somebody_else_is_not_used() {
        let temp = tempfile::tempdir().unwrap();
        let own = own(temp.path());
        std::fs::create_dir(&own).unwrap();
        std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o777)).unwrap();
        let error = choose(None, temp.path(), "cache", "HOME").unwrap_err().to_string();
        assert!(error.contains("others have access to it") && error.ends_with(": set HOME"), "{error}");
        std::fs::remove_dir(&own).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        symlink(elsewhere.path(), &own).unwrap();
        assert!(choose(None, temp.path(), "cache", "HOME").is_err());
    }
}
