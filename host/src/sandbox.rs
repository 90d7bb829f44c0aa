//! What one call can touch: its instance, its directory, its environment, and nothing of anyone else's.
//!
//! A [`Sandbox`] is the state of one store. It is made for one call and dropped with it, whatever the call did.

use burla_types::Limits;
use wasmtime::{ResourceLimiter, Store, component::ResourceTable};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView};

use crate::contract::Panic;
use crate::memory::{NoMemory, Reservation};
use crate::output::CallOutput;
use crate::scratch::Scratch;

/// Host resources that one call may hold: open files, streams, pollables. Each file is a descriptor of this process, of which
/// there are so many for all calls together.
const RESOURCES_MAX: usize = 256;

/// Bytes that one host call may make the host hold on the guest's behalf. Enough for an output of twice the largest size, so that
/// one that is too large can be told by its size.
const HOSTCALL_BYTES_MAX: usize = 2 * burla_types::LIMIT_PAYLOAD_BYTES_MAX;

/// Random bytes that one host call may ask for.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// Instances, memories and tables of one call. The pool has stricter limits; this is for when there is no pool.
const OBJECTS_MAX: usize = 64;

/// How many instructions a guest runs before it lets others have the thread: about a millisecond. Rarer would make others wait,
/// more often gains nothing, and either costs the same.
const YIELD_INTERVAL_FUEL: u64 = 10_000_000;

/// The state of one store: the host's half of one call.
pub(crate) struct Sandbox {
    wasi: WasiCtx,
    table: ResourceTable,
    pub(crate) memory: MemoryCap,
    pub(crate) panic: Option<Panic>,
}

impl Sandbox {
    /// Makes the store of a call: with its memory cap, its fuel, its directory as `/`, its environment, and its output streams.
    /// There is no other way to make one.
    pub(crate) fn store(
        engine: &wasmtime::Engine,
        limits: &Limits,
        env: &[(String, String)],
        scratch: &Scratch,
        output: &CallOutput,
        reservation: Reservation,
    ) -> wasmtime::Result<Store<Self>> {
        let mut wasi = WasiCtx::builder();
        wasi
            // Calls run on threads of their own, so that a file operation can run where it is; handing each to another thread
            // takes twice as long.
            .allow_blocking_current_thread(true)
            .max_random_size(RANDOM_BYTES_MAX)
            .envs(env)
            .stdout(output.stdout())
            .stderr(output.stderr())
            .preopened_dir(scratch.path(), "/", FsPerms::ReadWrite)?;
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        let memory = MemoryCap::new(limits.memory_bytes_max, reservation);
        let mut store = Store::new(engine, Self { wasi: wasi.build(), table, memory, panic: None });
        store.limiter(|sandbox| &mut sandbox.memory);
        store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
        store.set_max_component_handles(RESOURCES_MAX);
        store.set_fuel(limits.fuel_max.unwrap_or(u64::MAX))?;
        store.fuel_async_yield_interval(Some(YIELD_INTERVAL_FUEL))?;
        Ok(store)
    }
}

impl WasiView for Sandbox {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Caps the sum of a call's memories and tables, and counts it against the node's memory. wasmtime's own limits are per memory,
/// and a component may have many.
pub(crate) struct MemoryCap {
    bytes_max: u64,
    bytes: u64,
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

impl MemoryCap {
    fn new(bytes_max: u64, reservation: Reservation) -> Self {
        Self { bytes_max, bytes: 0, reservation, node_is_short: false, bytes_peak: 0, bytes_denied: None }
    }

    /// What the call may have: not what its node has not.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max.min(self.reservation.capacity_bytes())
    }

    /// Whether the guest may have more. An error ends it: a guest that was told no would go on differently than on another node.
    fn grow(&mut self, current: usize, desired: usize, maximum: Option<usize>, unit: usize) -> wasmtime::Result<bool> {
        let more = (desired.saturating_sub(current) as u64).saturating_mul(unit as u64);
        let total = self.bytes.saturating_add(more);
        if total > self.bytes_max || maximum.is_some_and(|maximum| desired > maximum) {
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
        // What it was denied before, it could do without.
        self.bytes_denied = None;
        self.bytes = total;
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
        MemoryCap::new(bytes_max, NodeMemory::new(capacity).reserve(reserved).await)
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
        let memory = NodeMemory::new(100);
        let _other = memory.reserve(50).await;
        let mut cap = MemoryCap::new(1000, memory.reserve(10).await);
        assert!(cap.grow(0, 50, None, 1).unwrap());
        assert!(cap.grow(50, 51, None, 1).is_err());
        assert!(cap.node_is_short);
        let mut cap = super::tests::cap(1000, 100, 1000).await;
        assert!(!cap.grow(0, 101, None, 1).unwrap());
        assert_eq!((cap.node_is_short, cap.bytes_denied, cap.bytes_max()), (false, Some(101), 100));
    }
}
