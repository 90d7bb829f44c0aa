//! The only place where a wasmtime configuration is made, so that whatever compiles and whatever runs agree on it.

use wasmtime::{Config, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

/// Calls of each CPU that run with what the last one in their place left resident. Beyond them there are as many places as the node may have
/// calls, most of them asleep, and what they leave goes back to the kernel: 10,000 places that kept a Rust function's first MiB would keep
/// ten GiB.
const RESIDENT_CALLS_PER_CPU: u32 = 16;

/// Places from which on wasmtime gives each thread its own to look at first. With fewer, threads would hand each other memory that is in
/// the other's cache, which takes as long as the rest of a call. So many more than there are calls, too: a thread that looks at its own first
/// and then at the others' can miss the last that is free.
const SHARDED_LEAST: u32 = 128;

/// The least calls that a node can hold: where the kernel does not give address space for so many, it gives it for none.
const CALLS_LEAST: u32 = 64;

/// Core instances that one component may consist of. A Rust function has four; a component that is linked from
/// libraries, as Python's are, has one for each library, 14 and more. The pool only counts them: their state, 1 MiB at
/// most for all of a component together, is allocated when an instance is made, so that a higher limit takes no address
/// space.
const CORE_INSTANCES_PER_COMPONENT: u32 = 32;

/// Memories that one component may have. Rust makes one; a second allows for composed components, whose calls count as two.
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

/// The engines that run components. They differ in where instances live, and in nothing else: what one compiled, both load.
#[derive(Clone)]
pub(crate) struct Engines {
    /// For the calls that come and go: what one used stays resident for the next, cleared by hand.
    pub(crate) resident: Engine,
    /// How many of these there are at one time.
    pub(crate) resident_calls: u32,
    /// For all beyond them.
    pub(crate) roomy: Engine,
    /// How many of these there are at one time.
    pub(crate) roomy_calls: u32,
}

impl Engines {
    /// Makes the engines of a node that has so many CPUs for guests, and may have so many calls at one time.
    ///
    /// Each memory takes 4 GiB of address space, 10,000 of them 40 of the 128 TiB that a process has. Where the machine does not give that
    /// (containers with `ulimit -v`, small ARM boards), there is room for fewer calls; where it does not give even that, instances are
    /// allocated one by one: three times slower to start, and otherwise the same.
    pub(crate) fn new(cpus: u32, calls_max: u32) -> wasmtime::Result<Self> {
        let resident_calls = cpus.saturating_mul(RESIDENT_CALLS_PER_CPU).min(calls_max);
        let mut roomy_calls = calls_max;
        loop {
            let pooled = |places, memory_bytes, table_bytes| {
                let mut config = config(InstanceAllocationStrategy::Pooling(pool(places, memory_bytes, table_bytes)));
                // Stacks go back to the kernel with the memories, where these do.
                config.async_stack_zeroing(memory_bytes == 0);
                Engine::new(&config)
            };
            let engines = pooled(resident_calls + SHARDED_LEAST, MEMORY_KEEP_RESIDENT_BYTES, TABLE_KEEP_RESIDENT_BYTES)
                .and_then(|resident| Ok((resident, pooled(roomy_calls + SHARDED_LEAST, 0, 0)?)));
            match engines {
                Ok((resident, roomy)) => {
                    return Ok(Self { resident, resident_calls: resident_calls.min(roomy_calls), roomy, roomy_calls });
                }
                Err(error) if roomy_calls / 2 >= CALLS_LEAST => {
                    tracing::warn!(%error, calls = roomy_calls, "no address space for so many calls; trying half");
                    roomy_calls /= 2;
                }
                Err(error) => {
                    tracing::warn!(%error, "the pool of instances does not fit; instances are allocated one by one");
                    let engine = Engine::new(&config(InstanceAllocationStrategy::OnDemand))?;
                    return Ok(Self { resident: engine.clone(), resident_calls: 0, roomy: engine, roomy_calls });
                }
            }
        }
    }
}

/// Makes the engine that compiles components, in a process that runs none. It reserves no pool: how instances are allocated does
/// not change machine code, and what this one makes, [`Engines`] load.
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
        // On, although no module of a component may have two memories (`burla_types::component` refuses those):
        // wasmtime generates modules that copy between the memories of two parts of a component, and its compiler
        // panics when it may not validate them.
        .wasm_multi_memory(true)
        // Its results differ between processors; the same call is to run the same instructions everywhere.
        .wasm_relaxed_simd(false)
        // Only components of WASI 0.2 run here, and the machinery for 0.3 costs a third of a call.
        .concurrency_support(false)
        // Only native debuggers and profilers read it, and registering it takes longer with every component.
        .native_unwind_info(false)
        .allocation_strategy(allocation);
    config
}

