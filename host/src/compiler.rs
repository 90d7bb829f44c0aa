//! Compiles components, each in a process of its own.
//!
//! A component is input, and the compiler is the largest program that reads it. One that was made for the purpose makes it take
//! all memory and all CPUs, or runs it into a bug. So a child of the same binary compiles: it limits itself before it reads a
//! byte, has no environment, opens nothing, and is the first to go when memory runs out. Whatever becomes of it, the node goes
//! on.
//!
//! The component comes to the child on stdin. Machine code leaves on stdout and the compiler's words on stderr, and the way the
//! child ends says which of them counts. Stdin stays open for as long as the answer is wanted: a child whose node is gone ends.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::num::NonZero;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use burla_proto::COMPONENT_BYTES_MAX;
use burla_types::Digest;
use burla_types::text::{TEXT_BYTES_MAX, truncated};
use lru::LruCache;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, nice, setrlimit};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::Semaphore;
use wasmtime::OutOfMemory;

use crate::contract::kept;
use crate::engine::engine_for_compiling;
use crate::machine;

/// What makes a binary the compiler's process when it is its first argument.
const COMPILE_ARGUMENT: &str = "--burla-compile-component";

/// Set for the compiler's process. A program that embeds a node and does not call [`compile_if_asked`] would run as a whole
/// instead of compiling, start another of itself for that, and so on.
const COMPILING: &str = "BURLA_COMPILING";

/// Memory that compiling one component may take: the usual one takes some tens of megabytes.
const MEMORY_BYTES_MAX: u64 = 2 << 30;

/// CPU time that compiling one component may take, of all its threads together: the usual one takes a few tenths of a second, and
/// one of ten times the bytes of the largest of the tests still gets by.
const CPU_TIME_MAX: Duration = Duration::from_secs(60);

/// How long compiling one component may take: what the CPU time allows, at half a CPU. Only a node that is busy beyond measure
/// takes longer.
const WALL_TIME_MAX: Duration = Duration::from_secs(120);

/// Components that are compiled at one time: a short one does not wait for the longest, and all together take 4 GiB at most.
const COMPILES_MAX: usize = 2;

/// Threads that compile one component. Each takes a stack and a heap of its own out of the child's memory, and few components
/// have enough functions for more.
const THREADS_MAX: usize = 16;

/// The largest machine code that is taken: eight times the largest component, where three to four times is usual.
const MACHINE_CODE_BYTES_MAX: u64 = 512 << 20;

/// How far the child stands back when CPUs are short: it gets a tenth of what a thread that runs calls or answers heartbeats gets.
const NICENESS: i32 = 10;

/// Files that the child can have open: its three streams, and what the system's library opens to count CPUs.
const OPEN_FILES_MAX: u64 = 64;

/// Failures that are remembered: with reasons of the largest size, 4 MiB.
const FAILURES_MAX: NonZero<usize> = NonZero::new(1024).expect("not zero");

/// The longest reason that is remembered. The compiler's own have some hundred bytes.
const REASON_BYTES_MAX: usize = 4 << 10;

/// How long a failure is remembered: as long as one can take, so that a component which is sent again and again takes one of the
/// node's CPUs half of the time at most.
const FAILURE_MEMORY: Duration = CPU_TIME_MAX;

// How the child ends. No other program ends like this, so that one which was started in its place is found out.
/// Stdout has the machine code.
const COMPILED: u8 = 80;
/// Stderr has what is wrong with the component.
const REFUSED: u8 = 81;
/// An allocation failed, and the compiler noticed.
const OUT_OF_MEMORY: u8 = 82;
/// The compiler panicked, and said so on stderr.
const PANICKED: u8 = 83;
/// Stderr has what is wrong with this machine.
const TROUBLE: u8 = 84;

/// What std writes before it aborts because an allocation failed.
const ALLOCATION_FAILED: &str = "memory allocation of";

/// What std writes before it aborts because a stack is used up.
const STACK_OVERFLOWED: &str = "has overflowed its stack";

/// Signals by which a program ends that does what it must not.
const CRASHES: [Signal; 6] = [Signal::ABORT, Signal::BUS, Signal::FPE, Signal::ILL, Signal::SEGV, Signal::TRAP];

/// The preamble of a component: the smallest there is.
const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// Which program compiles, and what compiling one component may take.
#[derive(Clone, Debug)]
pub struct CompilerConfig {
    /// A binary that calls [`compile_if_asked`] before anything else. Default: the one that is running.
    pub program: PathBuf,
    /// What it is given before the limits. Default: what `compile_if_asked` waits for.
    pub arguments: Vec<OsString>,
    /// Memory.
    pub memory_bytes_max: u64,
    /// CPU time of all threads together, in whole seconds.
    pub cpu_time_max: Duration,
    /// From its start to its end.
    pub wall_time_max: Duration,
}

