//! The components of the grid, by digest.

use std::collections::HashSet;
use std::io;
use std::num::NonZero;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use burla_blobs::BlobDir;
use burla_types::component::Description;
use burla_types::{Digest, GridError};
use bytes::Bytes;
use lru::LruCache;

use crate::metrics::Metrics;

/// What components may take on disk: tens of thousands of the usual few hundred kilobytes. One that is evicted is uploaded again
/// by the next client that needs it. Those of open jobs stay, since the client of a detached one may never be there again.
const COMPONENTS_BYTES_MAX: u64 = 8 << 30;

/// Descriptions that are kept in memory, so that a component is read and hashed once and not with every job.
const DESCRIBED_MAX: NonZero<usize> = NonZero::new(1024).expect("not zero");

/// Components whose bytes are kept in memory after a download: of the largest size, a quarter of a GiB.
const RECENT_MAX: NonZero<usize> = NonZero::new(4).expect("not zero");

/// How long a component that was seen on disk counts as being there, so that small jobs one after another need not ask the disk.
/// A node that has to download it may come as late after any look.
const SEEN_TIME: Duration = Duration::from_secs(1);

/// Where components are kept between jobs and restarts.
#[derive(Debug)]
pub struct Components {
    blobs: BlobDir,
    metrics: Arc<Metrics>,
    described: Mutex<LruCache<Digest, Described>>,
    /// What was downloaded last, so that a thousand nodes which start a job do not each hold a copy.
    recent: Mutex<LruCache<Digest, Bytes>>,
}

/// What a component says of itself, which stays true for as long as its name does, and when it was last seen on disk.
#[derive(Clone, Debug)]
struct Described {
    description: Arc<Description>,
    seen: Instant,
}

impl Components {
    /// Opens the store below `data_dir`.
    pub fn open(data_dir: &Path, metrics: Arc<Metrics>) -> io::Result<Self> {
        let blobs = BlobDir::open(data_dir.join("components"), COMPONENTS_BYTES_MAX)?;
        let recent = Mutex::new(LruCache::new(RECENT_MAX));
        Ok(Self { blobs, metrics, recent, described: Mutex::new(LruCache::new(DESCRIBED_MAX)) })
    }

    /// Whether the component is here, whole. One that was altered on disk counts as missing, so that it is uploaded again.
    pub(crate) fn has(&self, digest: Digest) -> bool {
        self.description(digest).is_ok()
    }

    /// What a component says of itself. The bytes were checked when they were described, and are again by every node that
    /// downloads them.
    fn description(&self, digest: Digest) -> Result<Arc<Description>, GridError> {
        let known = self.described().get(&digest).cloned();
        let known = known.filter(|_| self.blobs.touch(&digest.to_string()));
        let description = match known {
            Some(known) => known.description,
            None => Arc::new(describe(&self.get(digest)?)?),
        };
        self.described().put(digest, Described { description: Arc::clone(&description), seen: Instant::now() });
        Ok(description)
    }

    /// The same without asking the disk, where it was there a moment ago.
    fn seen_description(&self, digest: Digest) -> Option<Arc<Description>> {
        let known = self.described().get(&digest).cloned()?;
        (known.seen.elapsed() < SEEN_TIME).then_some(known.description)
    }

    fn described(&self) -> MutexGuard<'_, LruCache<Digest, Described>> {
        self.described.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes of a component for a node that downloads it.
    pub(crate) fn download(&self, digest: Digest) -> Result<Bytes, GridError> {
        let recent = || self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = recent().get(&digest) {
            return Ok(bytes.clone());
        }
        let bytes = self.get(digest)?;
        recent().put(digest, bytes.clone());
        Ok(bytes)
    }

