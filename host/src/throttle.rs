//! Turns on a CPU, and shares of one: what `func_cpu` below 1 means while a call computes.
//!
//! Fuel makes a guest that computes yield every millisecond or so. What the host does for it costs no fuel, and so a guest that
//! lives in host calls yields when one of them returns and its turn has lasted that long.
//!
//! A yield is also where its time is looked at. A call at 0.25 earns a quarter of a
//! second of its thread's time per second, may save up a few milliseconds, and sleeps when it has spent more than it has: alone
//! on the machine as beside others, as a container with a CPU limit does. Time is the thread's own, so that a call is not made to
//! pay for what other processes take.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use burla_types::CPU_MILLIS_MIN;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Sleep;
use wasmtime::{CallHook, CallHookHandler, StoreContextMut};

/// How many instructions a guest runs before it lets others have the thread: about a millisecond. Rarer would make others wait,
/// more often gains nothing, and either costs the same.
const YIELD_INTERVAL_FUEL: u64 = 10_000_000;

/// The same for the smallest shares: about 50 µs. A hundred calls at 0.01 that all want to run take turns of 5 ms together.
const YIELD_INTERVAL_FUEL_MIN: u64 = 500_000;

/// How much a call may save up while it waits for something else, as time on the clock at its rate: at 0.25, 5 ms of a CPU. In
/// any 200 ms it has at most a tenth more than its share.
const SAVED_TIME: Duration = Duration::from_millis(20);

/// Thousandths of a CPU from which on there is nothing to hold back: one instance is one thread.
const WHOLE_CPU_MILLIS: u64 = 1000;

/// How many units of fuel a call of this share runs before it yields.
pub(crate) fn yield_interval_fuel(cpu_millis_max: u64) -> u64 {
    let share = cpu_millis_max.min(WHOLE_CPU_MILLIS);
    (YIELD_INTERVAL_FUEL * share / WHOLE_CPU_MILLIS).max(YIELD_INTERVAL_FUEL_MIN)
}

/// How long a turn lasts before a host call that returns ends it: as long as fuel gives a guest that only computes.
const TURN: Duration = Duration::from_millis(1);

/// When the turn of a call began, as its store and who polls it share that.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    epoch: Instant,
    /// Nanoseconds since then.
    began: Arc<AtomicU64>,
}