impl Default for CompilerConfig {
    fn default() -> Self {
        Self {
            program: this_program(),
            arguments: vec![COMPILE_ARGUMENT.into()],
            memory_bytes_max: MEMORY_BYTES_MAX,
            cpu_time_max: CPU_TIME_MAX,
            wall_time_max: WALL_TIME_MAX,
        }
    }
}

/// Where the running binary is.
fn this_program() -> PathBuf {
    if cfg!(target_os = "linux") {
        // It stays the running binary when the file has made way for another version, whose machine code would not load here.
        return "/proc/self/exe".into();
    }
    std::env::current_exe().unwrap_or_default()
}

/// Machine code that a compiler of this very version made. Only this file makes one, so that nothing else can be loaded as such.
pub struct MachineCode(Vec<u8>);

impl MachineCode {
    /// As wasmtime serialized it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Compiles within this process.
    #[cfg(test)]
    pub(crate) fn of(component: &[u8]) -> Self {
        Self(engine_for_compiling().unwrap().precompile_component(component).unwrap())
    }
}

/// Why there is no machine code.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// No node could compile it within the limits.
    #[error("{reason}")]
    Refused {
        /// Why not.
        reason: String,
    },
    /// This node failed at it; another may not.
    #[error("the compiler's process failed")]
    Node {
        /// What went wrong.
        source: anyhow::Error,
    },
}

/// Compiles components in processes of their own, a few at a time.
#[derive(Debug)]
pub struct Compiler {
    config: CompilerConfig,
    turns: Semaphore,
}

/// How a child ended, and what it left.
struct Ended {
    status: ExitStatus,
    code: Vec<u8>,
    words: String,
}

impl Compiler {
    /// Nothing is started before there is something to compile.
    pub fn new(config: CompilerConfig) -> Self {
        Self { config, turns: Semaphore::new(COMPILES_MAX) }
    }

    /// Compiles a component. Dropping the future ends the child.
    pub async fn compile(&self, component: &[u8]) -> Result<MachineCode, CompileError> {
        if component.len() > COMPONENT_BYTES_MAX {
            return Err(refused(format!("it is larger than {} MiB", COMPONENT_BYTES_MAX >> 20)));
        }
        if std::env::var_os(COMPILING).is_some() {
            return Err(trouble("this program was started to compile, and does not call `compile_if_asked`"));
        }
        let _turn = self.turns.acquire().await;
        match tokio::time::timeout(self.config.wall_time_max, self.run(component)).await {
            Ok(Ok(ended)) => self.judge(ended),
            Ok(Err(source)) => Err(CompileError::Node { source }),
            // The limit of CPU time comes first, but for a node that has too little of it to give.
            Err(_) => Err(trouble(format!("it was not done after {:?}", self.config.wall_time_max))),
        }
    }

    /// Runs a child to its end.
    async fn run(&self, component: &[u8]) -> anyhow::Result<Ended> {
        let program = self.config.program.display();
        let mut child = self.command(component.len()).spawn().with_context(|| format!("cannot start {program}"))?;
        let mut stdin = child.stdin.take().expect("it is piped");
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = child.stderr.take().expect("it is piped");
        let (_, code, words) = tokio::join!(
            // A child that does not read everything says by its end why not.
            stdin.write_all(component),
            // One byte more than is taken tells that there is more.
            read(stdout, MACHINE_CODE_BYTES_MAX + 1),
            read(stderr, TEXT_BYTES_MAX as u64),
        );
        let status = child.wait().await.with_context(|| format!("cannot tell how {program} ended"))?;
        drop(stdin);
        let code = code.context("cannot read the machine code")?;
        let words = words.context("cannot read what the compiler says")?;
        Ok(Ended { status, code, words: String::from_utf8_lossy(&words).trim().to_owned() })
    }

