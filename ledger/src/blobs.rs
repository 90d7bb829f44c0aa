//! Bytes that are too many for an entry, under names that entries keep.
//!
//! A blob is written before the entry that names it, and removed after the entry that no longer does. So what a crash leaves behind
//! is at most a blob that nobody names: whoever starts compares [`Blobs::list`] with what the log names, and deletes the rest.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path as Location;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::Cause;

/// The longest blob: as much as is held in memory for one segment, several times over while it is written and read.
pub const BLOB_BYTES_MAX: usize = 64 << 20;

/// Clones are of the same store.
#[derive(Debug, Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    /// For errors: a folder, or another store in its own words.
    place: Arc<str>,
}

/// What an entry keeps of a blob.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BlobRef {
    pub name: String,
    pub bytes: u64,
    pub crc32c: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("the folder {place} for blobs cannot be opened; let this user write it, or choose another")]
    Open { place: String, source: Cause },
    #[error("{name:?} is not a name for a blob; use letters, digits and .-_/ and no more")]
    Name { name: String },
    #[error("the blob {name} in {place} has {bytes} bytes, more than the {BLOB_BYTES_MAX} that one may have; write several")]
    TooLong { name: String, place: String, bytes: usize },
    #[error("the blob {name} in {place} cannot be written: there is no space left; free some")]
    Full { name: String, place: String, source: Cause },
    #[error("the blob {name} in {place} cannot be {done}")]
    Failed { name: String, place: String, done: &'static str, source: Cause },
    #[error("the blob {name} is not in {place}; restore it from a copy")]
    Missing { name: String, place: String },
    #[error("the blob {name} in {place} is damaged: {reason}; restore it from a copy")]
    Corrupt { name: String, place: String, reason: String },
}

impl Blobs {
    /// Gone with the process.
    pub fn memory() -> Self {
        Self::of(Arc::new(InMemory::new()))
    }

    /// A file for each blob, in a folder that only this user can enter. A file is written under another name, synced, and renamed.
    pub fn files(folder: &Path) -> Result<Self, BlobError> {
        let failed = |source| BlobError::Open { place: folder.display().to_string(), source };
        // Closes to others a folder that was open to them.
        burla_blobs::BlobDir::open(folder, u64::MAX).map_err(|error| failed(error.into()))?;
        let files = LocalFileSystem::new_with_prefix(folder).map_err(|error| failed(error.into()))?;
        Ok(Self { store: Arc::new(files.with_fsync(true)), place: folder.display().to_string().into() })
    }

    /// Any store that `object_store` knows.
    pub fn of(store: Arc<dyn ObjectStore>) -> Self {
        let place = store.to_string().into();
        Self { store, place }
    }

    /// Writes a blob, durably. One of the same name is replaced.
    pub async fn put(&self, name: &str, bytes: Bytes) -> Result<BlobRef, BlobError> {
        let location = location(name)?;
        if bytes.len() > BLOB_BYTES_MAX {
            return Err(BlobError::TooLong { name: name.to_owned(), place: self.place(), bytes: bytes.len() });
        }
        let blob = BlobRef { name: name.to_owned(), bytes: bytes.len() as u64, crc32c: crc32c::crc32c(&bytes) };
        self.store.put(&location, bytes.into()).await.map_err(|error| self.failed(name, "written", error))?;
        Ok(blob)
    }

    /// The bytes of a blob, which are those that were written.
    pub async fn get(&self, blob: &BlobRef) -> Result<Bytes, BlobError> {
        let name = &*blob.name;
        let corrupt = |reason| BlobError::Corrupt { name: name.to_owned(), place: self.place(), reason };
        let read = self.store.get(&location(name)?).await.map_err(|error| self.failed(name, "read", error))?;
        // Before it is read: what a file has become may not fit into memory.
        if read.meta.size != blob.bytes {
            return Err(corrupt(format!("it has {} bytes where {} were written", read.meta.size, blob.bytes)));
        }
        let bytes = read.bytes().await.map_err(|error| self.failed(name, "read", error))?;
        let found = crc32c::crc32c(&bytes);
        if (bytes.len() as u64, found) != (blob.bytes, blob.crc32c) {
            return Err(corrupt(format!("its checksum is {found:08x} where {:08x} was written", blob.crc32c)));
        }
        Ok(bytes)
    }

