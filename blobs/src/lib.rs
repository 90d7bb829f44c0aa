//! Local files by name, written whole, within a size cap: where a scheduler keeps components and a node keeps compiled ones.
//!
//! A reader sees a file whole or not at all, since each is written under a temporary name and renamed. Nothing is synced to the
//! disk unless that is asked for: whoever reads checks the bytes (by digest, or by MAC), so what a power cut leaves half-written is
//! found out and made again. When the files together pass the cap, the ones that were not read for longest go first, but none that
//! whoever writes says is needed.

use std::fs::{self, File, FileTimes};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tempfile::NamedTempFile;

/// What a folder's mode grants to others than its owner.
const MODE_OF_OTHERS: u32 = 0o077;

/// A folder of blobs. Several processes may share one.
#[derive(Debug)]
pub struct BlobDir {
    folder: PathBuf,
    bytes_max: u64,
}

impl BlobDir {
    /// Opens a folder, making it if need be, readable by nobody else. One that was there already is closed to others.
    pub fn open(folder: impl Into<PathBuf>, bytes_max: u64) -> io::Result<Self> {
        let folder = folder.into();
        make_private_dir(&folder)?;
        close_to_others(&folder)?;
        Ok(Self { folder, bytes_max })
    }

    /// The bytes of a blob, or `None` where there is none of that name. Reading makes it the last to go.
    pub fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let Some(mut file) = self.file(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// A blob as a file that is open for reading, or `None` where there is none of that name. Opening makes it the last to go.
    ///
    /// What is open, or mapped, stays whole for as long as it is, whatever becomes of the name: a blob that is replaced or makes
    /// room loses its name, and no file is ever written again that had one.
    pub fn file(&self, name: &str) -> io::Result<Option<File>> {
        match File::open(self.folder.join(name)) {
            Ok(file) => {
                // Only the order of eviction depends on it, so a file that cannot be touched is no reason to fail.
                let _ = file.set_times(FileTimes::new().set_modified(SystemTime::now()));
                Ok(Some(file))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a blob the last to go, and says whether there is one of that name.
    pub fn touch(&self, name: &str) -> bool {
        self.file(name).is_ok_and(|file| file.is_some())
    }

    /// Writes a blob, replacing one of the same name, and then makes room within the cap.
    pub fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.put_parts(name, &[bytes]).map(drop)
    }

    /// [`put`](Self::put) of what is in several pieces, without a copy that has them all. Returns the file that was written, which
    /// is not to be written again.
    pub fn put_parts(&self, name: &str, parts: &[&[u8]]) -> io::Result<File> {
        let file = self.write(name, parts)?;
        self.evict(|other| other == name)?;
        Ok(file)
    }

    /// [`put`](Self::put) of what nobody may be there to make again: when it returns, the blob outlives a power cut. Those of which
    /// `is_needed` says so make no room for it; where they leave too little, nothing is written, and this is `false`.
    pub fn put_durably(&self, name: &str, bytes: &[u8], is_needed: impl Fn(&str) -> bool) -> io::Result<bool> {
        let stays = |other: &str| other == name || is_needed(other);
        let needed = self.files()?.into_iter().filter(|file| file.name != name && is_needed(&file.name));
        let needed_bytes: u64 = needed.map(|file| file.bytes).sum();
        if needed_bytes > 0 && needed_bytes + bytes.len() as u64 > self.bytes_max {
            return Ok(false);
        }
        self.write(name, &[bytes])?.sync_all()?;
        self.evict(stays)?;
        // And its name.
        File::open(&self.folder)?.sync_all()?;
        Ok(true)
    }

    /// Removes a blob that turned out to be bad.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn write(&self, name: &str, parts: &[&[u8]]) -> io::Result<File> {
        // A temporary file is readable by its owner alone, and stays so under its new name.
        let mut file = NamedTempFile::new_in(&self.folder)?;
        for part in parts {
            file.write_all(part)?;
        }
        file.persist(self.folder.join(name)).map_err(|error| error.error)
    }

    /// Removes the longest unread until the rest fits, but none that stays.
    fn evict(&self, stays: impl Fn(&str) -> bool) -> io::Result<()> {
        let mut files = self.files()?;
        let mut total: u64 = files.iter().map(|file| file.bytes).sum();
        files.sort();
        for StoredFile { bytes, name, .. } in files {
            if total <= self.bytes_max {
                break;
            }
            if !stays(&name) && fs::remove_file(self.folder.join(&name)).is_ok() {
                total -= bytes;
            }
        }
        Ok(())
    }

    /// What is in the folder, in no order. Names are those that were given to blobs, and of temporary files.
    fn files(&self) -> io::Result<Vec<StoredFile>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // Another process may have removed it since.
            let Ok(metadata) = entry.metadata() else { continue };
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                files.push(StoredFile { read: metadata.modified()?, bytes: metadata.len(), name });
            }
        }
        Ok(files)
    }
}

/// A file in the folder, ordered by when it was last read.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct StoredFile {
    read: SystemTime,
    bytes: u64,
    name: String,
}

