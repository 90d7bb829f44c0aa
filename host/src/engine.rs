//! The only place where a wasmtime configuration is made, so that whatever compiles and whatever runs agree on it.

use wasmtime::{Config, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

/// Calls that a node can hold at one time, running or asleep. The pool reserves 4 GiB of address space for each memory: 1,000
/// calls take 8 of the 128 TiB that a process has.
pub(crate) const CALLS_MAX: u32 = 1000;

/// Core instances that one component may consist of: a Rust function's own, those that connect it to WASI, and room for more.
const CORE_INSTANCES_PER_COMPONENT: u32 = 8;

/// Memories that one component may have. Rust makes one; a second allows for composed components.
const MEMORIES_PER_COMPONENT: u32 = 2;

/// Tables that one component may have: a Rust function's pointers, those of its imports, and room for more.
const TABLES_PER_COMPONENT: u32 = 4;

/// Elements that one table may have: function pointers, of which large programs have tens of thousands.
const TABLE_ELEMENTS_MAX: usize = 100_000;

/// What stays resident of a memory between two calls and is cleared by hand. Without it every call returns its pages to the
/// kernel under one process-wide lock, and a second thread makes the node slower: 26,000–30,000 calls/s on two threads against
/// 106,000–118,000.
const MEMORY_KEEP_RESIDENT_BYTES: usize = 2 << 20;

/// The same for tables.
const TABLE_KEEP_RESIDENT_BYTES: usize = 512 << 10;

/// Makes the engine that runs components.
///
/// Where the machine does not give the pool its address space (containers with `ulimit -v`, small ARM boards), instances are
/// allocated one by one: three times slower to start, and otherwise the same.
pub(crate) fn engine() -> wasmtime::Result<Engine> {
    Engine::new(&config(InstanceAllocationStrategy::Pooling(pool()))).or_else(|error| {
        tracing::warn!(%error, "the pool of instances does not fit; instances are allocated one by one");
        Engine::new(&config(InstanceAllocationStrategy::OnDemand))
    })
}

/// Makes the engine that compiles components, in a process that runs none. It reserves no pool: how instances are allocated does
/// not change machine code, and what this one makes, [`engine`] loads.
pub(crate) fn engine_for_compiling() -> wasmtime::Result<Engine> {
    Engine::new(&config(InstanceAllocationStrategy::OnDemand))
}

fn config(allocation: InstanceAllocationStrategy) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        // Budget, fairness between calls and cancellation all come from fuel. Epochs on top of fuel are the slowest of all
        // choices.
        .consume_fuel(true)
        .cranelift_opt_level(OptLevel::Speed)
        // What Rust's components do not use is not offered: less of the compiler to attack. Without the garbage collector compiled
        // in, wasmtime 48.0.8 even aborts on the casts of its proposal (GHSA-rc4p-x33f-vpr2).
        .wasm_gc(false)
        .wasm_tail_call(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        // Its results differ between processors; the same call is to run the same instructions everywhere.
        .wasm_relaxed_simd(false)
        // Only components of WASI 0.2 run here, and the machinery for 0.3 costs a third of a call.
        .concurrency_support(false)
        // Only native debuggers and profilers read it, and registering it takes longer with every component.
        .native_unwind_info(false)
        .allocation_strategy(allocation);
    config
}

fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(CALLS_MAX)
        .total_core_instances(CALLS_MAX * CORE_INSTANCES_PER_COMPONENT)
        .total_memories(CALLS_MAX * MEMORIES_PER_COMPONENT)
        .total_tables(CALLS_MAX * TABLES_PER_COMPONENT)
        .total_stacks(CALLS_MAX)
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .table_elements(TABLE_ELEMENTS_MAX)
        .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT_BYTES)
        .table_keep_resident(TABLE_KEEP_RESIDENT_BYTES);
    pool
}
