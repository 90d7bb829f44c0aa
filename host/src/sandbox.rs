//! What one call can touch: its instance, its directory, its environment, and nothing of anyone else's.
//!
//! A [`Sandbox`] is the state of one store. It is made for one call and dropped with it, whatever the call did.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burla_types::{Exceeded, LIMIT_PAYLOAD_BYTES_MAX, Limit, Limits};
use wasmtime::{ResourceLimiter, Store, component::ResourceTable};
use wasmtime_wasi::filesystem::WasiFilesystemCtxView;
use wasmtime_wasi::sockets::WasiSocketsCtxView;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use crate::contract::Panic;
use crate::filesystem::{Disk, FilesystemView};
use crate::memory::{NoMemory, Reservation};
use crate::network::{Network, SocketsView};
use crate::output::CallOutput;
use crate::throttle::{EndsTurns, Turn, yield_interval_fuel};

/// Host resources that one call may hold: open files, streams, sockets, pollables.
pub(crate) const HANDLES_MAX: usize = 256;

/// Bytes that a guest may hand over in one host call, which the host copies: what is printed, written, sent or looked up at once.
/// std passes on 64 KiB at most. An output is announced, and has room of its own.
pub(crate) const HOST_CALL_BYTES_MAX: usize = 16 << 20;

/// Random bytes that one host call may ask for: a few milliseconds' worth.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// Instances, memories and tables of one call. The pool has stricter limits; this is for when there is no pool.
pub(crate) const OBJECTS_MAX: usize = 64;

/// What the host holds for any call, from its start, beside its input: 512 KiB of stack at most; its handles, of up to a KiB each; of
/// each of two streams 64 KiB of a line that is not whole and as much of its end; 4 KiB of stderr's; and 64 KiB for its instance, of which
/// 40 were measured, and its context.
const CALL_BYTES: u64 = (512 + 256 + 2 * (64 + 64) + 4 + 64) << 10;

/// The same for a call that may use the network: 16 connections, 16 requests with up to 300 KiB of buffers each, and bodies.
const NETWORK_BYTES: u64 = 12 << 20;

/// The state of one store: the host's half of one call.
pub(crate) struct Sandbox {
    wasi: WasiCtx,
    table: ResourceTable,
    pub(crate) memory: MemoryCap,
    pub(crate) disk: Disk,
    pub(crate) network: Network,
    pub(crate) panic: Option<Panic>,
    /// The output that the guest has announced, held for it.
    returning: Option<Held>,
}

/// What a call is given, each made for it.
pub(crate) struct Given<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) env: &'a [(String, String)],
    pub(crate) input_bytes: usize,
    pub(crate) output: &'a CallOutput,
    pub(crate) reservation: Reservation,
    pub(crate) disk: Disk,
    pub(crate) network: Network,
    pub(crate) turn: Turn,
}

impl Sandbox {
    /// Makes the store of a call: with its memory cap, its fuel, its disk, its environment, and its output streams.
    /// There is no other way to make one.
    pub(crate) fn store(engine: &wasmtime::Engine, given: Given<'_>) -> Result<Store<Self>, NoSandbox> {
        let Given { limits, env, input_bytes, output, reservation, disk, network, turn } = given;
        let mut wasi = WasiCtx::builder();
        wasi.max_random_size(RANDOM_BYTES_MAX).envs(env).stdout(output.stdout()).stderr(output.stderr());
        network.configure(&mut wasi);
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES_MAX);
        let memory = MemoryCap::new(limits.memory_bytes_max, reservation);
        let sandbox = Self { wasi: wasi.build(), table, memory, disk, network, panic: None, returning: None };
        let mut store = Store::new(engine, sandbox);
        let network_bytes = if limits.network.is_empty() { 0 } else { NETWORK_BYTES };
        let memory = &mut store.data_mut().memory;
        let env_bytes: usize = env.iter().map(|(name, value)| 2 * size_of::<String>() + name.len() + value.len()).sum();
        match memory.hold(CALL_BYTES + network_bytes + (input_bytes + env_bytes) as u64) {
            Ok(held) => held.keep(),
            Err(_) if memory.node_is_short => return Err(NoSandbox::NodeIsShort),
            Err(_) => return Err(NoSandbox::TooLittleMemory(memory.exceeded())),
        }
        store.call_hook_async(EndsTurns(turn));
        store.limiter(|sandbox| &mut sandbox.memory);
        store.set_hostcall_fuel(HOST_CALL_BYTES_MAX);
        store.set_max_component_handles(HANDLES_MAX);
        store.set_fuel(fuel_given(limits))?;
        store.fuel_async_yield_interval(Some(yield_interval_fuel(limits.cpu_millis_max)))?;
        Ok(store)
    }

    /// Makes room for an output that the guest announced. Returns how much the next host call may be given.
    pub(crate) fn returning(&mut self, bytes: u64) -> wasmtime::Result<usize> {
        let output_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        if output_bytes > LIMIT_PAYLOAD_BYTES_MAX {
            return Err(OutputTooLarge { bytes }.into());
        }
        self.returning = None;
        self.returning = Some(self.memory.hold(bytes)?);
        Ok(HOST_CALL_BYTES_MAX + output_bytes)
    }

    /// The call's directory, with its limits.
    pub(crate) fn limited_filesystem(&mut self) -> FilesystemView<'_> {
        let wasi = WasiFilesystemCtxView { ctx: self.wasi.filesystem(), table: &mut self.table };
        FilesystemView { wasi, disk: &mut self.disk, memory: &mut self.memory }
    }

    /// Names and connections, as they were granted.
    pub(crate) fn limited_sockets(&mut self) -> SocketsView<'_> {
        self.network.sockets(WasiSocketsCtxView { ctx: self.wasi.sockets(), table: &mut self.table })
    }
}

