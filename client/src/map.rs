//! The one function, and its options.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use burla_guest::{Function, IntoFunction};

use crate::block_on::block_on;
use crate::calls::Calls;
use crate::detached;
use crate::inputs::{Inputs, IntoInputs};
use crate::options::Options;
use crate::{CallEnd, CallError, CallStream, Error, Generator, Grid, JobHandle, Result, Stdout};

/// Runs `function` on every one of `inputs`, at the same time, on the grid.
///
/// Nothing happens until the job is started with [`run`](RemoteParallelMap::run), [`try_run`](RemoteParallelMap::try_run),
/// [`generator`](RemoteParallelMap::generator), [`stream`](RemoteParallelMap::stream), [`detach`](RemoteParallelMap::detach) or
/// `.await`. Inputs are taken from the iterator as the grid can use them; they can also come from
/// [an asynchronous stream](crate::from_stream), or from [an iterator on a thread of its own](crate::from_thread).
///
/// ```no_run
/// #[burla::function]
/// fn length(text: String) -> usize {
///     text.len()
/// }
///
/// # fn main() -> burla::Result<()> {
/// let lengths = burla::remote_parallel_map(length, ["a".to_owned(), "bc".to_owned()]).func_ram(0.5).run()?;
/// assert_eq!(lengths, [1, 2]);
/// # Ok(())
/// # }
/// ```
pub fn remote_parallel_map<F, Kind, I>(function: F, inputs: I) -> RemoteParallelMap<F::Function, I::Inputs>
where
    F: IntoFunction<Kind>,
    I: IntoInputs<F::Input>,
{
    RemoteParallelMap { function: function.into_function(), inputs: inputs.into_inputs(), options: Options::default() }
}

/// A job that has not been started. Made by [`remote_parallel_map`].
#[must_use = "a job does nothing until `.run()`, `.try_run()`, `.generator()`, `.stream()`, `.detach()` or `.await`"]
#[derive(Debug)]
pub struct RemoteParallelMap<F, I> {
    function: F,
    inputs: I,
    options: Options,
}