fn pool(calls: u32, memory_keep_resident_bytes: usize, table_keep_resident_bytes: usize) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    // `pagemap_scan` would reset only the pages that a guest has written. In wasmtime 48.0.8 it takes a page that the kernel has swapped
    // out, or is just moving, for a clean one, and the next call would read it (docs/decisions/012-pages-are-reset-by-hand.md).
    pool.total_component_instances(calls)
        .total_core_instances(calls * CORE_INSTANCES_PER_COMPONENT)
        .total_memories(calls)
        .total_tables(calls * TABLES_PER_COMPONENT)
        .total_stacks(calls)
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .table_elements(TABLE_ELEMENTS_MAX)
        .linear_memory_keep_resident(memory_keep_resident_bytes)
        .table_keep_resident(table_keep_resident_bytes);
    pool
}

#[cfg(test)]
mod tests {
    use wasmtime::Store;
    use wasmtime::component::{Component, Linker};

    use super::*;
    use crate::compiler::MachineCode;

    /// Compiles a component as the compiler's process does, loads it into a pool, and returns what its function `run`
    /// returns.
    async fn run(component: &str) -> wasmtime::Result<u32> {
        let code = MachineCode::of(&wat::parse_str(component).unwrap());
        let mut config = config(InstanceAllocationStrategy::Pooling(pool(2, 0, 0)));
        config.async_stack_zeroing(true);
        let engine = Engine::new(&config)?;
        // SAFETY: an engine of this test has just made these bytes.
        #[expect(unsafe_code, reason = "the same as `compiled.rs` does with bytes that it has authenticated")]
        let component = unsafe { Component::deserialize(&engine, code.as_bytes())? };
        let mut store = Store::new(&engine, ());
        store.set_fuel(1_000_000)?;
        let instance = Linker::new(&engine).instantiate_async(&mut store, &component).await?;
        let run = instance.get_typed_func::<(), (u32,)>(&mut store, "run")?;
        Ok(run.call_async(&mut store, ()).await?.0)
    }

    /// A component of two parts, each with a memory of its own: one passes the text `hey` to the other, which adds up
    /// its bytes.
    fn composed(encoding: &str, unit_bytes: u32) -> String {
        format!(
            r#"(component
                (component $callee
                    (core module $m
                        (memory (export "memory") 1)
                        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
                        (func (export "sum") (param $at i32) (param $units i32) (result i32) (local $sum i32) (local $end i32)
                            (local.set $end (i32.add (local.get $at) (i32.mul (local.get $units) (i32.const {unit_bytes}))))
                            (loop $next
                                (local.set $sum (i32.add (local.get $sum) (i32.load8_u (local.get $at))))
                                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                                (br_if $next (i32.lt_u (local.get $at) (local.get $end))))
                            (local.get $sum)))
                    (core instance $i (instantiate $m))
                    (alias core export $i "memory" (core memory $memory))
                    (alias core export $i "realloc" (core func $realloc))
                    (func (export "sum") (param "text" string) (result u32)
                        (canon lift (core func $i "sum") (memory $memory) (realloc $realloc) string-encoding={encoding})))
                (component $caller
                    (import "sum" (func $sum (param "text" string) (result u32)))
                    (core module $memory (memory (export "memory") 1) (data (i32.const 8) "hey"))
                    (core instance $memory (instantiate $memory))
                    (alias core export $memory "memory" (core memory $text))
                    (core func $sum (canon lower (func $sum) (memory $text)))
                    (core module $m
                        (import "" "sum" (func $sum (param i32 i32) (result i32)))
                        (func (export "run") (result i32) (call $sum (i32.const 8) (i32.const 3))))
                    (core instance $i (instantiate $m (with "" (instance (export "sum" (func $sum))))))
                    (func (export "run") (result u32) (canon lift (core func $i "run"))))
                (instance $callee (instantiate $callee))
                (instance $caller (instantiate $caller (with "sum" (func $callee "sum"))))
                (export "run" (func $caller "run")))"#
        )
    }

    #[tokio::test]
    async fn the_parts_of_a_component_exchange_texts() {
        let expected = b"hey".iter().map(|byte| u32::from(*byte)).sum::<u32>();
        for (encoding, unit_bytes) in [("utf8", 1), ("utf16", 2)] {
            assert_eq!(run(&composed(encoding, unit_bytes)).await.unwrap(), expected, "{encoding}");
        }
    }

    /// A component of as many core instances, of which the last one answers.
    fn of_instances(count: u32) -> String {
        let instances = "(core instance (instantiate $m))".repeat(count as usize - 1);
        format!(
            r#"(component
                (core module $m (func (export "run") (result i32) (i32.const 7)))
                {instances}
                (core instance $last (instantiate $m))
                (func (export "run") (result u32) (canon lift (core func $last "run"))))"#
        )
    }

    #[tokio::test]
    async fn a_component_may_have_as_many_core_instances_as_one_of_python_has() {
        for count in [1, 14, CORE_INSTANCES_PER_COMPONENT] {
            assert_eq!(run(&of_instances(count)).await.unwrap(), 7, "{count}");
        }
        let error = format!("{:#}", run(&of_instances(CORE_INSTANCES_PER_COMPONENT + 1)).await.unwrap_err());
        assert!(error.contains("33 core") && error.contains("32"), "{error}");
    }
}