impl Turn {
    pub(crate) fn new() -> Self {
        Self { epoch: Instant::now(), began: Arc::default() }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn begins(&self) {
        self.began.store(self.now(), Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.now().saturating_sub(self.began.load(Ordering::Relaxed)) >= TURN.as_nanos() as u64
    }
}

/// Ends turns when host calls return.
pub(crate) struct EndsTurns(pub(crate) Turn);

#[wasmtime_wasi::async_trait]
impl<T: Send> CallHookHandler<T> for EndsTurns {
    async fn handle_call_event(&self, _store: StoreContextMut<'_, T>, event: CallHook) -> wasmtime::Result<()> {
        if matches!(event, CallHook::ReturningFromHost) && self.0.is_over() {
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

/// Polls `call` turn by turn, for no more than its share of a CPU. One that may have a whole one is not measured, which would cost it
/// a system call per poll.
pub(crate) async fn in_turns<F: Future>(cpu_millis_max: u64, turn: &Turn, call: F) -> F::Output {
    let mut call = std::pin::pin!(call);
    let call = std::pin::pin!(std::future::poll_fn(|context| {
        turn.begins();
        call.as_mut().poll(context)
    }));
    if cpu_millis_max >= WHOLE_CPU_MILLIS {
        return call.await;
    }
    // No scheduler of ours lets it be less.
    let cpu_millis_max = cpu_millis_max.max(u64::from(CPU_MILLIS_MIN));
    let account = Account::new(cpu_millis_max as f64 / WHOLE_CPU_MILLIS as f64, Instant::now());
    Throttled { call, account, pause: None }.await
}

struct Throttled<'a, F> {
    call: Pin<&'a mut F>,
    account: Account,
    /// Set while the call has spent more than it has.
    pause: Option<Pin<Box<Sleep>>>,
}

impl<F: Future> Future for Throttled<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if let Some(pause) = &mut self.pause {
            // Whatever else woke us has to wait.
            std::task::ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        let before = thread_time();
        let polled = self.call.as_mut().poll(context);
        let spent = thread_time().saturating_sub(before);
        if polled.is_pending()
            && let Some(pause) = self.account.spend(Instant::now(), spent)
        {
            let mut pause = Box::pin(tokio::time::sleep(pause));
            if pause.as_mut().poll(context).is_ready() {
                context.waker().wake_by_ref();
            }
            self.pause = Some(pause);
        }
        polled
    }
}

/// What a call may still spend, in seconds of a CPU. Below zero it has to wait.
struct Account {
    share: f64,
    seconds: f64,
    updated: Instant,
}

impl Account {
    fn new(share: f64, now: Instant) -> Self {
        Self { share, seconds: share * SAVED_TIME.as_secs_f64(), updated: now }
    }

    /// Takes what was spent until `now` off, and adds what was earned. Returns how long to wait, if it has to.
    fn spend(&mut self, now: Instant, spent: Duration) -> Option<Duration> {
        let earned = now.saturating_duration_since(self.updated).as_secs_f64() * self.share;
        self.updated = now;
        self.seconds = (self.seconds + earned).min(self.share * SAVED_TIME.as_secs_f64()) - spent.as_secs_f64();
        (self.seconds < 0.0).then(|| Duration::from_secs_f64(-self.seconds / self.share))
    }
}

/// How long this thread has been running, by the kernel's account.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// Lets a call that always wants to run do so for a while, in turns of a millisecond. Returns when it ran.
    fn spin(share: f64, turn: Duration, until: Duration) -> Vec<Duration> {
        let start = Instant::now();
        let (mut account, mut now, mut turns) = (Account::new(share, start), start, Vec::new());
        while now < start + until {
            turns.push(now - start);
            now += turn;
            if let Some(pause) = account.spend(now, turn) {
                now += pause;
            }
        }
        turns
    }

    #[test]
    fn a_call_has_its_share_in_any_200_milliseconds() {
        let window = 200 * MILLISECOND;
        for share in [0.01, 0.1, 0.25, 0.5, 0.9] {
            let turn = MILLISECOND.mul_f64(f64::max(share, 0.05));
            let turns = spin(share, turn, Duration::from_secs(5));
            for first in turns.iter().filter(|first| **first + window < Duration::from_secs(5)) {
                let within = turns.iter().filter(|time| *time >= first && **time < *first + window).count();
                let used = turn.as_secs_f64() * within as f64;
                let (least, most) = (share * 0.2 - turn.as_secs_f64(), share * 0.22 + 2.0 * turn.as_secs_f64());
                assert!(used >= least && used <= most, "share {share}: {used} s from {first:?} on");
            }
        }
    }

    #[test]
    fn what_is_saved_up_while_waiting_is_bounded() {
        let start = Instant::now();
        let mut account = Account::new(0.25, start);
        assert_eq!(account.spend(start + Duration::from_secs(60), Duration::ZERO), None);
        assert_eq!(account.spend(start + Duration::from_secs(60), 5 * MILLISECOND), None);
        assert!(account.spend(start + Duration::from_secs(60), MILLISECOND).is_some());
    }

    #[test]
    fn small_shares_yield_more_often_and_none_too_often() {
        assert_eq!(yield_interval_fuel(1000), YIELD_INTERVAL_FUEL);
        assert_eq!(yield_interval_fuel(32_000), YIELD_INTERVAL_FUEL);
        assert_eq!(yield_interval_fuel(250), YIELD_INTERVAL_FUEL / 4);
        assert_eq!(yield_interval_fuel(10), YIELD_INTERVAL_FUEL_MIN);
    }

    #[tokio::test]
    async fn a_call_that_may_have_less_is_made_to_wait() {
        let spins = || async {
            for _ in 0..20 {
                let started = thread_time();
                while thread_time() - started < MILLISECOND {}
                tokio::task::yield_now().await;
            }
        };
        let started = Instant::now();
        in_turns(100, &Turn::new(), spins()).await;
        // 20 ms at a tenth of a CPU, less what it had at first and the last turn.
        assert!(started.elapsed() >= 160 * MILLISECOND, "it took {:?}", started.elapsed());
    }
}