impl<F, I> RemoteParallelMap<F, I>
where
    F: Function,
    I: Inputs<F::Input>,
{
    /// CPUs per call, from 0.01 to 32. Default: 1.
    pub fn func_cpu(mut self, cpus: f64) -> Self {
        self.options.func_cpu = cpus;
        self
    }

    /// GiB of memory per call, above 0 and up to 128. That much is reserved on the node, and a call that wants more ends as
    /// `exceeded func_ram`. Default: a call may use 4, and little is reserved.
    pub fn func_ram(mut self, gib: f64) -> Self {
        self.options.func_ram = Some(gib);
        self
    }

    /// Calls of this job that run at one time, over all nodes. Default: as many as the grid has slots for.
    pub fn max_parallelism(mut self, calls: usize) -> Self {
        self.options.max_parallelism = Some(calls);
        self
    }

    /// The grid to run on. Default: the one at `BURLA_URL`, which `cargo burla run` sets; else the one that `cargo burla up` keeps
    /// on this machine.
    pub fn grid(mut self, grid: &Grid) -> Self {
        self.options.grid = Some(grid.clone());
        self
    }

    /// A name for people to recognize the job by. Default: the function's.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options.name = Some(name.into());
        self
    }

    /// Sets an environment variable of every call. Calls see none of this program's own.
    pub fn env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.env.insert(key.into(), value.into());
        self
    }

    /// How long one call may take by the clock, sleeping included; after it the call ends as `exceeded timeout`. Default: no
    /// limit.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// How many instructions one call may run, in wasmtime's units of fuel: about one per instruction, and one per byte of a bulk copy.
    /// The same component and input take the same on every run and machine; after it the call ends as `exceeded fuel`. What calls
    /// took is in [`Usage`](crate::Usage). Default: no limit.
    pub fn fuel(mut self, units: u64) -> Self {
        self.options.fuel = Some(units);
        self
    }

    /// GiB that the files of one call's directory may take, above 0 and up to 1024, counted in blocks of 4 KiB; and for every 16 KiB
    /// of it one file, folder or link. Past it, writing fails in the function as on a full disk. Default: 4.
    pub fn disk(mut self, gib: f64) -> Self {
        self.options.disk = Some(gib);
        self
    }

    /// Lets calls reach `host:port` over the network, and look the host up; without it they reach nothing. May be used several times.
    /// `*.example.com:443` are all names below it, `example.com:*` all ports, `*` is everything. A name never leads to private
    /// addresses, nor are these granted, unless the operator of a node allows it.
    pub fn allow_network(mut self, host_and_port: impl Into<String>) -> Self {
        self.options.allow_network.push(host_and_port.into());
        self
    }

    /// How often a call is run again that fails by itself: with an error, a panic or a trap. Up to 1000; default: 0. The pauses in
    /// between grow, from [`retry_pause`](Self::retry_pause) on. What a node loses is run again in any case.
    pub fn retries(mut self, retries: u32) -> Self {
        self.options.retries = retries;
        self
    }

    /// Whether [`retries`](Self::retries) are for calls that exceeded a limit, too. Default: no, since most would do so again.
    pub fn retry_exceeded(mut self, retry_exceeded: bool) -> Self {
        self.options.retry_exceeded = retry_exceeded;
        self
    }

    /// The pause before the first retry of a call; each further pause is twice as long, up to
    /// [`retry_pause_max`](Self::retry_pause_max). The grid takes between half and all of it, so that calls which failed together do
    /// not come back together. Up to an hour; default: 100 ms.
    pub fn retry_pause(mut self, pause: Duration) -> Self {
        self.options.retry_pause = Some(pause);
        self
    }

    /// The longest pause before a retry, up to an hour. Default: 10 s, or [`retry_pause`](Self::retry_pause) where that is longer.
    pub fn retry_pause_max(mut self, pause: Duration) -> Self {
        self.options.retry_pause_max = Some(pause);
        self
    }

    /// What becomes of what calls print. Default: [`Stdout::Inherit`].
    pub fn stdout(mut self, stdout: Stdout) -> Self {
        self.options.stdout = stdout;
        self
    }

    /// Whether progress is shown on stderr. Default: on a terminal only. Where stderr is no terminal, `true` shows a last line of
    /// plain text, and `false` nothing but what a job that has no slot waits for.
    pub fn spinner(mut self, spinner: bool) -> Self {
        self.options.spinner = Some(spinner);
        self
    }

    /// Runs the job and returns the outputs in the order of the inputs. The first call that fails stops the job and is the error.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] for a call that failed; any other [`Error`] for a job that could not run.
    pub fn run(self) -> Result<Vec<F::Output>> {
        block_on(self.into_future())
    }

    /// Runs the job and returns every call's own fate, in the order of the inputs. A call that fails stops nothing.
    ///
    /// # Errors
    ///
    /// Any [`Error`] but [`Error::Call`], for a job that could not run.
    pub fn try_run(self) -> Result<Vec<Result<F::Output, CallError>>> {
        let mut collect = Collect { calls: self.into_calls(), collected: Vec::new(), keep: Ok };
        block_on(std::future::poll_fn(|context| collect.poll(context)))
    }

    /// Starts the job, and gives its outputs one by one as calls finish, in any order; see [`Generator::indexed`]. Dropping it
    /// stops the job and frees the nodes, so inputs may be endless.
    ///
    /// A call that fails is an [`Error::Call`] and stops nothing; any other error is the job's, and the last item.
    ///
    /// The iterator of the inputs is asked on the thread that takes the outputs, so it may borrow. While it blocks, outputs wait. A
    /// job whose iterator does not know how many items are left waits for a short while for outputs before it asks for another
    /// input; inputs [on a thread of their own](crate::from_thread) keep nothing back.
    ///
    /// ```no_run
    /// # #[burla::function]
    /// # fn length(text: String) -> usize { text.len() }
    /// # fn main() -> burla::Result<()> {
    /// let lengths = burla::remote_parallel_map(length, (0..).map(|number: u64| number.to_string())).generator()?;
    /// for output in lengths.take(1000) {
    ///     println!("{}", output?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// What is known before anything is dialed: an option that cannot be meant, a component that is missing or stale, no grid,
    /// [inputs that wait on a channel](Error::BlockingInputs).
    pub fn generator(self) -> Result<Generator<F, I>> {
        let mut calls = self.into_calls().giving_early();
        calls.start()?;
        // Until it asks for the first output.
        calls.program_has_terminal(true);
        Ok(Generator::new(calls))
    }

    /// The same as [`generator`](Self::generator) as an asynchronous stream, which starts the job when it is first polled. Works
    /// under any async runtime.
    pub fn stream(self) -> CallStream<F, I> {
        CallStream::new(self.into_calls().giving_early())
    }

    /// Gives the job to the grid, which keeps it on its disk: this program may end, and any may ask for the results by the job's
    /// id. Returns when the grid has all inputs. Where the connection breaks before that, it dials again and goes on.
    ///
    /// What calls print is kept as well, unless it is to be discarded; [`JobHandle::lines`] shows it. Ctrl-C before this returns
    /// cancels the job.
    ///
    /// ```no_run
    /// # #[burla::function]
    /// # fn length(text: String) -> usize { text.len() }
    /// # fn main() -> burla::Result<()> {
    /// let job = burla::remote_parallel_map(length, ["a".to_owned(), "bc".to_owned()]).detach()?;
    /// println!("{}", job.id());
    /// // Here or in another program, now or later:
    /// let lengths = burla::job::<usize>(job.id())?.results()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Any [`Error`] but [`Error::Call`], for a job that the grid would not keep, or that could not be submitted to its end; it is
    /// canceled then.
    pub fn detach(self) -> Result<JobHandle<F::Output>> {
        block_on(self.detach_async())
    }

    /// The same as [`detach`](Self::detach), without blocking, under any async runtime. Dropping the future before it is ready
    /// cancels the job.
    ///
    /// # Errors
    ///
    /// As [`detach`](Self::detach).
    pub async fn detach_async(self) -> Result<JobHandle<F::Output>> {
        let spinner = self.options.spinner;
        let (grid, id) = detached::submit(self.function, self.inputs, self.options).await?;
        let handle = JobHandle::new(grid, id);
        Ok(match spinner {
            Some(spinner) => handle.spinner(spinner),
            None => handle,
        })
    }

    fn into_calls(self) -> Calls<F, I> {
        Calls::new(self.function, self.inputs, self.options)
    }
}

