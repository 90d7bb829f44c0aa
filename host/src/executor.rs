//! Runs calls: a call in, how it ended out. Knows nothing of grids, jobs or networks.
//!
//! Every call gets a fresh instance in a store of its own (`sandbox.rs`), a private directory (`scratch.rs`), and a bounded life:
//! fuel makes it yield its thread about every millisecond, the memory cap denies it more than its share, and the timeout ends it
//! wherever it is. Dropping the future of a call ends the call.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use burla_types::component::Description;
use burla_types::{Digest, Exceeded, LIMIT_PAYLOAD_BYTES_MAX, Limit, Limits, NetworkGrant, Outcome, Usage};
use bytes::Bytes;
use lru::LruCache;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{OnceCell, Semaphore};
use wasmtime::Store;
use wasmtime::component::{Component, Linker};

use crate::compiled::{CompiledCache, Loaded};
use crate::compiler::{CompileError, Compiler, CompilerConfig, FailedCompiles};
use crate::contract::{self, CallError, FunctionPre, kept};
use crate::engine::Engines;
use crate::filesystem::{Disk, NodeDisk, NodeFiles, can_let_others_go};
use crate::machine;
use crate::memory::{NodeMemory, Reservation};
use crate::metrics::Metrics;
use crate::network::{Lookups, Network};
use crate::output::{CallOutput, Printer};
use crate::policy::Policy;
use crate::sandbox::{Given, NoSandbox, OBJECTS_MAX, Sandbox, fuel_given};
use crate::scratch::ScratchPool;
use crate::throttle::{Turn, in_turns};
use crate::trap;

/// Components that are kept ready in memory. One that is not is loaded from disk in a millisecond.
const LOADED_MAX: NonZero<usize> = NonZero::new(256).expect("not zero");

/// Components that are fetched and compiled at one time: each is held whole until it is compiled, 64 MiB at most.
const PREPARES_MAX: usize = 4;

/// Machine code of components that is kept ready in memory; what is not is loaded from disk again.
const LOADED_BYTES_MAX: usize = 1 << 30;

/// Threads for each CPU. WebAssembly's bulk instructions cannot be interrupted, and a call in the middle of one that fills gigabytes
/// would keep others from its thread; with more threads than CPUs the kernel sees to it that they go on.
const THREADS_PER_CPU: usize = 2;

/// Memory of a call from which on giving it back to the kernel takes longer than a turn.
const LARGE_BYTES: u64 = 64 << 20;

/// How long calls that were told to end may take. They notice within a millisecond, but for those in the middle of a large file
/// operation.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// Causes of an error that are passed on; real chains have a handful.
const CAUSES_MAX: usize = 64;

/// A component that is ready to be instantiated.
#[derive(Clone)]
pub struct PreparedComponent(Arc<Prepared>);

struct Prepared {
    resident: FunctionPre<Sandbox>,
    roomy: FunctionPre<Sandbox>,
    /// Its memories, each of which takes a place of the pool.
    places: u32,
}

impl PreparedComponent {
    fn code_bytes(&self) -> usize {
        let range = self.0.roomy.instance_pre().component().image_range();
        range.end as usize - range.start as usize
    }
}

/// One call to be run.
pub struct Call {
    /// What to instantiate.
    pub component: PreparedComponent,
    /// `crate::path::name`.
    pub function: Arc<str>,
    /// The encoded input.
    pub input: Bytes,
    /// What the sandbox enforces.
    pub limits: Limits,
    /// What it may reach over the network.
    pub network: Arc<[NetworkGrant]>,
    /// The whole environment.
    pub env: Arc<[(String, String)]>,
    /// Memory that it has for certain. It may use more, up to its limit, while the node has it.
    pub memory_bytes_reserved: u64,
}

/// How a call ended, and what it took.
#[derive(Debug)]
pub struct CallEnd {
    /// How it ended.
    pub outcome: Outcome,
    /// The end of what it wrote to stderr; empty when it is done.
    pub stderr_tail: String,
    /// What it took.
    pub usage: Usage,
    /// It was stopped because the node ran short of memory, and the outcome says no more than that.
    pub node_was_short: bool,
}