    fn command(&self, component_bytes: usize) -> Command {
        let CompilerConfig { program, arguments, memory_bytes_max, cpu_time_max, .. } = &self.config;
        let (memory_bytes_max, cpu_seconds_max) = (*memory_bytes_max, cpu_time_max.as_secs());
        // All of them: its low priority leaves calls theirs.
        let threads = machine::threads().get().min(THREADS_MAX);
        let mut command = Command::new(program);
        command
            .arg0("burla-compile")
            .args(arguments)
            .args(Order { memory_bytes_max, cpu_seconds_max, component_bytes }.arguments())
            .env_clear()
            .env("RAYON_NUM_THREADS", threads.to_string())
            .env(COMPILING, "1")
            .current_dir("/")
            // A Ctrl-C on the terminal is for the node, which may have calls to finish that wait for this.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// What the end of a child means.
    fn judge(&self, ended: Ended) -> Result<MachineCode, CompileError> {
        let Ended { status, code, words } = ended;
        let out_of_memory = || format!("compiling it takes more than {} MiB of memory", self.config.memory_bytes_max >> 20);
        if code.len() as u64 > MACHINE_CODE_BYTES_MAX {
            return Err(refused(format!("its machine code is larger than {} MiB", MACHINE_CODE_BYTES_MAX >> 20)));
        }
        let reason = match (status.code().and_then(|code| u8::try_from(code).ok()), signal(status)) {
            (Some(COMPILED), _) => return Ok(MachineCode(code)),
            (Some(REFUSED), _) => words,
            (Some(OUT_OF_MEMORY), _) => out_of_memory(),
            (Some(PANICKED), _) => format!("the compiler failed on it: {words}"),
            (None, Some(Signal::ABORT)) if words.contains(ALLOCATION_FAILED) => out_of_memory(),
            (None, Some(Signal::ABORT)) if words.contains(STACK_OVERFLOWED) => {
                "it is nested deeper than the compiler can follow".to_owned()
            }
            (None, Some(Signal::XCPU)) => {
                format!("compiling it takes longer than {} s of CPU", self.config.cpu_time_max.as_secs())
            }
            (None, Some(crash)) if CRASHES.contains(&crash) => format!("the compiler failed on it ({status}): {words}"),
            // SIGKILL is here: the kernel sends it when the machine has no memory left, which another may have.
            _ => return Err(trouble(format!("{} ended with {status}: {words}", self.config.program.display()))),
        };
        Err(refused(reason))
    }
}

fn refused(reason: String) -> CompileError {
    CompileError::Refused { reason: kept(reason) }
}

fn trouble(what: impl Into<String>) -> CompileError {
    CompileError::Node { source: anyhow::Error::msg(what.into()) }
}

fn signal(status: ExitStatus) -> Option<Signal> {
    status.signal().and_then(Signal::from_named_raw)
}

/// What comes out of a pipe, up to a limit; whoever writes more finds the pipe closed.
async fn read(stream: impl AsyncRead + Unpin, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.take(bytes_max).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// What the child is told beside the component.
#[derive(Debug, PartialEq)]
struct Order {
    memory_bytes_max: u64,
    cpu_seconds_max: u64,
    component_bytes: usize,
}

impl Order {
    fn arguments(&self) -> [String; 3] {
        [self.memory_bytes_max.to_string(), self.cpu_seconds_max.to_string(), self.component_bytes.to_string()]
    }

    fn parse(arguments: impl Iterator<Item = OsString>) -> Option<Self> {
        let mut numbers = arguments.map(|argument| argument.to_str()?.parse::<u64>().ok());
        let (memory_bytes_max, cpu_seconds_max) = (numbers.next()??, numbers.next()??);
        let component_bytes = usize::try_from(numbers.next()??).ok().filter(|bytes| *bytes <= COMPONENT_BYTES_MAX)?;
        Some(Self { memory_bytes_max, cpu_seconds_max, component_bytes })
    }
}

/// Compiles, when this process was started to compile for a node, and returns how it is to end. Every binary that a node runs in
/// calls it before anything else, while there is only one thread: a node starts its own binary to compile.
pub fn compile_if_asked() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != COMPILE_ARGUMENT {
        return None;
    }
    let code = compile_stdin(arguments).unwrap_or_else(|error| {
        say(&error);
        TROUBLE
    });
    Some(code.into())
}

/// The child's whole life. An error is this machine's fault; what is the component's is one of the codes.
fn compile_stdin(arguments: impl Iterator<Item = OsString>) -> anyhow::Result<u8> {
    let order = Order::parse(arguments).context("give memory in bytes, CPU in seconds, and the bytes of the component")?;
    limit_this_process(&order).context("cannot limit the compiler's process")?;
    let engine = engine_for_compiling()?;
    // Whatever compiling needs of the machine, threads above all, it takes here. What goes wrong after this is the component's
    // doing.
    engine.precompile_component(EMPTY_COMPONENT)?;
    let mut component = Vec::with_capacity(order.component_bytes);
    io::stdin().lock().take(order.component_bytes as u64).read_to_end(&mut component).context("cannot read the component")?;
    anyhow::ensure!(component.len() == order.component_bytes, "the component was cut short");
    thread::Builder::new().spawn(end_with_the_node).context("cannot watch over the node")?;
    match catch_unwind(AssertUnwindSafe(|| engine.precompile_component(&component))) {
        Ok(Ok(code)) => {
            let mut stdout = io::stdout().lock();
            stdout.write_all(&code).and_then(|()| stdout.flush()).context("cannot hand over the machine code")?;
            Ok(COMPILED)
        }
        Ok(Err(error)) if error.is::<OutOfMemory>() => Ok(OUT_OF_MEMORY),
        Ok(Err(error)) => {
            say(&error);
            Ok(REFUSED)
        }
        Err(_) => Ok(PANICKED),
    }
}

/// Writes an error and its causes to the node. One that does not listen any more is no reason to fail.
fn say(error: &dyn std::fmt::Display) {
    let _ = write!(io::stderr(), "{error:#}");
}

/// Ends this process when nobody holds the other end of stdin any more. The kernel could do it (`PR_SET_PDEATHSIG`), but it goes
/// by the thread that started this process, and a thread of tokio may end before its node.
fn end_with_the_node() {
    let _ = io::stdin().read(&mut [0]);
    std::process::exit(TROUBLE.into());
}

/// Gives up everything that compiling does not need. Threads that are started later have it no better.
fn limit_this_process(order: &Order) -> io::Result<()> {
    if cfg!(target_os = "linux") {
        // When memory runs out, the kernel takes this process first, and not the node. It may have no /proc; then it decides by
        // size.
        let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    }
    nice(NICENESS)?;
    // `RLIMIT_AS` would count address space that is only reserved.
    limit(Resource::Data, order.memory_bytes_max, order.memory_bytes_max)?;
    // At the first number the process gets a signal that says why it ends.
    limit(Resource::Cpu, order.cpu_seconds_max, order.cpu_seconds_max + 1)?;
    limit(Resource::Fsize, 0, 0)?;
    limit(Resource::Nofile, OPEN_FILES_MAX, OPEN_FILES_MAX)?;
    limit(Resource::Core, 0, 0)?;
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        // A program that collects dumps gets them whatever the limit says, and a process at its limit would dump 2 GiB.
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        rustix::thread::set_no_new_privs(true)?;
    }
    Ok(())
}

