//! Compiled components, kept across restarts.
//!
//! Loading compiled code is running it: whoever can write the file owns the node. So it never comes over the wire, lives in a
//! folder that only the daemon's user can enter, and carries a MAC over its bytes, its digest and the engine's configuration,
//! under a key that never leaves the machine. What does not check out is compiled again.

use std::io;
use std::path::Path;

use burla_blobs::BlobDir;
use burla_types::Digest;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use wasmtime::Engine;
use wasmtime::component::Component;

/// What compiled components may take on disk: some thousands of the usual half megabyte.
const COMPILED_BYTES_MAX: u64 = 4 << 30;

/// Length of the key, and of a MAC: those of SHA-256.
const MAC_BYTES: usize = 32;

/// The folder of compiled components, for one configuration of the engine.
pub(crate) struct CompiledCache {
    blobs: BlobDir,
    key: [u8; MAC_BYTES],
    engine: Engine,
    /// Stands for wasmtime's version, its configuration and the processor.
    compatibility: u64,
}

impl CompiledCache {
    pub(crate) fn open(folder: &Path, engine: &Engine) -> io::Result<Self> {
        let blobs = BlobDir::open(folder.join("compiled"), COMPILED_BYTES_MAX)?;
        let key = load_or_make_key(&folder.join("compiled.key"))?;
        Ok(Self { blobs, key, engine: engine.clone(), compatibility: compatibility(engine) })
    }

    /// The compiled component, if it was kept and nothing has happened to it since.
    pub(crate) fn load(&self, digest: Digest) -> Option<Component> {
        let name = self.name(digest);
        let file = self
            .blobs
            .get(&name)
            .inspect_err(|error| tracing::warn!(%error, %name, "cannot read a compiled component"))
            .ok()??;
        match self.authenticate(digest, &file) {
            Some(compiled) => self.deserialize(compiled, &name),
            None => {
                tracing::warn!(%name, "a compiled component was altered or cut short; compiling it again");
                None
            }
        }
    }

    /// Keeps a compiled component. A cache that cannot be written costs time, not calls.
    pub(crate) fn store(&self, digest: Digest, component: &Component) {
        let kept = component.serialize().map_err(io::Error::other).and_then(|compiled| {
            let mut file = self.mac(digest, &compiled).finalize().into_bytes().to_vec();
            file.extend_from_slice(&compiled);
            self.blobs.put(&self.name(digest), &file)
        });
        if let Err(error) = kept {
            tracing::warn!(%error, %digest, "cannot keep a compiled component");
        }
    }

    fn name(&self, digest: Digest) -> String {
        format!("{digest}-{:016x}.cwasm", self.compatibility)
    }

    fn authenticate<'a>(&self, digest: Digest, file: &'a [u8]) -> Option<&'a [u8]> {
        let (mac, compiled) = file.split_at_checked(MAC_BYTES)?;
        self.mac(digest, compiled).verify_slice(mac).ok().map(|()| compiled)
    }

    fn mac(&self, digest: Digest, compiled: &[u8]) -> Hmac<Sha256> {
        let hmac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        hmac.chain_update(digest.as_bytes()).chain_update(self.compatibility.to_le_bytes()).chain_update(compiled)
    }

    #[expect(unsafe_code, reason = "the one place where compiled code is loaded")]
    fn deserialize(&self, compiled: &[u8], name: &str) -> Option<Component> {
        // SAFETY: these very bytes, in memory of our own, carry a MAC under our key for this digest and this configuration. Only
        // `store` makes such MACs, and only over what this version of wasmtime serialised.
        let component = unsafe { Component::deserialize(&self.engine, compiled) };
        component
            .inspect_err(|error| tracing::warn!(%error, %name, "a compiled component does not load; compiling it again"))
            .ok()
    }
}

fn compatibility(engine: &Engine) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    // Only ever compared with what the same binary made: `DefaultHasher` is not stable across Rust versions, and need not be.
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

/// Reads the machine's key, or makes one. Of two nodes that start at once, both end with the key that was there first.
fn load_or_make_key(path: &Path) -> io::Result<[u8; MAC_BYTES]> {
    let mut key = [0; MAC_BYTES];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    io::Write::write_all(&mut file, &key)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(key),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            let kept = std::fs::read(path)?;
            kept.try_into()
                .map_err(|_| io::Error::other(format!("{} is not a key: remove it, and a new one is made", path.display())))
        }
        Err(error) => Err(error.error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The smallest component there is: the preamble alone.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    fn cache(folder: &Path) -> CompiledCache {
        let engine = crate::engine::engine().unwrap();
        CompiledCache::open(folder, &engine).unwrap()
    }

    fn stored(folder: &Path) -> (CompiledCache, Digest, std::path::PathBuf) {
        let cache = cache(folder);
        let digest = Digest::of(EMPTY);
        cache.store(digest, &Component::new(&cache.engine, EMPTY).unwrap());
        let path = folder.join("compiled").join(cache.name(digest));
        (cache, digest, path)
    }

    #[test]
    fn what_was_compiled_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let (_, digest, _) = stored(folder.path());
        assert!(cache(folder.path()).load(digest).is_some());
        assert!(cache(folder.path()).load(Digest::of(b"another")).is_none());
    }

    #[test]
    fn tampering_truncation_and_renaming_are_found_out() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, digest, path) = stored(folder.path());
        let whole = std::fs::read(&path).unwrap();
        let mut altered = whole.clone();
        *altered.last_mut().unwrap() ^= 1;
        for bad in [&altered[..], &whole[..whole.len() - 1], &whole[..MAC_BYTES - 1], b""] {
            std::fs::write(&path, bad).unwrap();
            assert!(cache.load(digest).is_none());
        }
        // The right file under another component's name.
        let other = Digest::of(b"another");
        std::fs::write(folder.path().join("compiled").join(cache.name(other)), &whole).unwrap();
        assert!(cache.load(other).is_none());
    }

    #[test]
    fn another_machines_key_does_not_open_it() {
        let folder = tempfile::tempdir().unwrap();
        let (_, digest, _) = stored(folder.path());
        std::fs::write(folder.path().join("compiled.key"), [7; MAC_BYTES]).unwrap();
        assert!(cache(folder.path()).load(digest).is_none());
    }
}