/// Why a component cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Its bytes could not be had.
    #[error("cannot get component {digest}")]
    Fetch {
        /// Which one.
        digest: Digest,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No node could run it.
    #[error("component {digest} cannot be run: {reason}")]
    Unusable {
        /// Which one.
        digest: Digest,
        /// Why not.
        reason: String,
    },
    /// This node failed at it; another may not.
    #[error("component {digest} cannot be made ready here")]
    Node {
        /// Which one.
        digest: Digest,
        /// Why not.
        source: anyhow::Error,
    },
}

/// What an executor has to give, and where it keeps things.
#[derive(Clone, Debug)]
pub struct ExecutorConfig {
    /// Where compiled components are kept.
    pub data_dir: PathBuf,
    /// Where calls' directories are made.
    pub sandbox_dir: PathBuf,
    /// CPUs that guests run on.
    pub threads: NonZero<usize>,
    /// Calls that it may have at one time, asleep ones included.
    pub calls_max: u32,
    /// Memory that calls may have together.
    pub memory_bytes: u64,
    /// Bytes that calls' files may take together.
    pub disk_bytes: u64,
    /// What calls may be granted.
    pub policy: Arc<Policy>,
}

/// Runs calls on threads of its own.
pub struct Executor {
    resident_linker: Linker<Sandbox>,
    roomy_linker: Linker<Sandbox>,
    compiled: CompiledCache,
    compiler: Compiler,
    failed: FailedCompiles,
    /// Components beyond what the node holds at one time are fetched later.
    preparing: Semaphore,
    /// A cell for each digest, so that a component is compiled once however many ask for it at the same time.
    loaded: Mutex<LruCache<Digest, Arc<OnceCell<PreparedComponent>>>>,
    scratch: Arc<ScratchPool>,
    memory: Arc<NodeMemory>,
    disk: Arc<NodeDisk>,
    files: Arc<NodeFiles>,
    lookups: Arc<Lookups>,
    policy: Arc<Policy>,
    metrics: Arc<Metrics>,
    /// Places in the two pools of instances. Where there is none in either, calls wait here; the pool itself would fail them.
    resident_places: Semaphore,
    roomy_places: Semaphore,
    resident_calls: u32,
    roomy_calls: u32,
    /// Only guests run here: one that computes for minutes delays no message and no heartbeat.
    runtime: Option<Runtime>,
}

impl Executor {
    /// Makes an executor.
    ///
    /// # Errors
    ///
    /// A folder that cannot be made or read, or an engine that cannot be made.
    pub fn new(config: ExecutorConfig, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let ExecutorConfig { data_dir, sandbox_dir, threads, calls_max, memory_bytes, disk_bytes, policy } = config;
        let (data_dir, sandbox_dir) = (data_dir.as_path(), sandbox_dir.as_path());
        burla_blobs::make_private_dir(data_dir)?;
        let cpus = u32::try_from(threads.get()).unwrap_or(u32::MAX);
        let engines = Engines::new(cpus, calls_max)?;
        let mut executor = Self {
            resident_linker: contract::linker(&engines.resident)?,
            roomy_linker: contract::linker(&engines.roomy)?,
            resident_places: Semaphore::new(engines.resident_calls as usize),
            roomy_places: Semaphore::new(engines.roomy_calls as usize),
            resident_calls: engines.resident_calls,
            roomy_calls: engines.roomy_calls,
            compiled: CompiledCache::open(data_dir, engines)?,
            compiler: Compiler::new(CompilerConfig::default()),
            failed: FailedCompiles::default(),
            preparing: Semaphore::new(PREPARES_MAX),
            loaded: Mutex::new(LruCache::new(LOADED_MAX)),
            scratch: Arc::new(ScratchPool::open(sandbox_dir)?),
            memory: NodeMemory::new(memory_bytes, machine::memory_for_calls_bytes),
            disk: Arc::new(NodeDisk::new(disk_bytes)),
            files: Arc::new(NodeFiles::new(machine::files_for_calls())),
            lookups: Arc::default(),
            policy,
            metrics,
            runtime: None,
        };
        // Last: a runtime must not be dropped where others are awaited, as an error after it would do.
        executor.runtime = Some(
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(THREADS_PER_CPU * threads.get())
                .thread_name("burla-call")
                // A guest yields every millisecond or so; timers that were looked at only every 61 turns, the default, would be that
                // much late.
                .event_interval(1)
                .enable_all()
                .build()?,
        );
        Ok(executor)
    }