    /// The bytes of a component, which are what their digest says.
    pub(crate) fn get(&self, digest: Digest) -> Result<Bytes, GridError> {
        let name = digest.to_string();
        let bytes = match self.blobs.get(&name) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err(GridError::UnknownComponent(digest)),
            Err(error) => {
                tracing::error!(%error, %digest, "cannot read a component");
                return Err(GridError::CannotKeep { reason: format!("the scheduler cannot read component {digest}: {error}") });
            }
        };
        if digest.verify(&bytes).is_err() {
            tracing::warn!(%digest, "a component was altered on disk; it has to be uploaded again");
            self.described().pop(&digest);
            if let Err(error) = self.blobs.remove(&name) {
                tracing::error!(%error, %digest, "cannot remove an altered component");
            }
            return Err(GridError::UnknownComponent(digest));
        }
        Ok(bytes.into())
    }

    /// Takes in a component, if its bytes are what its digest says and a node could run it. Those of these digests make no room
    /// for it.
    pub(crate) fn put(&self, digest: Digest, bytes: &[u8], needed: &HashSet<Digest>) -> Result<(), GridError> {
        digest.verify(bytes)?;
        describe(bytes)?;
        self.store(digest, bytes, needed)
    }

    /// Writes a component to the disk. That the disk does not take it is the scheduler's fault, and not its client's.
    fn store(&self, digest: Digest, bytes: &[u8], needed: &HashSet<Digest>) -> Result<(), GridError> {
        tracing::info!(%digest, bytes = bytes.len(), "component uploaded");
        self.metrics.components_uploaded.inc();
        let is_needed = |name: &str| name.parse().is_ok_and(|digest| needed.contains(&digest));
        // A job that is kept needs it after a power cut, too, when nobody may be there to upload it again.
        let reason = match self.blobs.put_durably(&digest.to_string(), bytes, is_needed) {
            Ok(true) => return Ok(()),
            Ok(false) => {
                let gib = COMPONENTS_BYTES_MAX >> 30;
                format!("it has {gib} GiB for components, and open jobs need them; cancel some (`cargo burla jobs`)")
            }
            Err(error) => {
                tracing::error!(%error, %digest, "cannot write a component");
                format!("the scheduler cannot write the component to its disk: {error}; free space in its data directory")
            }
        };
        Err(GridError::CannotKeep { reason })
    }

    /// Checks that the component is here and has this function.
    pub(crate) fn check_function(&self, digest: Digest, name: &str) -> Result<(), GridError> {
        check_function(&*self.description(digest)?, name)
    }

    /// The same without asking the disk; `None` where it has to be asked.
    pub(crate) fn check_seen_function(&self, digest: Digest, name: &str) -> Option<Result<(), GridError>> {
        self.seen_description(digest).map(|description| check_function(&description, name))
    }
}

fn check_function(description: &Description, name: &str) -> Result<(), GridError> {
    if description.function(name).is_some() {
        return Ok(());
    }
    let available = description.functions.iter().map(|function| function.name.clone().into_owned()).collect();
    Err(GridError::UnknownFunction { name: name.to_owned(), available })
}

fn describe(bytes: &[u8]) -> Result<Description, GridError> {
    let invalid = |reason: String| GridError::InvalidComponent { reason };
    let description = Description::read(bytes).map_err(|error| invalid(error.to_string()))?;
    let foreign = description.imports_not_offered();
    if !foreign.is_empty() {
        return Err(invalid(format!("it imports what no node offers: {}", foreign.join(", "))));
    }
    if !description.exports_handler() {
        let handler = burla_types::component::HANDLER_INTERFACE;
        return Err(invalid(format!("it does not export {handler}: mark a function with `#[burla::function]` and rebuild it")));
    }
    Ok(description)
}

#[cfg(test)]
mod tests {
    use super::*;

    // The preamble of a component: one that has nothing in it.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn bytes_are_checked_against_their_name_and_their_use() {
        let folder = tempfile::tempdir().unwrap();
        let components = Components::open(folder.path(), Arc::default()).unwrap();
        let mismatch = components.put(Digest::of(b"other"), EMPTY, &HashSet::new()).unwrap_err();
        assert!(mismatch.to_string().contains("do not match"), "{mismatch}");
        let useless = components.put(Digest::of(EMPTY), EMPTY, &HashSet::new()).unwrap_err();
        assert!(useless.to_string().contains("does not export"), "{useless}");
        assert!(!components.has(Digest::of(EMPTY)));
    }

    #[test]
    fn a_disk_that_fails_is_not_an_invalid_request() {
        let folder = tempfile::tempdir().unwrap();
        let components = Components::open(folder.path(), Arc::default()).unwrap();
        let digest = Digest::of(EMPTY);
        // What stands in its place cannot be read as a file.
        std::fs::create_dir(folder.path().join("components").join(digest.to_string())).unwrap();
        let unread = components.get(digest).unwrap_err();
        assert!(matches!(&unread, GridError::CannotKeep { reason } if reason.contains("cannot read component")), "{unread}");
        std::fs::remove_dir_all(folder.path().join("components")).unwrap();
        let unwritten = components.store(digest, EMPTY, &HashSet::new()).unwrap_err();
        assert!(matches!(&unwritten, GridError::CannotKeep { reason } if reason.contains("cannot write")), "{unwritten}");
    }

    #[test]
    fn a_component_that_was_altered_on_disk_counts_as_missing() {
        let folder = tempfile::tempdir().unwrap();
        let components = Components::open(folder.path(), Arc::default()).unwrap();
        let digest = Digest::of(b"right");
        components.blobs.put(&digest.to_string(), b"wrong").unwrap();
        assert_eq!(components.get(digest), Err(GridError::UnknownComponent(digest)));
        assert!(!components.blobs.touch(&digest.to_string()));
    }
}
