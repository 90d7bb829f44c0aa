//! Runs calls: a call in, how it ended out. Knows nothing of grids, jobs or networks.
//!
//! Every call gets a fresh instance in a store of its own (`sandbox.rs`), a private directory (`scratch.rs`), and a bounded life:
//! fuel makes it yield its thread about every millisecond, the memory cap denies it more than its share, and the timeout ends it
//! wherever it is. Dropping the future of a call ends the call.

use std::num::NonZero;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use burla_types::component::Description;
use burla_types::{Digest, Exceeded, LIMIT_PAYLOAD_BYTES_MAX, Limit, Limits, Outcome};
use bytes::Bytes;
use lru::LruCache;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{OnceCell, Semaphore};
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};

use crate::compiled::CompiledCache;
use crate::contract::{self, CallError, FunctionPre, TEXT_BYTES_MAX, truncate};
use crate::engine::CALLS_MAX;
use crate::memory::{NodeMemory, Reservation};
use crate::metrics::Metrics;
use crate::output::{CallOutput, Printer};
use crate::sandbox::Sandbox;
use crate::scratch::ScratchPool;
use crate::trap;

/// Components that are kept ready in memory. One that is not is loaded from disk in a millisecond.
const LOADED_MAX: NonZero<usize> = NonZero::new(256).expect("not zero");

/// How long calls that were told to end may take. They notice within a millisecond, but for those in the middle of a large file
/// operation.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// Causes of an error that are passed on; real chains have a handful.
const CAUSES_MAX: usize = 64;

/// A component that is ready to be instantiated.
#[derive(Clone)]
pub struct PreparedComponent(FunctionPre<Sandbox>);

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
    /// From before its instance was made until after it was gone.
    pub wall_time: Duration,
    /// The most that its memories and tables took. Zero for a call that ran into its timeout.
    pub memory_bytes_peak: u64,
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

/// Runs calls on threads of its own.
pub struct Executor {
    engine: Engine,
    linker: Linker<Sandbox>,
    compiled: CompiledCache,
    /// A cell for each digest, so that a component is compiled once however many ask for it at the same time.
    loaded: Mutex<LruCache<Digest, Arc<OnceCell<PreparedComponent>>>>,
    scratch: Arc<ScratchPool>,
    memory: Arc<NodeMemory>,
    metrics: Arc<Metrics>,
    /// Calls beyond what the pool of instances holds wait here; the pool itself would fail them.
    instances: Semaphore,
    /// Only guests run here: one that computes for minutes delays no message and no heartbeat.
    runtime: Option<Runtime>,
}