impl WasiHttpView for Sandbox {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.network.http(&mut self.table)
    }
}

/// What the store of a call gets: one unit more than the call may use, so that one which has none left has used too much. wasmtime
/// looks at loops and calls only, and what a guest runs after the last of these would go unseen.
pub(crate) fn fuel_given(limits: &Limits) -> u64 {
    limits.fuel_max.map_or(u64::MAX, |fuel_max| fuel_max.saturating_add(1))
}

/// Why there is no sandbox for a call.
#[derive(Debug)]
pub(crate) enum NoSandbox {
    /// Its `func_ram` is less than what the host holds for it before it begins.
    TooLittleMemory(Exceeded),
    /// The node has not so much beyond what was reserved for the call.
    NodeIsShort,
    /// The node is at fault.
    Failed(wasmtime::Error),
}

impl From<wasmtime::Error> for NoSandbox {
    fn from(error: wasmtime::Error) -> Self {
        Self::Failed(error)
    }
}

/// The guest has announced an output that is larger than any may be.
#[derive(Debug, thiserror::Error)]
#[error("the output has {bytes} bytes")]
pub(crate) struct OutputTooLarge {
    pub(crate) bytes: u64,
}

/// The call made the host hold more than `func_ram` leaves. [`MemoryCap::bytes_denied`] says how much.
#[derive(Debug, thiserror::Error)]
#[error("the call has no memory left for what the host is to hold for it")]
pub(crate) struct HostMemoryDenied;

impl WasiView for Sandbox {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Caps the sum of a call's memories, its tables and what the host holds for it, and counts that against the node's memory.
/// wasmtime's own limits are per memory, and a component may have many.
pub(crate) struct MemoryCap {
    bytes_max: u64,
    /// Its memories and tables.
    guest_bytes: u64,
    /// What the host holds for it: goes down when that is dropped.
    host_bytes: Arc<AtomicU64>,
    reservation: Reservation,
    /// The node had no more for it, beyond what was reserved. Not the call's fault: it is to be run again.
    pub(crate) node_is_short: bool,
    pub(crate) bytes_peak: u64,
    /// The total that was last denied. The guest only sees that it cannot have more, and mostly aborts: the trap that follows
    /// looks like any other.
    pub(crate) bytes_denied: Option<u64>,
}

/// What an element of a table takes: a pointer.
const TABLE_ELEMENT_BYTES: usize = size_of::<usize>();

/// Host memory that counts as the call's until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    host_bytes: Arc<AtomicU64>,
    bytes: u64,
}