    /// Where [`call`](Self::call) must be polled: guests may block the thread for the length of a file operation.
    pub fn handle(&self) -> &Handle {
        self.runtime.as_ref().expect("only drop takes the runtime").handle()
    }

    /// Makes a component ready: from memory, else from disk, else from `fetch` and the compiler. However many ask at the same
    /// time, it is fetched and compiled once.
    pub async fn prepare<E, F>(self: &Arc<Self>, digest: Digest, fetch: F) -> Result<PreparedComponent, PrepareError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
        F: Future<Output = Result<Bytes, E>>,
    {
        let waiting = Waiting::new(self, digest);
        let prepared = waiting.cell.get_or_try_init(|| self.make_ready(digest, fetch)).await.cloned();
        self.forget_beyond_max();
        prepared
    }

    /// Drops ready components that were not used for longest while there is more machine code than may be kept. Calls that run keep
    /// theirs.
    fn forget_beyond_max(&self) {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let code_bytes = |cell: &Arc<OnceCell<PreparedComponent>>| cell.get().map_or(0, PreparedComponent::code_bytes);
        let mut bytes: usize = loaded.iter().map(|(_, cell)| code_bytes(cell)).sum();
        while bytes > LOADED_BYTES_MAX && loaded.len() > 1 {
            bytes -= loaded.pop_lru().map_or(0, |(_, cell)| code_bytes(&cell));
        }
    }

    async fn make_ready<E, F>(self: &Arc<Self>, digest: Digest, fetch: F) -> Result<PreparedComponent, PrepareError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
        F: Future<Output = Result<Bytes, E>>,
    {
        // Those who waited for one that failed are told so, too, and do not try it one after the other.
        if let Some(reason) = self.failed.recall(digest, Instant::now()) {
            return Err(PrepareError::Unusable { digest, reason });
        }
        let this = Arc::clone(self);
        let loaded = blocking(move || this.load(digest)).await.map_err(|source| PrepareError::Node { digest, source })?;
        if let Some(prepared) = loaded.map_err(|error| unusable(digest, &error))? {
            return Ok(prepared);
        }
        let _turn = self.preparing.acquire().await;
        let bytes = fetch.await.map_err(|error| PrepareError::Fetch { digest, source: error.into() })?;
        let compiled = self.compile(digest, bytes).await;
        if let Err(PrepareError::Unusable { reason, .. }) = &compiled {
            self.failed.remember(digest, reason, Instant::now());
        }
        compiled
    }

    /// One that was kept and does not link would not link either if it were compiled again.
    fn load(&self, digest: Digest) -> anyhow::Result<Option<PreparedComponent>> {
        self.compiled.load(digest).map(|loaded| self.link(&loaded)).transpose()
    }

    async fn compile(self: &Arc<Self>, digest: Digest, bytes: Bytes) -> Result<PreparedComponent, PrepareError> {
        let failed = |source: anyhow::Error| PrepareError::Node { digest, source };
        let checked = bytes.clone();
        blocking(move || check(digest, &checked)).await.map_err(failed)??;
        let started = Instant::now();
        let code = self.compiler.compile(&bytes).await.map_err(|error| match error {
            CompileError::Refused { reason } => PrepareError::Unusable { digest, reason },
            CompileError::Node { source } => failed(source),
        })?;
        let elapsed = started.elapsed();
        tracing::info!(%digest, bytes = bytes.len(), ?elapsed, "compiled a component");
        self.metrics.components_compiled.inc();
        self.metrics.compile_seconds.observe(elapsed.as_secs_f64());
        let this = Arc::clone(self);
        let loaded = blocking(move || this.link(&this.compiled.store(digest, &code)?)).await.map_err(failed)?;
        loaded.map_err(|error| unusable(digest, &error))
    }