/// Makes a folder, and those above it, that only this user can enter. Leaves what is there as it is: it may be `/tmp`.
pub fn make_private_dir(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Takes away what an earlier version, or whoever made the folder by hand, granted to others. Only the owner can, so this also
/// refuses a folder that another user has put there.
fn close_to_others(folder: &Path) -> io::Result<()> {
    let mut permissions = fs::metadata(folder)?.permissions();
    if permissions.mode() & MODE_OF_OTHERS == 0 {
        return Ok(());
    }
    permissions.set_mode(permissions.mode() & !MODE_OF_OTHERS);
    fs::set_permissions(folder, permissions).map_err(|error| {
        io::Error::new(error.kind(), format!("{} is open to others and cannot be closed: {error}", folder.display()))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn open(bytes_max: u64) -> (tempfile::TempDir, BlobDir) {
        let folder = tempfile::tempdir().unwrap();
        let blobs = BlobDir::open(folder.path().join("blobs"), bytes_max).unwrap();
        (folder, blobs)
    }

    /// Sets when a blob was last used, so that tests need not wait for the clock.
    fn last_used(blobs: &BlobDir, name: &str, seconds: u64) {
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        let file = File::open(blobs.folder.join(name)).unwrap();
        file.set_times(FileTimes::new().set_modified(time)).unwrap();
    }

    #[test]
    fn a_blob_is_read_as_it_was_written() {
        let (_folder, blobs) = open(100);
        assert_eq!(blobs.get("a").unwrap(), None);
        blobs.put("a", b"one").unwrap();
        assert!(blobs.put_durably("a", b"two", |_| false).unwrap());
        assert_eq!(blobs.get("a").unwrap().as_deref(), Some(&b"two"[..]));
        blobs.remove("a").unwrap();
        blobs.remove("a").unwrap();
        assert!(!blobs.touch("a"));
    }

    #[test]
    fn the_longest_unread_makes_room() {
        let (_folder, blobs) = open(10);
        for (name, seconds) in [("old", 1), ("older", 0), ("new", 2)] {
            blobs.put(name, b"123").unwrap();
            last_used(&blobs, name, seconds);
        }
        blobs.put("last", b"1234").unwrap();
        let left: Vec<_> = ["older", "old", "new", "last"].into_iter().filter(|name| blobs.touch(name)).collect();
        assert_eq!(left, ["old", "new", "last"]);
    }

    #[test]
    fn what_is_read_stays_and_what_is_not_goes() {
        let (_folder, blobs) = open(6);
        for (name, seconds) in [("first", 1), ("second", 2)] {
            blobs.put_parts(name, &[b"1", b"23"]).unwrap();
            last_used(&blobs, name, seconds);
        }
        assert_eq!(blobs.get("first").unwrap().as_deref(), Some(&b"123"[..]));
        blobs.put("third", b"123").unwrap();
        assert_eq!(blobs.get("second").unwrap(), None);
        assert!(blobs.get("first").unwrap().is_some() && blobs.get("third").unwrap().is_some());
    }

    #[test]
    fn opening_counts_as_reading() {
        let (_folder, blobs) = open(6);
        for (name, seconds) in [("first", 1), ("second", 2)] {
            blobs.put(name, b"123").unwrap();
            last_used(&blobs, name, seconds);
        }
        assert!(blobs.file("first").unwrap().is_some());
        assert!(blobs.file("none").unwrap().is_none());
        blobs.put("third", b"123").unwrap();
        assert!(blobs.touch("first") && !blobs.touch("second"));
    }

    #[test]
    fn what_is_open_stays_whole_when_its_name_is_gone_or_anothers() {
        let (_folder, blobs) = open(3);
        let bytes_of = |mut file: File| {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            bytes
        };
        blobs.put("a", b"one").unwrap();
        let replaced = blobs.file("a").unwrap().unwrap();
        blobs.put("a", b"two").unwrap();
        let evicted = blobs.file("a").unwrap().unwrap();
        blobs.put("b", b"123").unwrap();
        assert!(!blobs.touch("a"));
        assert_eq!((bytes_of(replaced), bytes_of(evicted)), (b"one".to_vec(), b"two".to_vec()));
    }

    #[test]
    fn what_is_written_is_the_file_that_has_the_name() {
        let (_folder, blobs) = open(100);
        let written = blobs.put_parts("a", &[b"12", b"3"]).unwrap().metadata().unwrap();
        let named = blobs.file("a").unwrap().unwrap().metadata().unwrap();
        assert_eq!((written.dev(), written.ino(), written.len()), (named.dev(), named.ino(), 3));
    }

    #[test]
    fn nobody_else_can_enter_the_folder_or_read_what_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let made = folder.path().join("above/made");
        let found = folder.path().join("found");
        fs::create_dir(&found).unwrap();
        fs::set_permissions(&found, fs::Permissions::from_mode(0o755)).unwrap();
        for folder in [&made, &found] {
            let blobs = BlobDir::open(folder, 100).unwrap();
            blobs.put("a", b"1").unwrap();
            assert_eq!((mode(folder), mode(&folder.join("a"))), (0o700, 0o600));
        }
    }

    #[test]
    fn one_blob_over_the_cap_is_kept_alone() {
        let (_folder, blobs) = open(2);
        blobs.put("a", b"1").unwrap();
        blobs.put("big", b"123").unwrap();
        assert!(blobs.touch("big") && !blobs.touch("a"));
    }

    #[test]
    fn what_is_needed_makes_no_room() {
        let (_folder, blobs) = open(10);
        let put = |name: &str, bytes| blobs.put_durably(name, bytes, |name| name.starts_with("needed")).unwrap();
        for (name, seconds) in [("needed", 0), ("old", 1)] {
            assert!(put(name, b"12345"));
            last_used(&blobs, name, seconds);
        }
        assert!(put("new", b"12345"));
        assert!(blobs.touch("needed") && !blobs.touch("old"));
        last_used(&blobs, "needed", 0);
        assert!(!put("large", b"123456"));
        assert!(blobs.touch("needed") && blobs.touch("new") && !blobs.touch("large"), "nothing has gone for it");
        assert!(put("needed", b"1234567890"), "it is not in its own way");
        assert!(blobs.touch("needed") && !blobs.touch("new"));
    }
}
