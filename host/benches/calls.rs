//! What a call costs on a node, beside bare wasmtime running the same component on as many threads in the same run.
//!
//! ```text
//! cargo bench --profile dev --bench calls [-- COMPONENT]
//! ```
//!
//! No scheduler, no client, no messages: the executor alone. `COMPONENT` is that of `tests/tiny`, where it is built already. Bounded: [`SECONDS`] for each measurement, [`RUNS`] times.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use burla_host::{Call, Executor, ExecutorConfig, Metrics, NetworkPolicy, Policy, PreparedComponent, Printer, machine};
use burla_types::{Digest, Limits, Outcome, OutputStream};
use bytes::Bytes;
use wasmtime::component::{Component, InstancePre, Linker, ResourceTable, Val};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// How long one measurement lasts.
const SECONDS: f64 = 1.0;

/// How often each is taken, in turn with the others; the median is what is shown.
const RUNS: usize = 5;

fn main() -> ExitCode {
    // A node starts its own binary to compile.
    burla_host::compile_if_asked().unwrap_or_else(measure)
}

fn measure() -> ExitCode {
    // cargo adds `--bench`.
    let given = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let component = given.map_or_else(component, PathBuf::from);
    let threads = machine::threads().get();
    let folder = tempfile::tempdir().unwrap();
    let node = Node::new(&component, folder.path(), threads);
    let resident = Bare::new(&component, Enabled::No);
    // Where the kernel can tell which pages a guest has touched, and the machine has no swap.
    let scanning = PoolingAllocationConfig::is_pagemap_scan_available().then(|| Bare::new(&component, Enabled::Yes));

    let mut rows: Vec<Row> = vec![
        ("bare wasmtime", Box::new(|| resident.calls_per_second(threads))),
        ("a call that touches no file", Box::new(|| node.calls_per_second("doubles", threads))),
        ("a call that prints a line", Box::new(|| node.calls_per_second("prints", threads))),
        ("a call that writes and reads 1 KiB", Box::new(|| node.calls_per_second("keeps_a_file", threads))),
    ];
    if let Some(scanning) = &scanning {
        rows.insert(1, ("bare wasmtime, pages by pagemap", Box::new(|| scanning.calls_per_second(threads))));
    }
    let mut rates = vec![Vec::new(); rows.len()];
    for _ in 0..RUNS {
        for ((_, measure), rates) in rows.iter_mut().zip(&mut rates) {
            rates.push(measure());
        }
    }
    let medians: Vec<f64> = rates.into_iter().map(median).collect();
    println!("calls on a node alone, {threads} threads, median of {RUNS} runs of {SECONDS} s:");
    println!("{:<40}{:>12}{:>14}{:>20}", "", "calls/s", "µs of a CPU", "time to bare");
    for ((name, _), rate) in rows.iter().zip(&medians) {
        println!("{name:<40}{rate:>12.0}{:>14.1}{:>20.2}", threads as f64 * 1e6 / rate, medians[0] / rate);
    }
    ExitCode::SUCCESS
}

/// What is measured: its name, and calls per second.
type Row<'a> = (&'static str, Box<dyn FnMut() -> f64 + 'a>);

/// The component of `tests/tiny`, built as a user's is.
fn component() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::new(env!("CARGO"));
    let built = command.args(["run", "--quiet", "-p", "cargo-burla", "--", "burla", "build", "--quiet", "-p", "burla-tiny"]);
    assert!(built.current_dir(&root).status().unwrap().success());
    root.join("target/burla/burla-tiny.wasm")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs `call` again and again on so many threads. Returns how many calls there were in a second, of all together.