impl<F, I> IntoFuture for RemoteParallelMap<F, I>
where
    F: Function,
    I: Inputs<F::Input>,
{
    type Output = Result<Vec<F::Output>>;
    type IntoFuture = MapFuture<F, I>;

    /// The same as [`run`](RemoteParallelMap::run), without blocking. Dropping the future stops the job.
    fn into_future(mut self) -> MapFuture<F, I> {
        self.options.ends_with_failure = true;
        let keep: KeepOutput<F> = |fate| fate.map_err(|error| Error::Call(Box::new(error)));
        MapFuture(Collect { calls: self.into_calls(), collected: Vec::new(), keep })
    }
}

type KeepOutput<F> = fn(Result<<F as Function>::Output, CallError>) -> Result<<F as Function>::Output>;

/// A running job, and the outputs it will have. Made by `.await`ing a [`RemoteParallelMap`]; works under any async runtime.
#[must_use = "dropping it stops the job"]
pub struct MapFuture<F: Function, I>(Collect<F, I, F::Output, KeepOutput<F>>);

// Nothing in it is pinned: the iterator and the outputs are only ever moved out of.
impl<F: Function, I> Unpin for MapFuture<F, I> {}

impl<F, I> Future for MapFuture<F, I>
where
    F: Function,
    I: Inputs<F::Input>,
{
    type Output = Result<Vec<F::Output>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(context)
    }
}

/// Puts what finishes in any order back into the order of the inputs.
struct Collect<F: Function, I, T, K> {
    calls: Calls<F, I>,
    collected: Vec<Option<T>>,
    keep: K,
}

impl<F, I, T, K> Collect<F, I, T, K>
where
    F: Function,
    I: Inputs<F::Input>,
    K: FnMut(Result<F::Output, CallError>) -> Result<T>,
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Vec<T>>> {
        while let Some(next) = ready!(self.calls.poll_next(context)) {
            let CallEnd { index, result, .. } = next?;
            let kept = (self.keep)(result)?;
            let position = usize::try_from(index).map_err(|_| Error::MissingResult { index })?;
            if position >= self.collected.len() {
                self.collected.resize_with(position + 1, || None);
            }
            self.collected[position] = Some(kept);
        }
        let expected = self.calls.inputs_taken();
        let collected = std::mem::take(&mut self.collected);
        if (collected.len() as u64) < expected {
            return Poll::Ready(Err(Error::MissingResult { index: collected.len() as u64 }));
        }
        let in_order = collected.into_iter().zip(0..).map(|(kept, index)| kept.ok_or(Error::MissingResult { index }));
        Poll::Ready(in_order.collect())
    }
}
