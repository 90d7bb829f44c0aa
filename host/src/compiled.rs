//! Compiled components, kept across restarts.
//!
//! Loading compiled code is running it: whoever can write the file owns the node. So it never comes over the wire, lives in a
//! folder that only the daemon's user can enter, and carries a MAC over its bytes, its digest and the engine's configuration,
//! under a key that never leaves the machine. What does not check out is compiled again. Guests never see any of it: they have
//! their own directory and nothing else.

use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use burla_blobs::BlobDir;
use burla_types::Digest;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::compiler::MachineCode;

/// What compiled components may take on disk: some thousands of the usual half megabyte.
const COMPILED_BYTES_MAX: u64 = 4 << 30;

/// Length of the key, and of a MAC: those of SHA-256.
const MAC_BYTES: usize = 32;

/// What a file's mode grants to others than its owner.
const MODE_OF_OTHERS: u32 = 0o077;

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
        let Some(code) = self.authenticate(digest, &file) else {
            tracing::warn!(%name, "a compiled component was altered or cut short; compiling it again");
            return None;
        };
        self.deserialize(code)
            .inspect_err(|error| tracing::warn!(%error, %name, "a compiled component does not load; compiling it again"))
            .ok()
    }

    /// Loads what was compiled just now, and keeps it for the next time. A cache that cannot be written costs time, not calls.
    pub(crate) fn store(&self, digest: Digest, code: &MachineCode) -> wasmtime::Result<Component> {
        let code = code.as_bytes();
        // What does not load is not worth keeping.
        let component = self.deserialize(code)?;
        let mac = self.mac(digest, code).finalize().into_bytes();
        if let Err(error) = self.blobs.put_parts(&self.name(digest), &[&mac[..], code]) {
            tracing::warn!(%error, %digest, "cannot keep a compiled component");
        }
        Ok(component)
    }

    fn name(&self, digest: Digest) -> String {
        format!("{digest}-{:016x}.cwasm", self.compatibility)
    }

    fn authenticate<'a>(&self, digest: Digest, file: &'a [u8]) -> Option<&'a [u8]> {
        let (mac, code) = file.split_at_checked(MAC_BYTES)?;
        self.mac(digest, code).verify_slice(mac).ok().map(|()| code)
    }

    fn mac(&self, digest: Digest, code: &[u8]) -> Hmac<Sha256> {
        let hmac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        hmac.chain_update(digest.as_bytes()).chain_update(self.compatibility.to_le_bytes()).chain_update(code)
    }

    #[expect(unsafe_code, reason = "the one place where compiled code is loaded")]
    fn deserialize(&self, code: &[u8]) -> wasmtime::Result<Component> {
        // SAFETY: these very bytes, in memory of our own, are what wasmtime of this version serialised for this configuration.
        // Those from `store` are a `MachineCode`: a child process that runs our own binary wrote them to a pipe that nobody else
        // holds. Those from `load` carry a MAC under our key, which only `store` makes, and only over the same. What this rests
        // on is the compiler: a component that talks it into wrong code does so here as it would have within this process.
        unsafe { Component::deserialize(&self.engine, code) }
    }
}

fn compatibility(engine: &Engine) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    // Only ever compared with what the same binary made: `DefaultHasher` is not stable across Rust versions, and need not be.
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

/// Reads the machine's key, or makes one. Of two nodes that start at once, both end with the key that was there first. One that is
/// cut short, or that others may know, makes way: then everything is compiled again.
fn load_or_make_key(path: &Path) -> io::Result<[u8; MAC_BYTES]> {
    let mut key = [0; MAC_BYTES];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&key)?;
    // Unlike what it authenticates, nobody would find out that a power cut left half of it.
    file.as_file().sync_all()?;
    let fresh = file.as_file().metadata()?;
    match load_key(path, &fresh) {
        Ok(Some(kept)) => return Ok(kept),
        Ok(None) => {
            tracing::warn!(path = %path.display(), "the key of compiled components was altered or open to others; making another");
            std::fs::remove_file(path)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    match file.persist_noclobber(path) {
        Ok(_) => Ok(key),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => load_key(path, &fresh)?
            .ok_or_else(|| io::Error::other(format!("{} is not a key: remove it, and a new one is made", path.display()))),
        Err(error) => Err(error.error),
    }
}

/// Reads a key, or `None` where it is none, or where it is less private than a file that this process has just made.
fn load_key(path: &Path, fresh: &Metadata) -> io::Result<Option<[u8; MAC_BYTES]>> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    let granted = metadata.mode() & !fresh.mode() & MODE_OF_OTHERS;
    if metadata.uid() != fresh.uid() || granted != 0 || metadata.len() != MAC_BYTES as u64 {
        return Ok(None);
    }
    let mut key = [0; MAC_BYTES];
    file.read_exact(&mut key)?;
    Ok(Some(key))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

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
        cache.store(digest, &MachineCode::of(EMPTY)).unwrap();
        let path = folder.join("compiled").join(cache.name(digest));
        (cache, digest, path)
    }

    #[test]
    fn what_compiles_and_what_runs_agree() {
        let engines = [crate::engine::engine().unwrap(), crate::engine::engine_for_compiling().unwrap()];
        let [runs, compiles] = engines.map(|engine| compatibility(&engine));
        assert_eq!(runs, compiles);
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
        // It is compiled again, and takes the place of what was there.
        cache.store(digest, &MachineCode::of(EMPTY)).unwrap();
        assert!(cache.load(digest).is_some());
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

    #[test]
    fn a_cache_that_cannot_be_written_costs_no_component() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, digest, path) = stored(folder.path());
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
        assert!(cache.load(digest).is_none());
        assert!(cache.store(digest, &MachineCode::of(EMPTY)).is_ok());
    }

    #[test]
    fn a_key_that_others_may_know_or_that_is_cut_short_makes_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("compiled.key");
        let first = load_or_make_key(&path).unwrap();
        assert_eq!(load_or_make_key(&path).unwrap(), first);
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let second = load_or_make_key(&path).unwrap();
        assert_ne!(second, first);
        std::fs::write(&path, &second[1..]).unwrap();
        let third = load_or_make_key(&path).unwrap();
        assert_ne!(third, second);
        assert_eq!(load_or_make_key(&path).unwrap(), third);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & MODE_OF_OTHERS, 0);
    }
}