    /// Deletes a blob, if it is there.
    pub async fn delete(&self, name: &str) -> Result<(), BlobError> {
        match self.store.delete(&location(name)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(name, "deleted", error)),
        }
    }

    /// The names of all blobs, in no order. What is being written is not among them.
    pub async fn list(&self) -> Result<Vec<String>, BlobError> {
        let names = self.store.list(None).map_ok(|blob| blob.location.to_string()).try_collect();
        names.await.map_err(|error| self.failed("*", "listed", error))
    }

    fn place(&self) -> String {
        (*self.place).to_owned()
    }

    fn failed(&self, name: &str, done: &'static str, error: object_store::Error) -> BlobError {
        let (name, place) = (name.to_owned(), self.place());
        match error {
            object_store::Error::NotFound { .. } => BlobError::Missing { name, place },
            error if is_no_space(&error) => BlobError::Full { name, place, source: error.into() },
            error => BlobError::Failed { name, place, done, source: error.into() },
        }
    }
}

/// Names come from the log, and must not lead out of the store, nor be changed on the way to a file.
fn location(name: &str) -> Result<Location, BlobError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/".contains(&byte);
    match Location::parse(name) {
        Ok(location) if !name.is_empty() && location.as_ref() == name && name.bytes().all(plain) => Ok(location),
        _ => Err(BlobError::Name { name: name.to_owned() }),
    }
}

fn is_no_space(error: &object_store::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return matches!(io.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn a_blob_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        for blobs in [Blobs::memory(), Blobs::files(&folder.path().join("blobs")).unwrap()] {
            let a = blobs.put("job/inputs-0", Bytes::from_static(b"some bytes")).await.unwrap();
            let empty = blobs.put("empty", Bytes::new()).await.unwrap();
            assert_eq!(a, BlobRef { name: "job/inputs-0".into(), bytes: 10, crc32c: crc32c::crc32c(b"some bytes") });
            assert_eq!(blobs.get(&a).await.unwrap(), "some bytes");
            assert_eq!(blobs.get(&empty).await.unwrap(), "");
            let mut names = blobs.list().await.unwrap();
            names.sort();
            assert_eq!(names, ["empty", "job/inputs-0"]);
            blobs.delete(&a.name).await.unwrap();
            blobs.delete(&a.name).await.unwrap();
            assert!(matches!(blobs.get(&a).await, Err(BlobError::Missing { .. })));
        }
    }

    #[tokio::test]
    async fn a_damaged_blob_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::files(folder.path()).unwrap();
        let blob = blobs.put("segment", Bytes::from_static(b"0123456789")).await.unwrap();
        for damaged in [&b"0123456788"[..], b"012345678", b"01234567890", b""] {
            fs::write(folder.path().join("segment"), damaged).unwrap();
            let error = blobs.get(&blob).await.unwrap_err();
            assert!(matches!(&error, BlobError::Corrupt { .. }), "{error:?}");
            let text = error.to_string();
            assert!(text.contains("segment") && text.contains(&*folder.path().display().to_string()), "{text}");
        }
    }

    #[tokio::test]
    async fn nobody_else_can_enter_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for folder in [folder.path().to_owned(), folder.path().join("below")] {
            let blobs = Blobs::files(&folder).unwrap();
            blobs.put("a", Bytes::from_static(b"1")).await.unwrap();
            assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }

    #[tokio::test]
    async fn a_name_does_not_lead_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::files(folder.path()).unwrap();
        for name in ["", "/a", "../a", "a/../../b", "a//b", "a/", "a b", "a#1", "a%2e", "\u{e9}"] {
            assert!(matches!(blobs.put(name, Bytes::new()).await, Err(BlobError::Name { .. })), "{name:?}");
        }
    }
}