impl Executor {
    /// Makes an executor that keeps compiled components below `data_dir`, makes calls' directories below `sandbox_dir`, runs
    /// guests on `threads` threads, and gives them `memory_bytes` together.
    pub fn new(
        data_dir: &Path,
        sandbox_dir: &Path,
        threads: NonZero<usize>,
        memory_bytes: u64,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        burla_blobs::make_private_dir(data_dir)?;
        let engine = crate::engine::engine()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads.get())
            .thread_name("burla-call")
            // A guest yields every millisecond or so; timers that were looked at only every 61 turns, the default, would be that
            // much late.
            .event_interval(1)
            .enable_all()
            .build()?;
        Ok(Self {
            linker: contract::linker(&engine)?,
            compiled: CompiledCache::open(data_dir, &engine)?,
            engine,
            loaded: Mutex::new(LruCache::new(LOADED_MAX)),
            scratch: Arc::new(ScratchPool::open(sandbox_dir)?),
            memory: NodeMemory::new(memory_bytes),
            metrics,
            instances: Semaphore::new(CALLS_MAX as usize),
            runtime: Some(runtime),
        })
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
        let cell = {
            let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(loaded.get_or_insert(digest, Arc::default))
        };
        let prepared = cell.get_or_try_init(|| async {
            let unusable = |error: anyhow::Error| PrepareError::Unusable { digest, reason: format!("{error:#}") };
            let failed = |source: anyhow::Error| PrepareError::Node { digest, source };
            let this = Arc::clone(self);
            if let Some(prepared) = blocking(move || this.load(digest)).await.map_err(failed)? {
                return Ok(prepared);
            }
            let bytes = fetch.await.map_err(|error| PrepareError::Fetch { digest, source: error.into() })?;
            let this = Arc::clone(self);
            blocking(move || this.compile(digest, &bytes)).await.map_err(failed)?.map_err(unusable)
        });
        prepared.await.cloned()
    }

    fn load(&self, digest: Digest) -> Option<PreparedComponent> {
        let component = self.compiled.load(digest)?;
        self.link(&component).inspect_err(|error| tracing::warn!(%error, %digest, "a compiled component does not link")).ok()
    }

    fn compile(&self, digest: Digest, bytes: &[u8]) -> anyhow::Result<PreparedComponent> {
        digest.verify(bytes)?;
        let description = Description::read(bytes)?;
        let foreign = description.imports_not_offered();
        anyhow::ensure!(foreign.is_empty(), "it imports what no node offers: {}", foreign.join(", "));
        let started = Instant::now();
        let component = Component::new(&self.engine, bytes)?;
        let prepared = self.link(&component)?;
        tracing::info!(%digest, bytes = bytes.len(), elapsed = ?started.elapsed(), "compiled a component");
        self.metrics.components_compiled.inc();
        self.metrics.compile_seconds.observe(started.elapsed().as_secs_f64());
        self.compiled.store(digest, &component);
        Ok(prepared)
    }

    fn link(&self, component: &Component) -> anyhow::Result<PreparedComponent> {
        Ok(PreparedComponent(FunctionPre::new(self.linker.instantiate_pre(component)?)?))
    }

    /// Runs one call to its end. Whatever the guest does, this returns how it ended; dropping the future ends the guest.
    pub async fn call(&self, call: Call, printer: impl Printer) -> CallEnd {
        let _instance = self.instances.acquire().await;
        let reservation = self.memory.reserve(call.memory_bytes_reserved).await;
        let _running = Running::new(&self.metrics);
        let started = Instant::now();
        let output = CallOutput::new(printer);
        let overdraft = reservation.overdraft();
        let attempt = async {
            tokio::select! {
                attempted = self.attempt(&call, &output, reservation) => attempted,
                () = overdraft.called_in() => Attempted { node_was_short: true, ..Attempted::without_instance(node_is_short()) },
            }
        };
        let ended = match call.limits.wall_time_max {
            None => attempt.await,
            Some(wall_time_max) => tokio::time::timeout(wall_time_max, attempt)
                .await
                .unwrap_or_else(|_| Attempted::without_instance(timed_out(wall_time_max))),
        };
        let tail = output.finish();
        let Attempted { outcome, memory_bytes_peak, node_was_short } = ended;
        let stderr_tail = if matches!(outcome, Outcome::Done(_)) { String::new() } else { tail };
        let wall_time = started.elapsed();
        if !node_was_short {
            self.metrics.call_ended(&outcome, wall_time);
        }
        CallEnd { outcome, stderr_tail, wall_time, memory_bytes_peak, node_was_short }
    }

    /// What calls hold of the node's memory.
    pub(crate) fn memory_held_bytes(&self) -> u64 {
        self.memory.held_bytes()
    }

    /// Waits until no call runs any more, a while at most, and removes what calls have left on disk. Calls must have been told to
    /// end.
    pub(crate) async fn shut_down(self: &Arc<Self>) {
        if tokio::time::timeout(SHUTDOWN_GRACE, self.instances.acquire_many(CALLS_MAX)).await.is_err() {
            tracing::warn!(grace = ?SHUTDOWN_GRACE, "calls are still running; leaving them");
        }
        let this = Arc::clone(self);
        if let Err(error) = blocking(move || this.scratch.close()).await {
            tracing::error!("cannot remove what calls have left: {error:#}");
        }
    }

    /// One instance, from its making to its end.
    async fn attempt(&self, call: &Call, output: &CallOutput, reservation: Reservation) -> Attempted {
        let scratch = match self.scratch.take() {
            Ok(scratch) => scratch,
            Err(error) => return Attempted::without_instance(node_failed("make the call's directory", &error)),
        };
        let mut store = match Sandbox::store(&self.engine, &call.limits, &call.env, &scratch, output, reservation) {
            Ok(store) => store,
            Err(error) => return Attempted::without_instance(node_failed("make the call's sandbox", &error)),
        };
        let outcome = match enter(&mut store, call).await {
            Ok(Ok(bytes)) => done(bytes),
            Ok(Err(CallError::Failed(mut failure))) => {
                failure.causes.truncate(CAUSES_MAX);
                std::iter::once(&mut failure.message).chain(&mut failure.causes).for_each(|text| truncate(text, TEXT_BYTES_MAX));
                Outcome::Failed { message: failure.message, causes: failure.causes }
            }
            Ok(Err(CallError::Refused(mut message))) => {
                truncate(&mut message, TEXT_BYTES_MAX);
                Outcome::Refused { message }
            }
            Err(_) if store.data().memory.node_is_short => node_is_short(),
            Err(error) => trap::outcome(&error, store.data_mut(), &call.limits),
        };
        let memory = &store.data().memory;
        let attempted = Attempted { outcome, memory_bytes_peak: memory.bytes_peak, node_was_short: memory.node_is_short };
        // The store goes before the directory: it has files open there.
        drop(store);
        drop(scratch);
        attempted
    }
}

/// How an attempt ended.
struct Attempted {
    outcome: Outcome,
    memory_bytes_peak: u64,
    node_was_short: bool,
}

impl Attempted {
    fn without_instance(outcome: Outcome) -> Self {
        Self { outcome, memory_bytes_peak: 0, node_was_short: false }
    }
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

async fn enter(store: &mut Store<Sandbox>, call: &Call) -> wasmtime::Result<Result<Vec<u8>, CallError>> {
    let instance = call.component.0.instantiate_async(&mut *store).await?;
    instance.burla_function_handler().call_call(store, &call.function, &call.input).await
}

fn done(bytes: Vec<u8>) -> Outcome {
    if bytes.len() <= LIMIT_PAYLOAD_BYTES_MAX {
        return Outcome::Done(bytes.into());
    }
    let (allowed, wanted) = (LIMIT_PAYLOAD_BYTES_MAX as u64, Some(bytes.len() as u64));
    Outcome::Exceeded(Exceeded { limit: Limit::OutputSize, allowed, wanted })
}

fn timed_out(wall_time_max: Duration) -> Outcome {
    let allowed = u64::try_from(wall_time_max.as_millis()).unwrap_or(u64::MAX);
    Outcome::Exceeded(Exceeded { limit: Limit::WallTime, allowed, wanted: None })
}

fn node_is_short() -> Outcome {
    Outcome::Lost { reason: "its node ran short of memory".to_owned() }
}

fn node_failed(act: &str, error: &dyn std::fmt::Display) -> Outcome {
    Outcome::Lost { reason: format!("its node could not {act}: {error:#}") }
}

/// Runs what takes long on a thread where it may. A component that makes the compiler panic is an error like any other.
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