/// Lowers a limit. One that the system has set lower stays.
fn limit(resource: Resource, current: u64, maximum: u64) -> io::Result<()> {
    let allowed = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    setrlimit(resource, Rlimit { current: Some(current.min(allowed)), maximum: Some(maximum.min(allowed)) })?;
    Ok(())
}

/// Components that no node could run, so that whoever sends one again is answered without compiling it again.
pub(crate) struct FailedCompiles(Mutex<LruCache<Digest, Failure>>);

struct Failure {
    at: Instant,
    reason: String,
}

impl Default for FailedCompiles {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(FAILURES_MAX)))
    }
}

impl FailedCompiles {
    /// Keeps what is wrong with a component.
    pub(crate) fn remember(&self, digest: Digest, reason: &str, now: Instant) {
        let reason = truncated(reason, REASON_BYTES_MAX).into_owned();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(digest, Failure { at: now, reason });
    }

    /// What was wrong with a component, and how long ago that was, if it failed a short while ago.
    pub(crate) fn recall(&self, digest: Digest, now: Instant) -> Option<String> {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Failure { at, reason } = failures.get(&digest)?;
        let ago = now.saturating_duration_since(*at);
        if ago < FAILURE_MEMORY {
            return Some(format!("{reason} (tried {} s ago)", ago.as_secs()));
        }
        failures.pop(&digest);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A compiler whose child is a shell script. `$0` to `$2` are what it is ordered.
    fn script(script: &str) -> Compiler {
        let arguments = ["-c", script].map(OsString::from).to_vec();
        Compiler::new(CompilerConfig { program: "/bin/sh".into(), arguments, ..CompilerConfig::default() })
    }

    async fn error_of(compiler: &Compiler, component: &[u8]) -> String {
        let Err(error) = compiler.compile(component).await else { panic!("it compiles") };
        match error {
            CompileError::Refused { reason } => format!("refused: {reason}"),
            CompileError::Node { source } => format!("node: {source:#}"),
        }
    }

    #[test]
    fn the_way_a_child_ends_says_what_is_wrong_with_what() {
        const MEMORY: &str = "compiling it takes more than 2048 MiB of memory";
        let exited = |code: u8| ExitStatus::from_raw(i32::from(code) << 8);
        let killed = |signal: Signal| ExitStatus::from_raw(signal.as_raw());
        let table = [
            (exited(REFUSED), "a bad import", Some("a bad import")),
            (exited(OUT_OF_MEMORY), "", Some(MEMORY)),
            (exited(PANICKED), "index out of bounds", Some("the compiler failed on it: index out of bounds")),
            (killed(Signal::ABORT), "memory allocation of 8 bytes failed", Some(MEMORY)),
            (killed(Signal::ABORT), "thread 'main' has overflowed its stack", Some("deeper than the compiler can follow")),
            (killed(Signal::ABORT), "else", Some("the compiler failed on it (signal: 6 (SIGABRT)): else")),
            (killed(Signal::SEGV), "", Some("the compiler failed on it (signal: 11 (SIGSEGV))")),
            (killed(Signal::XCPU), "", Some("compiling it takes longer than 60 s of CPU")),
            (killed(Signal::KILL), "", None),
            (killed(Signal::TERM), "", None),
            (exited(TROUBLE), "no threads", None),
            // What another program in its place would end with.
            (exited(0), "", None),
            (exited(1), "", None),
            (exited(101), "", None),
        ];
        let compiler = Compiler::new(CompilerConfig::default());
        for (status, words, refused) in table {
            let Err(error) = compiler.judge(Ended { status, code: vec![], words: words.to_owned() }) else {
                panic!("{status} is no success");
            };
            match (&error, refused) {
                (CompileError::Refused { reason }, Some(expected)) => assert!(reason.contains(expected), "{status}: {reason}"),
                (CompileError::Node { .. }, None) => {}
                _ => panic!("{status}: {error:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_child_reads_the_component_and_writes_machine_code() {
        // More than a pipe holds, so that both ends have to be served.
        let component = vec![7; 1 << 20];
        let code = script(&format!("head -c $2; exit {COMPILED}")).compile(&component).await.unwrap();
        assert_eq!(code.as_bytes(), component);
        let said = error_of(&script(&format!("echo 'a bad import' >&2; exit {REFUSED}")), &component).await;
        assert_eq!(said, "refused: a bad import");
    }

    #[tokio::test]
    async fn a_child_that_cannot_start_or_does_not_end_is_the_nodes_trouble() {
        let mut compiler = script("exec sleep 60");
        compiler.config.wall_time_max = Duration::from_millis(50);
        assert_eq!(error_of(&compiler, b"").await, "node: it was not done after 50ms");
        compiler.config.program = "/nowhere".into();
        let said = error_of(&compiler, b"").await;
        assert!(said.starts_with("node: cannot start /nowhere"), "{said}");
    }

    #[tokio::test]
    async fn too_large_a_component_is_refused_unread() {
        let said = error_of(&script("exit 1"), &vec![0; COMPONENT_BYTES_MAX + 1]).await;
        assert_eq!(said, "refused: it is larger than 64 MiB");
    }

    #[test]
    fn the_child_is_ordered_what_it_reads() {
        let order = Order { memory_bytes_max: 1, cpu_seconds_max: 2, component_bytes: COMPONENT_BYTES_MAX };
        let parse = |arguments: &[String]| Order::parse(arguments.iter().map(OsString::from));
        assert_eq!(parse(&order.arguments()).unwrap(), order);
        assert_eq!(parse(&order.arguments()[..2]), None);
        let too_large = Order { component_bytes: COMPONENT_BYTES_MAX + 1, ..order };
        assert_eq!(parse(&too_large.arguments()), None);
    }

    #[test]
    fn a_failure_is_remembered_for_a_while() {
        let failed = FailedCompiles::default();
        let (digest, now) = (Digest::of(b"bad"), Instant::now());
        assert_eq!(failed.recall(digest, now), None);
        failed.remember(digest, "a bad import", now);
        let recalled = failed.recall(digest, now + Duration::from_secs(12));
        assert_eq!(recalled.as_deref(), Some("a bad import (tried 12 s ago)"));
        assert_eq!(failed.recall(Digest::of(b"good"), now), None);
        assert_eq!(failed.recall(digest, now + FAILURE_MEMORY), None);
        assert_eq!(failed.recall(digest, now), None);
    }

    #[test]
    fn failures_do_not_add_up() {
        let (failed, now) = (FailedCompiles::default(), Instant::now());
        let digest = |number: usize| Digest::of(&number.to_le_bytes());
        for number in 0..=FAILURES_MAX.get() {
            failed.remember(digest(number), &"x".repeat(TEXT_BYTES_MAX), now);
        }
        assert_eq!(failed.recall(digest(0), now), None);
        let recalled = failed.recall(digest(1), now).unwrap();
        assert!(recalled.len() < REASON_BYTES_MAX + 100, "{}", recalled.len());
    }
}