    fn link(&self, loaded: &Loaded) -> anyhow::Result<PreparedComponent> {
        let pre = |linker: &Linker<Sandbox>, component: &Component| FunctionPre::new(linker.instantiate_pre(component)?);
        // One that says nothing of what it takes has modules that are not known before it is made; the linker offers none.
        let places = loaded.roomy.resources_required().map_or(1, |required| required.num_memories.max(1));
        // Where there is a pool it has refused less. Waiting for more places than there are would never end.
        anyhow::ensure!(places as usize <= OBJECTS_MAX, "it has {places} memories, and may have {OBJECTS_MAX}");
        Ok(PreparedComponent(Arc::new(Prepared {
            resident: pre(&self.resident_linker, &loaded.resident)?,
            roomy: pre(&self.roomy_linker, &loaded.roomy)?,
            places,
        })))
    }

    /// Runs one call to its end. Whatever the guest does, this returns how it ended; dropping the future ends the guest.
    pub async fn call(&self, call: Call, printer: impl Printer) -> CallEnd {
        let Prepared { resident, roomy, places } = &*call.component.0;
        let (pre, _places) = match self.resident_places.try_acquire_many(*places) {
            Ok(taken) => (resident, Ok(taken)),
            Err(_) => (roomy, self.roomy_places.acquire_many(*places).await),
        };
        let reservation = match self.memory.reserve(call.memory_bytes_reserved).await {
            Ok(reservation) => reservation,
            Err(short) => return CallEnd::lost(format!("its node could not start it: {short}")),
        };
        let _running = Running::new(&self.metrics);
        let started = Instant::now();
        let output = CallOutput::new(printer);
        let Attempted { outcome, mut usage, node_was_short } = self.attempt(&call, pre, &output, reservation).await;
        let tail = output.finish();
        let stderr_tail = if matches!(outcome, Outcome::Done(_)) { String::new() } else { tail };
        usage.wall_time = started.elapsed();
        if !node_was_short {
            self.metrics.call_ended(&outcome, &usage);
        }
        CallEnd { outcome, stderr_tail, usage, node_was_short }
    }

    /// Calls that it can have at one time.
    pub(crate) fn calls_max(&self) -> u32 {
        self.roomy_calls
    }

    /// Looks at what memory the machine has left. Takes some 100 µs after a pause, which a call need not wait for.
    pub(crate) fn ask_machine(&self) {
        self.memory.ask_machine();
    }

    /// What calls hold of the node's memory.
    pub(crate) fn memory_held_bytes(&self) -> u64 {
        self.memory.held_bytes()
    }

    /// What files of calls take on disk.
    pub(crate) fn disk_held_bytes(&self) -> u64 {
        self.disk.held_bytes()
    }

    /// Waits until no call runs any more, a while at most, and removes what calls have left on disk. Calls must have been told to
    /// end.
    pub(crate) async fn shut_down(self: &Arc<Self>) {
        let all_ended = async {
            (self.resident_places.acquire_many(self.resident_calls).await, self.roomy_places.acquire_many(self.roomy_calls).await)
        };
        if tokio::time::timeout(SHUTDOWN_GRACE, all_ended).await.is_err() {
            tracing::warn!(grace = ?SHUTDOWN_GRACE, "calls are still running; leaving them");
        }
        let this = Arc::clone(self);
        if let Err(error) = blocking(move || this.scratch.close()).await {
            tracing::error!("cannot remove what calls have left: {error:#}");
        }
    }

