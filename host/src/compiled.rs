//! Compiled components, kept across restarts.
//!
//! Loading compiled code is running it: whoever can write the file owns the node. So it never comes over the wire, lives in a
//! folder that only the daemon's user can enter, and carries a MAC over its bytes, its digest and the engine's configuration,
//! under a key that never leaves the machine. What does not check out is compiled again. Guests never see any of it: they have
//! their own directory and nothing else.
//!
//! A file is opened once. Its MAC is checked and its code is mapped through that one descriptor, so that both are of the same
//! file whatever happens to its name, and no file is written again once it has its name. Mapped code is the system's copy of the
//! file: all nodes of a machine that share the folder share it, and it is given up and read again as memory gets short.

use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Once;

use burla_blobs::BlobDir;
use burla_types::Digest;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::compiler::MachineCode;
use crate::engine::Engines;

/// What compiled components may take on disk: some thousands of the usual half megabyte. One that makes room while it is loaded
/// takes its bytes until it is not.
const COMPILED_BYTES_MAX: u64 = 4 << 30;

/// Length of the key, and of a MAC: those of SHA-256.
const MAC_BYTES: usize = 32;

/// What is read of a file at a time to check it: enough that the calls cost nothing beside the hashing.
const READ_BYTES: usize = 64 << 10;

/// Where the files that this process has open can be opened again, whatever has become of their names.
const OPEN_FILES: &str = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };

/// What a file's mode grants to others than its owner.
const MODE_OF_OTHERS: u32 = 0o077;

/// The folder of compiled components, for one configuration of the engine. Each is a file: what wasmtime serialized, and behind
/// it, where wasmtime does not look, the MAC.
pub(crate) struct CompiledCache {
    blobs: BlobDir,
    key: [u8; MAC_BYTES],
    engines: Engines,
    /// Stands for wasmtime's version, its configuration and the processor.
    compatibility: u64,
    /// Whether the log has it that nothing can be mapped.
    cannot_map: Once,
}

/// One component's machine code, loaded for each of the engines. Where it is mapped, that is the same memory.
pub(crate) struct Loaded {
    pub(crate) resident: Component,
    pub(crate) roomy: Component,
}

