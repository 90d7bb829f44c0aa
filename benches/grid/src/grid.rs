//! How fast a grid of real processes is on this machine, beside bare wasmtime running the same component in the same run.
//!
//! ```text
//! cargo run -p burla-bench-grid --bin bench-grid [-- CALLS]
//! ```
//!
//! Bounded: `CALLS` tiny calls (200,000 unless given), 1,000 jobs of one call, and 20 starts of `hello`, all on loopback.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and fails by panicking")]

use std::collections::HashSet;
use std::process::Command;
use std::time::{Duration, Instant};

use burla::remote_parallel_map;
use burla_tests::{LocalGrid, binary, component, root};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// Runs of each measurement; the median is what is quoted.
const RUNS: usize = 5;

fn main() {
    let calls: i64 = std::env::args().nth(1).map_or(200_000, |calls| calls.parse().expect("a number of calls"));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);

    component("burla-tiny");
    let grid = LocalGrid::start(1);
    // Compiled and warm before anything is measured.
    remote_parallel_map(burla_tiny::doubles, 0..1000).grid(&grid.grid).run().unwrap();
    let bare = Bare::new();
    let (mut on_grid, mut on_bare) = (Vec::new(), Vec::new());
    let processes = [("client", std::process::id()), ("scheduler", grid.scheduler.pid()), ("node", grid.nodes[0].pid())];
    let mut cpu_seconds = [0.0; 3];
    for _ in 0..RUNS {
        let before = processes.map(|(_, pid)| cpu_time(pid));
        on_grid.push(rate(calls, || {
            let outputs = remote_parallel_map(burla_tiny::doubles, 0..calls).grid(&grid.grid).run().unwrap();
            assert!(outputs.iter().zip(0..).all(|(output, input)| *output == input * 2));
        }));
        for ((sum, (_, pid)), before) in cpu_seconds.iter_mut().zip(processes).zip(before) {
            *sum += cpu_time(pid) - before;
        }
        on_bare.push(rate(calls, || bare.run(calls, threads)));
    }
    let (on_grid, on_bare) = (median(on_grid), median(on_bare));
    println!("{calls} calls i64 -> i64, fresh instance each, {threads} threads, median of {RUNS} runs:");
    println!("  grid (scheduler and node as processes)                       {on_grid:>9.0} calls/s");
    println!("  bare wasmtime (no directory, no processes)                   {on_bare:>9.0} calls/s");
    println!("  grid / bare                                                  {:>9.2}", on_grid / on_bare);

    for ((name, _), seconds) in processes.iter().zip(cpu_seconds) {
        println!("  CPU per call, {name:<12} {:>9.1} µs", seconds * 1e6 / (calls * RUNS as i64) as f64);
    }

    let one = |_| seconds(|| drop(remote_parallel_map(burla_tiny::doubles, [1]).grid(&grid.grid).run().unwrap()));
    let mut jobs: Vec<f64> = (0..1000).map(one).collect();
    jobs.sort_by(f64::total_cmp);
    let [half, most] = [0.5, 0.99].map(|share| jobs[(jobs.len() as f64 * share) as usize] * 1e3);
    println!("one job of one call, warm, of 1,000 one after another: p50 {half:.2} ms, p99 {most:.2} ms");
    hello(&grid);
}

/// Seconds of CPU that a process has used.
fn cpu_time(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // What follows the name, which is in parentheses and may have spaces: the time as a user is the 12th, the kernel's the 13th.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    // Linux counts these in hundredths of a second, whatever its clock does.
    ticks / 100.0
}

/// From the start of a program to its end.
fn hello(grid: &LocalGrid) {
    let built =
        Command::new(binary("cargo-burla")).args(["build", "--quiet", "-p", "hello"]).current_dir(root()).output().unwrap();
    assert!(built.status.success());
    let built = Command::new("cargo").args(["build", "--quiet", "-p", "hello"]).current_dir(root()).status().unwrap();
    assert!(built.success());
    let run = || {
        seconds(|| {
            let output = Command::new(binary("hello")).env("BURLA_URL", grid.grid.url()).output().unwrap();
            assert!(output.stdout.ends_with(b"[2, 4, 6]\n"));
        })
    };
    run();
    println!(
        "hello, from program start to its end, warm: {:.1} ms (median of 20)",
        median((0..20).map(|_| run()).collect()) * 1e3
    );

    // A node that never saw the component, and a scheduler that never did.
    let mut first = Vec::new();
    for number in 0..RUNS {
        let mut fresh = LocalGrid::without_nodes();
        let data = fresh.folder.path().join(format!("data-{number}"));
        fresh.add_node_with_data(&[], &data);
        first.push(seconds(|| {
            let output = Command::new(binary("hello")).env("BURLA_URL", fresh.grid.url()).output().unwrap();
            assert!(output.stdout.ends_with(b"[2, 4, 6]\n"));
        }));
    }
    println!("hello, with a component the grid never saw: {:.0} ms (median of {RUNS})", median(first) * 1e3);
}

fn seconds(work: impl FnOnce()) -> f64 {
    let started = Instant::now();
    work();
    started.elapsed().as_secs_f64()
}

fn rate(calls: i64, work: impl FnOnce()) -> f64 {
    calls as f64 / seconds(work).max(Duration::from_nanos(1).as_secs_f64())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The same component under wasmtime alone, configured as its documentation advises for many short instances, and with the fuel
/// that a node cannot do without.
struct Bare {
    engine: Engine,
    pre: wasmtime::component::InstancePre<State>,
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
    fn new() -> Self {
        let mut pool = PoolingAllocationConfig::new();
        pool.linear_memory_keep_resident(2 << 20).table_keep_resident(512 << 10);
        let mut config = Config::new();
        config.consume_fuel(true).concurrency_support(false).allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config).unwrap();
        let component = Component::from_file(&engine, component("burla-tiny")).unwrap();
        let mut linker = Linker::<State>::new(&engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker).unwrap();
        let mut report = linker.instance("burla:function/report@0.1.0").unwrap();
        report.func_wrap("panicked", |_, (_, _): (String, Option<String>)| Ok(())).unwrap();
        report.func_wrap("returning", |_, (_,): (u64,)| Ok(())).unwrap();
        let pre = linker.instantiate_pre(&component).unwrap();
        Self { engine, pre }
    }

    fn run(&self, calls: i64, threads: usize) {
        let outputs: HashSet<usize> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..threads).map(|_| scope.spawn(|| (0..calls / threads as i64).map(|_| self.call()).max().unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(outputs, HashSet::from([1]), "each returned one byte of MessagePack");
    }

    fn call(&self) -> usize {
        let state = State { wasi: WasiCtx::builder().build(), table: ResourceTable::new() };
        let mut store = Store::new(&self.engine, state);
        store.set_fuel(u64::MAX).unwrap();
        let instance = self.pre.instantiate(&mut store).unwrap();
        let handler = instance.get_export_index(&mut store, None, "burla:function/handler@0.1.0").unwrap();
        let call = instance.get_export_index(&mut store, Some(&handler), "call").unwrap();
        let call = instance.get_func(&mut store, call).unwrap();
        let name = wasmtime::component::Val::String("burla_tiny::doubles".into());
        let input = wasmtime::component::Val::List(vec![wasmtime::component::Val::U8(21)]);
        let mut results = [wasmtime::component::Val::Bool(false)];
        call.call(&mut store, &[name, input], &mut results).unwrap();
        let wasmtime::component::Val::Result(Ok(Some(output))) = &results[0] else { panic!("{results:?}") };
        let wasmtime::component::Val::List(output) = &**output else { panic!("{output:?}") };
        output.len()
    }
}