    /// One instance, from its making to its end.
    async fn attempt(&self, call: &Call, pre: &FunctionPre<Sandbox>, output: &CallOutput, reservation: Reservation) -> Attempted {
        let (overdraft, turn) = (reservation.overdraft(), Turn::new());
        let disk_bytes = self.policy.disk_bytes(&call.limits);
        let disk = Disk::new(disk_bytes, Arc::clone(&self.disk), Arc::clone(&self.files), Arc::clone(&self.scratch));
        let given = Given {
            limits: &call.limits,
            env: &call.env,
            input_bytes: call.input.len(),
            output,
            reservation,
            disk,
            network: Network::new(
                Arc::clone(&call.network),
                Arc::clone(&self.policy.network),
                Arc::clone(&self.files),
                Arc::clone(&self.lookups),
            ),
            turn: turn.clone(),
        };
        let mut store = match Sandbox::store(pre.instance_pre().engine(), given) {
            Ok(store) => store,
            Err(NoSandbox::TooLittleMemory(exceeded)) => return Attempted::without_instance(Outcome::Exceeded(exceeded)),
            Err(NoSandbox::NodeIsShort) => {
                return Attempted { node_was_short: true, ..Attempted::without_instance(node_is_short()) };
            }
            Err(NoSandbox::Failed(error)) => {
                return Attempted::without_instance(node_failed("make the call's sandbox", &error));
            }
        };
        let ended = {
            let guest = in_turns(call.limits.cpu_millis_max, &turn, enter(&mut store, pre, call));
            let in_time = async {
                match call.limits.wall_time_max {
                    Some(wall_time_max) => tokio::time::timeout(wall_time_max, guest).await,
                    None => Ok(guest.await),
                }
            };
            tokio::select! {
                // Most calls are done at the first poll, and then nothing else is looked at.
                biased;
                in_time = in_time => in_time.map_or(Ended::TimedOut, Ended::Returned),
                () = overdraft.called_in() => Ended::CalledIn,
            }
        };
        let node_was_short = store.data().memory.node_is_short || matches!(ended, Ended::CalledIn);
        let outcome = match ended {
            Ended::Returned(Ok(Ok(bytes))) => done(bytes),
            Ended::Returned(Ok(Err(CallError::Failed(mut failure)))) => {
                failure.causes.truncate(CAUSES_MAX);
                Outcome::Failed { message: kept(failure.message), causes: failure.causes.into_iter().map(kept).collect() }
            }
            Ended::Returned(Ok(Err(CallError::Refused(message)))) => Outcome::Refused { message: kept(message) },
            Ended::Returned(Err(_)) if store.data().memory.node_is_short => node_is_short(),
            Ended::Returned(Err(error)) => trap::outcome(&error, store.data_mut(), &call.limits),
            Ended::TimedOut => timed_out(call.limits.wall_time_max.unwrap_or_default()),
            Ended::CalledIn => node_is_short(),
        };
        let fuel_left = store.get_fuel().unwrap_or_default();
        let outcome = if fuel_left == 0 { trap::out_of_fuel(&call.limits) } else { outcome };
        let usage = Usage {
            fuel: (fuel_given(&call.limits) - fuel_left).min(call.limits.fuel_max.unwrap_or(u64::MAX)),
            wall_time: Duration::ZERO,
            memory_bytes_peak: store.data().memory.bytes_peak,
            disk_bytes_written: store.data().disk.bytes_written(),
        };
        let denials = store.data().network.take_denials();
        let mut notes: Vec<_> = denials.iter().map(|denial| format!("[burla: denied {denial}]")).collect();
        if !matches!(outcome, Outcome::Done(_)) {
            // One that went on has handled it.
            notes.extend(store.data().disk.lacked().map(|reason| format!("[burla: no space left: {reason}]")));
        }
        output.print_notes(&notes);
        let is_large = usage.memory_bytes_peak > LARGE_BYTES;
        if is_large && can_let_others_go() {
            // The kernel takes a while to take back so many pages.
            tokio::task::block_in_place(|| drop(store));
        } else {
            drop(store);
        }
        Attempted { outcome, usage, node_was_short }
    }
}

/// What became of the guest.
enum Ended {
    /// It returned, or trapped.
    Returned(wasmtime::Result<Result<Vec<u8>, CallError>>),
    /// It was stopped at its timeout.
    TimedOut,
    /// It was stopped because another call needs the memory that it had beyond its reservation.
    CalledIn,
}

/// How an attempt ended.
struct Attempted {
    outcome: Outcome,
    usage: Usage,
    node_was_short: bool,
}

impl Attempted {
    fn without_instance(outcome: Outcome) -> Self {
        Self { outcome, usage: Usage::default(), node_was_short: false }
    }
}

impl CallEnd {
    /// A call that its node could not run, for no fault of its own.
    pub(crate) fn lost(reason: String) -> Self {
        let (stderr_tail, usage) = (String::new(), Usage::default());
        Self { outcome: Outcome::Lost { reason }, stderr_tail, usage, node_was_short: false }
    }
}