/// Machine code that is to be loaded.
enum Code<'a> {
    /// Mapped: the file stays open for as long as the component is loaded.
    InFile(&'a File),
    /// Copied.
    InMemory(&'a [u8]),
}

impl CompiledCache {
    pub(crate) fn open(folder: &Path, engines: Engines) -> io::Result<Self> {
        let blobs = BlobDir::open(folder.join("compiled"), COMPILED_BYTES_MAX)?;
        let key = load_or_make_key(&folder.join("compiled.key"))?;
        // Both have the same, or neither would load what the other does.
        let compatibility = compatibility(&engines.roomy);
        Ok(Self { blobs, key, engines, compatibility, cannot_map: Once::new() })
    }

    /// The compiled component, if it was kept and nothing has happened to it since.
    pub(crate) fn load(&self, digest: Digest) -> Option<Loaded> {
        let name = self.name(digest);
        let cannot_read = |error: &io::Error| tracing::warn!(%error, %name, "cannot read a compiled component");
        let file = self.blobs.file(&name).inspect_err(cannot_read).ok()??;
        if !self.is_authentic(digest, &file).inspect_err(cannot_read).ok()? {
            tracing::warn!(%name, "a compiled component was altered or cut short; compiling it again");
            return None;
        }
        self.map(&file)
            .or_else(|_| self.copy(&file))
            .inspect_err(|error| tracing::warn!(%error, %name, "a compiled component does not load; compiling it again"))
            .ok()
    }

    /// Keeps what was compiled just now for the next time, and loads it. A cache that cannot be written costs time and memory,
    /// not calls.
    pub(crate) fn store(&self, digest: Digest, code: &MachineCode) -> wasmtime::Result<Loaded> {
        let (name, code) = (self.name(digest), code.as_bytes());
        let mac = self.mac(digest).chain_update(code).finalize().into_bytes();
        let kept = self
            .blobs
            .put_parts(&name, &[code, &mac[..]])
            .inspect_err(|error| tracing::warn!(%error, %digest, "cannot keep a compiled component"));
        let mapped = kept.ok().and_then(|file| self.map(&file).ok());
        let loaded = mapped.map_or_else(|| self.deserialize(&Code::InMemory(code)), Ok);
        if loaded.is_err() {
            // What does not load is not worth keeping. If it cannot be removed either, it is compiled again as it is now.
            let _ = self.blobs.remove(&name);
        }
        loaded
    }

    fn name(&self, digest: Digest) -> String {
        format!("{digest}-{:016x}.cwasm", self.compatibility)
    }

    /// Whether a file has what `store` wrote for this component. The file may have any size.
    fn is_authentic(&self, digest: Digest, file: &File) -> io::Result<bool> {
        let Some(code_bytes) = file.metadata()?.len().checked_sub(MAC_BYTES as u64) else { return Ok(false) };
        let (mut hmac, mut buffer, mut offset) = (self.mac(digest), vec![0; READ_BYTES], 0);
        while offset < code_bytes {
            let left = usize::try_from(code_bytes - offset).unwrap_or(usize::MAX);
            let part = &mut buffer[..left.min(READ_BYTES)];
            file.read_exact_at(part, offset)?;
            hmac.update(part);
            offset += part.len() as u64;
        }
        let mut mac = [0; MAC_BYTES];
        file.read_exact_at(&mut mac, code_bytes)?;
        Ok(hmac.verify_slice(&mac).is_ok())
    }

    /// The MAC of a component's machine code, which is still to be added.
    fn mac(&self, digest: Digest) -> Hmac<Sha256> {
        let hmac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        hmac.chain_update(digest.as_bytes()).chain_update(self.compatibility.to_le_bytes())
    }

    /// Loads a file without a copy of it. Not every system lets it: the folder may be mounted `noexec`, or there may be no
    /// `/proc`.
    fn map(&self, file: &File) -> wasmtime::Result<Loaded> {
        self.deserialize(&Code::InFile(file)).inspect_err(|error| {
            let tell =
                || tracing::warn!("cannot map compiled components, so that each node has its own copy in memory: {error:#}");
            self.cannot_map.call_once(tell);
        })
    }

    /// Loads a file that was just opened as a copy in memory.
    fn copy(&self, mut file: &File) -> wasmtime::Result<Loaded> {
        let mut code = Vec::new();
        file.read_to_end(&mut code)?;
        self.deserialize(&Code::InMemory(&code))
    }

    fn deserialize(&self, code: &Code<'_>) -> wasmtime::Result<Loaded> {
        let Engines { resident, roomy, .. } = &self.engines;
        Ok(Loaded { resident: deserialize(resident, code)?, roomy: deserialize(roomy, code)? })
    }
}

#[expect(unsafe_code, reason = "the one place where compiled code is loaded")]
fn deserialize(engine: &Engine, code: &Code<'_>) -> wasmtime::Result<Component> {
    // SAFETY: this is what wasmtime of this version serialized for this configuration. It comes from a `MachineCode`, which a
    // child process that runs our own binary wrote to a pipe that nobody else holds: either directly, or by way of a file. A
    // file has it because `store` wrote it there through the very descriptor that is given here, or because it carries, read
    // through that descriptor, a MAC under our key, which only `store` makes. Where the descriptor is opened again by its
    // number it leads to the same inode, whatever has its name. Nobody but our own user can reach that inode, and we neither
    // write it any more nor cut it short, while it is mapped or ever after: `BlobDir` puts new files in the place of old
    // ones.
    // What this rests on is the file system, which has to give back what it was given, as for our own binary; and the
    // compiler: a component that talks it into wrong code does so here as it would have within this process.
    unsafe {
        match code {
            Code::InFile(file) => Component::deserialize_file(engine, Path::new(OPEN_FILES).join(file.as_raw_fd().to_string())),
            Code::InMemory(bytes) => Component::deserialize(engine, bytes),
        }
    }
}

/// Counts the versions of the checks that a component passes before it is compiled (`Description::read`), so that components which were
/// compiled under weaker ones are checked and compiled again. Add one with every new check.
const CHECKS_VERSION: u32 = 2;

fn compatibility(engine: &Engine) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    // Only ever compared with what the same binary made: `DefaultHasher` is not stable across Rust versions, and need not be.
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    CHECKS_VERSION.hash(&mut hasher);
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
        CompiledCache::open(folder, Engines::new(1, 1).unwrap()).unwrap()
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
        let Engines { resident, roomy, .. } = Engines::new(1, 1).unwrap();
        let engines = [resident, roomy, crate::engine::engine_for_compiling().unwrap()];
        let [resident, roomy, compiles] = engines.map(|engine| compatibility(&engine));
        assert_eq!((resident, roomy), (compiles, compiles));
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
        let altered = |position: usize| {
            let mut altered = whole.clone();
            altered[position] ^= 1;
            altered
        };
        let (code_bytes, longer) = (whole.len() - MAC_BYTES, [&whole[..], b"x"].concat());
        // The code and the MAC, each at both ends.
        let mut bad = [0, code_bytes - 1, code_bytes, whole.len() - 1].map(altered).to_vec();
        bad.extend(
            [&whole[..whole.len() - 1], &whole[1..], &longer, &whole[..code_bytes], &whole[..MAC_BYTES - 1], b""]
                .map(<[u8]>::to_vec),
        );
        for bad in bad {
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
    fn a_file_of_any_size_is_checked_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        let digest = Digest::of(EMPTY);
        for code_bytes in [0, 1, READ_BYTES - 1, READ_BYTES, READ_BYTES + 1, 3 * READ_BYTES] {
            let code = vec![7; code_bytes];
            let mac = cache.mac(digest).chain_update(&code).finalize().into_bytes();
            let file = cache.blobs.put_parts("file", &[&code, &mac[..]]).unwrap();
            assert!(cache.is_authentic(digest, &file).unwrap(), "{code_bytes}");
            assert!(!cache.is_authentic(Digest::of(b"another"), &file).unwrap(), "{code_bytes}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_is_loaded_is_the_file_itself() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, digest, path) = stored(folder.path());
        let path = path.canonicalize().unwrap();
        let is_mapped = || {
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            maps.lines().any(|line| line.ends_with(path.to_str().unwrap()))
        };
        let loaded = cache.load(digest).unwrap();
        assert!(is_mapped());
        drop(loaded);
        assert!(!is_mapped());
        let _stored = cache.store(digest, &MachineCode::of(EMPTY)).unwrap();
        assert!(is_mapped());
    }

    #[test]
    fn what_is_loaded_outlives_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, digest, path) = stored(folder.path());
        let whole = std::fs::read(&path).unwrap();
        let loaded = cache.load(digest).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(loaded.roomy.serialize().unwrap(), whole);
        // Another file in its place.
        cache.store(digest, &MachineCode::of(EMPTY)).unwrap();
        assert_eq!(loaded.roomy.serialize().unwrap(), whole);
    }

    #[test]
    fn what_cannot_be_mapped_is_copied() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, _, path) = stored(folder.path());
        let copied = cache.copy(&File::open(&path).unwrap()).unwrap();
        assert_eq!(copied.roomy.serialize().unwrap(), std::fs::read(&path).unwrap());
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