impl Held {
    /// Counts it to the call's end.
    fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.host_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl MemoryCap {
    pub(crate) fn new(bytes_max: u64, reservation: Reservation) -> Self {
        let (guest_bytes, host_bytes) = (0, Arc::default());
        Self { bytes_max, guest_bytes, host_bytes, reservation, node_is_short: false, bytes_peak: 0, bytes_denied: None }
    }

    /// Counts what the host holds for the call. An error ends the call: it is what the guest has asked for.
    pub(crate) fn hold(&mut self, bytes: u64) -> wasmtime::Result<Held> {
        if !self.take(bytes)? {
            return Err(HostMemoryDenied.into());
        }
        self.host_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(Held { host_bytes: Arc::clone(&self.host_bytes), bytes })
    }

    /// What the call may have: not what its node has not.
    fn bytes_max(&self) -> u64 {
        self.bytes_max.min(self.reservation.capacity_bytes())
    }

    /// Whether the guest may have more. An error ends it: a guest that was told no would go on differently than on another node.
    fn grow(&mut self, current: usize, desired: usize, maximum: Option<usize>, unit: usize) -> wasmtime::Result<bool> {
        let more = (desired.saturating_sub(current) as u64).saturating_mul(unit as u64);
        if maximum.is_some_and(|maximum| desired > maximum) {
            self.bytes_denied = Some(self.bytes().saturating_add(more));
            return Ok(false);
        }
        if !self.take(more)? {
            return Ok(false);
        }
        // What it was denied before, it could do without.
        self.bytes_denied = None;
        self.guest_bytes += more;
        Ok(true)
    }

    /// What a call says that was denied memory.
    pub(crate) fn exceeded(&self) -> Exceeded {
        let (allowed, wanted, peak) = (self.bytes_max(), self.bytes_denied, Some(self.bytes_peak));
        Exceeded { limit: Limit::Memory, allowed, wanted, peak }
    }

    /// What the call has now.
    fn bytes(&self) -> u64 {
        self.guest_bytes + self.host_bytes.load(Ordering::Relaxed)
    }

    /// Whether the call may have so much more. It has it from then on.
    fn take(&mut self, more: u64) -> wasmtime::Result<bool> {
        let total = self.bytes().saturating_add(more);
        if total > self.bytes_max {
            self.bytes_denied = Some(total);
            return Ok(false);
        }
        match self.reservation.grow(total) {
            Ok(()) => {}
            Err(NoMemory::TooLittle) => {
                self.bytes_denied = Some(total);
                return Ok(false);
            }
            Err(NoMemory::Short) => {
                self.node_is_short = true;
                return Err(wasmtime::Error::msg("the node is short of memory"));
            }
        }
        self.bytes_peak = self.bytes_peak.max(total);
        Ok(true)
    }
}

impl ResourceLimiter for MemoryCap {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.grow(current, desired, maximum, 1)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.grow(current, desired, maximum, TABLE_ELEMENT_BYTES)
    }

    fn instances(&self) -> usize {
        OBJECTS_MAX
    }

    fn memories(&self) -> usize {
        OBJECTS_MAX
    }

    fn tables(&self) -> usize {
        OBJECTS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::NodeMemory;

    async fn cap(bytes_max: u64, capacity: u64, reserved: u64) -> MemoryCap {
        MemoryCap::new(bytes_max, NodeMemory::new(capacity, || u64::MAX).reserve(reserved).await.unwrap())
    }

    #[tokio::test]
    async fn the_cap_is_on_the_sum() {
        let mut cap = cap(100, 1000, 0).await;
        assert!(cap.grow(0, 60, None, 1).unwrap());
        assert!(cap.grow(0, 5, None, 8).unwrap());
        assert!(!cap.grow(60, 61, None, 1).unwrap());
        assert_eq!((cap.bytes_peak, cap.bytes_denied), (100, Some(101)));
    }

    #[tokio::test]
    async fn what_a_memory_itself_cannot_reach_is_a_denial_too() {
        let mut cap = cap(u64::MAX, u64::MAX, 0).await;
        assert!(!cap.grow(0, 20, Some(10), 1).unwrap());
        assert_eq!(cap.bytes_denied, Some(20));
    }

    #[tokio::test]
    async fn a_node_that_is_short_ends_the_call_unless_it_has_all_there_is() {
        let memory = NodeMemory::new(100, || u64::MAX);
        let _other = memory.reserve(50).await.unwrap();
        let mut cap = MemoryCap::new(1000, memory.reserve(10).await.unwrap());
        assert!(cap.grow(0, 50, None, 1).unwrap());
        assert!(cap.grow(50, 51, None, 1).is_err());
        assert!(cap.node_is_short);
        let mut cap = super::tests::cap(1000, 100, 1000).await;
        assert!(!cap.grow(0, 101, None, 1).unwrap());
        assert_eq!((cap.node_is_short, cap.bytes_denied, cap.bytes_max()), (false, Some(101), 100));
    }

    #[tokio::test]
    async fn what_the_host_holds_counts_until_it_is_let_go() {
        let mut cap = cap(100, 1000, 0).await;
        let held = cap.hold(60).unwrap();
        assert!(!cap.grow(0, 41, None, 1).unwrap());
        assert!(cap.hold(41).unwrap_err().is::<HostMemoryDenied>());
        assert_eq!(cap.bytes_denied, Some(101));
        drop(held);
        assert!(cap.grow(0, 100, None, 1).unwrap());
        assert_eq!((cap.bytes_peak, cap.bytes_denied), (100, None));
    }
}
