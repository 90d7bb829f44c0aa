//! What the scheduler's core costs per call, and how much memory per idle node. Beside it a bare core that only moves calls from
//! a queue into a map and out of it: the same events in, the same actions out.
//!
//! `cargo bench --profile dev -p burla-scheduler --bench grid`

mod bare;
mod memory;
mod world;

use std::hint::black_box;
use std::time::Duration;

use burla_scheduler::grid::Grid;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput, measurement::WallTime};

use bare::Bare;
use world::{Core, Setting, World};

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

/// Of a grid of 500 nodes: twice what the core is meant to take at most, so that there are as many ticks as there would be then.
const MANY: Setting = Setting { nodes: 500, cpus: 4, jobs: 1, per_message: 8, call_us: 1000, calls_per_second: 500_000 };

/// The commonest case: one machine, and calls that take microseconds.
const ONE: Setting = Setting { nodes: 1, cpus: 4, jobs: 1, per_message: 8, call_us: 15, calls_per_second: 50_000 };

const SETTINGS: [(&str, Setting); 11] = [
    ("500 nodes, 1 per message", Setting { per_message: 1, ..MANY }),
    ("500 nodes, 8 per message", MANY),
    ("500 nodes, 40 per message", Setting { per_message: 40, ..MANY }),
    ("500 nodes of 2 CPUs, 8 per message", Setting { cpus: 2, ..MANY }),
    ("500 nodes of 64 CPUs, 1 per message", Setting { cpus: 64, per_message: 1, ..MANY }),
    ("500 nodes of 64 CPUs, 40 per message", Setting { cpus: 64, per_message: 40, ..MANY }),
    ("500 nodes, 10 jobs, 1 per message", Setting { jobs: 10, per_message: 1, ..MANY }),
    ("500 nodes, 10 jobs, 8 per message", Setting { jobs: 10, ..MANY }),
    ("1 node, 1 per message", Setting { per_message: 1, ..ONE }),
    ("1 node, 8 per message", ONE),
    ("1 node, 40 per message", Setting { per_message: 40, ..ONE }),
];

fn main() {
    // First, while nothing that was freed can be used again: what is resident would not tell it otherwise.
    let memory = memory::lines();
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(700))
        .without_plots()
        .configure_from_args();
    let mut group = criterion.benchmark_group("grid");
    group.sampling_mode(SamplingMode::Flat);
    let mut lines = Vec::new();
    for (name, setting) in SETTINGS {
        let grid = measure::<Grid>(&mut group, name, setting);
        let bare = measure::<Bare>(&mut group, &format!("{name} (bare)"), setting);
        if let (Some(grid), Some(bare)) = (grid, bare) {
            lines.push(format!("{name:<40} {grid:>8.0} ns per call, bare {bare:>4.0} ns: {:>5.1} times", grid / bare));
        }
    }
    group.finish();
    lines.extend(waves());
    lines.extend(memory);
    print(&lines);
}

/// Nanoseconds per call, the median of the samples; nothing when this was not asked for.
fn measure<C: Core>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, setting: Setting) -> Option<f64> {
    let mut world = None;
    let mut samples = Vec::new();
    group.throughput(Throughput::Elements(setting.calls_per_round()));
    group.bench_function(name, |bencher| {
        let world = world.get_or_insert_with(|| World::<C>::busy(setting));
        bencher.iter_custom(|rounds| {
            let (mut calls, mut time) = (0, Duration::ZERO);
            for _ in 0..rounds {
                let round = world.round();
                calls += round.0;
                time += round.1;
            }
            let per_call = time.as_secs_f64() / calls.max(1) as f64;
            samples.push(per_call * 1e9);
            // As if each round had been of the same size.
            Duration::from_secs_f64(per_call * (setting.calls_per_round() * rounds) as f64)
        });
    });
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied()
}

/// What calls cost that come in waves too small for the grid, so that each wave finds slots and gives them back.
fn waves() -> Vec<String> {
    let line = |wave: usize| {
        let mut world = World::<Grid>::idle(MANY);
        let (calls, time) = world.waves(wave, 40_000 / wave.max(40));
        let per_call = time.as_nanos() as f64 / black_box(calls) as f64;
        format!("{:<40} {per_call:>8.0} ns per call", format!("500 nodes, idle, {wave} inputs at a time"))
    };
    [1, 10, 1000].map(line).to_vec()
}

#[expect(clippy::print_stdout, reason = "a benchmark's findings")]
fn print(lines: &[String]) {
    println!();
    lines.iter().for_each(|line| println!("{line}"));
}