fn rate(threads: usize, call: impl Fn() + Sync) -> f64 {
    let started = Instant::now();
    let calls: u64 = std::thread::scope(|scope| {
        let work = || {
            let mut calls = 0;
            while started.elapsed().as_secs_f64() < SECONDS {
                call();
                calls += 1;
            }
            calls
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    calls as f64 / started.elapsed().as_secs_f64()
}

/// The node's executor, with the component ready.
struct Node {
    executor: Arc<Executor>,
    component: PreparedComponent,
}

/// Nobody reads what is printed.
struct Discard;

impl Printer for Discard {
    fn print(&self, _stream: OutputStream, _lines: Bytes) {}

    fn is_ready(&self) -> bool {
        true
    }

    async fn ready(&self) {}
}

impl Node {
    fn new(component: &Path, folder: &Path, threads: usize) -> Self {
        let config = ExecutorConfig {
            data_dir: folder.join("data"),
            sandbox_dir: folder.join("sandboxes"),
            threads: threads.try_into().unwrap(),
            calls_max: 64,
            memory_bytes: machine::capacity().memory_bytes,
            disk_bytes: 1 << 30,
            policy: Arc::new(Policy { network: Arc::new(NetworkPolicy::default()), disk_bytes_max: 1 << 30 }),
        };
        let executor = Arc::new(Executor::new(config, Arc::new(Metrics::default())).unwrap());
        let bytes = Bytes::from(std::fs::read(component).unwrap());
        let fetched = async || Ok::<_, std::io::Error>(bytes.clone());
        let prepared = executor.handle().block_on(executor.prepare(Digest::of(&bytes), fetched()));
        Self { executor: Arc::clone(&executor), component: prepared.unwrap() }
    }

    fn calls_per_second(&self, function: &str, tasks: usize) -> f64 {
        let function: Arc<str> = format!("burla_tiny::{function}").into();
        let started = Instant::now();
        let tasks: Vec<_> = (0..tasks)
            .map(|_| {
                let (executor, component, function) = (Arc::clone(&self.executor), self.component.clone(), Arc::clone(&function));
                self.executor.handle().spawn(async move {
                    let mut calls = 0;
                    while started.elapsed().as_secs_f64() < SECONDS {
                        // As a slot does, which lets others have the thread now and then.
                        for _ in 0..16 {
                            let end = executor.call(call(&component, &function), Discard).await;
                            assert!(matches!(end.outcome, Outcome::Done(_)), "{end:?}");
                            calls += 1;
                        }
                        tokio::task::yield_now().await;
                    }
                    calls
                })
            })
            .collect();
        let handle = self.executor.handle();
        let calls: u64 = tasks.into_iter().map(|task| handle.block_on(task).unwrap()).sum();
        calls as f64 / started.elapsed().as_secs_f64()
    }
}

fn call(component: &PreparedComponent, function: &Arc<str>) -> Call {
    Call {
        component: component.clone(),
        function: Arc::clone(function),
        // 21, as MessagePack has it.
        input: Bytes::from_static(&[21]),
        limits: Limits {
            cpu_millis_max: 1000,
            memory_bytes_max: 4 << 30,
            fuel_max: None,
            wall_time_max: Some(Duration::from_secs(60)),
            disk_bytes_max: None,
            network: Vec::new(),
        },
        network: Arc::default(),
        env: Arc::default(),
        memory_bytes_reserved: 16 << 20,
    }
}

/// The same component under wasmtime alone, configured as its documentation advises for many short instances, and with the fuel
/// that a node cannot do without. No directory, no limits but fuel.
struct Bare {
    engine: Engine,
    pre: InstancePre<State>,
}

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl Bare {
    fn new(component: &Path, pagemap_scan: Enabled) -> Self {
        let mut pool = PoolingAllocationConfig::new();
        pool.linear_memory_keep_resident(2 << 20).table_keep_resident(512 << 10).pagemap_scan(pagemap_scan);
        let mut config = Config::new();
        config.consume_fuel(true).concurrency_support(false).allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config).unwrap();
        let component = Component::from_file(&engine, component).unwrap();
        let mut linker = Linker::<State>::new(&engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker).unwrap();
        let mut report = linker.instance("burla:function/report@0.1.0").unwrap();
        report.func_wrap("panicked", |_, (_, _): (String, Option<String>)| Ok(())).unwrap();
        report.func_wrap("returning", |_, (_,): (u64,)| Ok(())).unwrap();
        let pre = linker.instantiate_pre(&component).unwrap();
        Self { engine, pre }
    }

    fn calls_per_second(&self, threads: usize) -> f64 {
        rate(threads, || self.call())
    }

    fn call(&self) {
        let state = State { wasi: WasiCtx::builder().build(), table: ResourceTable::new() };
        let mut store = Store::new(&self.engine, state);
        store.set_fuel(u64::MAX).unwrap();
        let instance = self.pre.instantiate(&mut store).unwrap();
        let handler = instance.get_export_index(&mut store, None, "burla:function/handler@0.1.0").unwrap();
        let call = instance.get_export_index(&mut store, Some(&handler), "call").unwrap();
        let call = instance.get_func(&mut store, call).unwrap();
        let inputs = [Val::String("burla_tiny::doubles".into()), Val::List(vec![Val::U8(21)])];
        let mut results = [Val::Bool(false)];
        call.call(&mut store, &inputs, &mut results).unwrap();
        let Val::Result(Ok(Some(output))) = &results[0] else { panic!("{results:?}") };
        assert_eq!(**output, Val::List(vec![Val::U8(42)]));
    }
}