/// Someone who waits for a component to be ready.
struct Waiting<'a> {
    executor: &'a Executor,
    digest: Digest,
    cell: Arc<OnceCell<PreparedComponent>>,
}

impl<'a> Waiting<'a> {
    fn new(executor: &'a Executor, digest: Digest) -> Self {
        let mut loaded = executor.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = Arc::clone(loaded.get_or_insert(digest, Arc::default));
        drop(loaded);
        Self { executor, digest, cell }
    }
}

impl Drop for Waiting<'_> {
    /// A component that failed or was given up leaves no empty cell behind. While others wait on the cell it stays: with a second
    /// one, the same component would be compiled twice at the same time.
    fn drop(&mut self) {
        let mut loaded = self.executor.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let is_kept = loaded.peek(&self.digest).is_some_and(|kept| Arc::ptr_eq(kept, &self.cell));
        // One is the cache's, one is this one's.
        if is_kept && !self.cell.initialized() && Arc::strong_count(&self.cell) == 2 {
            loaded.pop(&self.digest);
        }
    }
}

/// Checks what can be checked without compiling.
fn check(digest: Digest, bytes: &[u8]) -> Result<(), PrepareError> {
    // Other bytes under its name say nothing about the component.
    digest.verify(bytes).map_err(|mismatch| PrepareError::Fetch { digest, source: mismatch.into() })?;
    let description = Description::read(bytes).map_err(|error| unusable(digest, &error.into()))?;
    let foreign = description.imports_not_offered();
    if foreign.is_empty() {
        return Ok(());
    }
    Err(unusable(digest, &anyhow::anyhow!("it imports what no node offers: {}", foreign.join(", "))))
}

fn unusable(digest: Digest, error: &anyhow::Error) -> PrepareError {
    PrepareError::Unusable { digest, reason: kept(format!("{error:#}")) }
}

/// Counts a call as running for as long as it does, however it ends.
struct Running<'a>(&'a Metrics);

impl<'a> Running<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.calls_running.inc();
        Self(metrics)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.calls_running.dec();
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Dropping a runtime waits for its threads, which an async context must not; guests end at their next yield all the
            // same.
            runtime.shutdown_background();
        }
    }
}

async fn enter(
    store: &mut Store<Sandbox>,
    pre: &FunctionPre<Sandbox>,
    call: &Call,
) -> wasmtime::Result<Result<Vec<u8>, CallError>> {
    let instance = pre.instantiate_async(&mut *store).await?;
    instance.burla_function_handler().call_call(store, &call.function, &call.input).await
}

fn done(bytes: Vec<u8>) -> Outcome {
    if bytes.len() <= LIMIT_PAYLOAD_BYTES_MAX {
        return Outcome::Done(bytes.into());
    }
    let (allowed, wanted) = (LIMIT_PAYLOAD_BYTES_MAX as u64, Some(bytes.len() as u64));
    Outcome::Exceeded(Exceeded { limit: Limit::OutputSize, allowed, wanted, peak: None })
}

fn timed_out(wall_time_max: Duration) -> Outcome {
    let allowed = u64::try_from(wall_time_max.as_millis()).unwrap_or(u64::MAX);
    Outcome::Exceeded(Exceeded { limit: Limit::WallTime, allowed, wanted: None, peak: None })
}

fn node_is_short() -> Outcome {
    Outcome::Lost { reason: "its node ran short of memory".to_owned() }
}

fn node_failed(act: &str, error: &dyn std::fmt::Display) -> Outcome {
    Outcome::Lost { reason: format!("its node could not {act}: {error:#}") }
}

/// Runs what takes long on a thread where it may. A panic is an error like any other.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.context("the node failed at it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_that_is_too_large_is_a_limit_with_its_size() {
        let output = |bytes| done(vec![0; bytes]);
        assert!(matches!(output(LIMIT_PAYLOAD_BYTES_MAX), Outcome::Done(_)));
        let Outcome::Exceeded(exceeded) = output(LIMIT_PAYLOAD_BYTES_MAX + (1 << 20)) else { panic!("not exceeded") };
        assert_eq!(exceeded.to_string(), "exceeded the output size limit of 1024.0 MiB: the output is 1025.0 MiB");
    }
}
