//! When a job that gives outputs one by one asks the user's iterator for another input.
//!
//! An iterator may block in that, for as long as a person takes to type a line, and an output that comes meanwhile has to wait: it
//! is given on the same thread. So outputs that can be expected soon are waited for first, for a bounded time: a job whose calls
//! are long must not run them one by one for it. Iterators that say how many items are left, as those of collections do, are never
//! waited for like this.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::WeakSender;
use tokio::time::Sleep;

use crate::{connection, progress};

/// For how long the first output is waited for after the first input: connecting, sending the component, compiling it and a short
/// call take less on most grids.
const FIRST_TIME_MAX: Duration = Duration::from_secs(3);

/// For how long outputs are waited for in all after the first. Enough for a few lines that came together, and little beside what a
/// job takes that has many inputs.
const BURST_TIME_MAX: Duration = Duration::from_millis(500);

/// For how long at most after an input that took longer: as long as the input took, since twice the time is then the worst of it.
const SLOW_TIME_MAX: Duration = Duration::from_secs(10);

/// An iterator that takes longer than this for an item has waited for somebody.
const SLOW_ASK: Duration = Duration::from_millis(10);

/// How long an iterator may keep outputs back before people are told, once.
const KEPT_BACK_TIME_MAX: Duration = Duration::from_secs(2);

/// The time that is left for outputs that were not given yet.
pub(crate) struct Patience {
    left: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    is_first: bool,
    asking: Arc<AtomicBool>,
}

impl Patience {
    /// Also watches an iterator that keeps back what comes through the channel that `outcomes` sends to.
    pub(crate) fn new<T: Send + 'static>(outcomes: WeakSender<T>) -> Self {
        let asking = Arc::new(AtomicBool::new(false));
        connection::runtime().spawn(watch(Arc::downgrade(&asking), outcomes));
        Self { left: FIRST_TIME_MAX, waiting: None, is_first: true, asking }
    }

    /// Ready when another input may be asked for, of a job of which this many calls have not ended.
    pub(crate) fn poll_ask(&mut self, calls_open: u64, context: &mut Context<'_>) -> Poll<()> {
        if calls_open == 0 || self.left.is_zero() {
            self.settle();
            return Poll::Ready(());
        }
        let left = self.left;
        let (_, sleep) = self.waiting.get_or_insert_with(|| {
            // The clock is the client's own.
            let _entered = connection::runtime().enter();
            (Instant::now(), Box::pin(tokio::time::sleep(left)))
        });
        if sleep.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        (self.waiting, self.left) = (None, Duration::ZERO);
        Poll::Ready(())
    }

    /// Whether inputs are asked for one at a time, with a look at the outputs in between.
    pub(crate) fn is_one_by_one(&self) -> bool {
        !self.left.is_zero()
    }

    /// A call has ended.
    pub(crate) fn ended(&mut self) {
        self.settle();
        if std::mem::replace(&mut self.is_first, false) {
            self.left = BURST_TIME_MAX;
        }
    }

    /// Asks for inputs, and learns from how long that takes.
    pub(crate) fn ask<T>(&mut self, ask: impl FnOnce() -> T) -> T {
        self.asking.store(true, Ordering::Relaxed);
        let started = Instant::now();
        let asked = ask();
        self.asking.store(false, Ordering::Relaxed);
        self.took(started.elapsed());
        asked
    }

    fn took(&mut self, took: Duration) {
        if took >= SLOW_ASK && !self.is_first {
            self.left = took.min(SLOW_TIME_MAX);
        }
    }

    fn settle(&mut self) {
        if let Some((since, _)) = self.waiting.take() {
            self.left = self.left.saturating_sub(since.elapsed());
        }
    }
}

/// Tells people that an iterator keeps outputs back, and what to do about it.
async fn watch<T>(asking: Weak<AtomicBool>, outcomes: WeakSender<T>) {
    let mut asked_before = false;
    loop {
        tokio::time::sleep(KEPT_BACK_TIME_MAX / 2).await;
        let Some(asking) = asking.upgrade() else { return };
        let Some(outcomes) = outcomes.upgrade() else { return };
        let keeps_back = asking.load(Ordering::Relaxed) && outcomes.capacity() < outcomes.max_capacity();
        // The job ends when nobody can send outcomes any more, and telling may take long.
        drop(outcomes);
        if keeps_back && std::mem::replace(&mut asked_before, keeps_back) {
            let notice = "outputs wait, because the iterator of the inputs blocks: take them on a thread of their own, with \
                          `burla::from_thread`";
            // Stderr may be full, or stopped with Ctrl-S.
            tokio::task::block_in_place(|| progress::tell(notice));
            return;
        }
        asked_before = keeps_back;
    }
}

/// Whether an iterator of this type waits on a channel. The thread that takes the outputs is the one that would wait, so a program
/// that sends what outputs lead to would wait for itself.
pub(crate) fn is_of_channel<I>() -> bool {
    const RECEIVERS: [&str; 8] = [
        "::mpsc::IntoIter<",
        "::mpsc::Iter<",
        "::mpmc::IntoIter<",
        "::mpmc::Iter<",
        "crossbeam_channel::channel::IntoIter<",
        "crossbeam_channel::channel::Iter<",
        "flume::IntoIter<",
        "flume::Iter<",
    ];
    let name = std::any::type_name::<I>();
    RECEIVERS.iter().any(|receiver| name.contains(receiver))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience() -> Patience {
        let (sender, _) = tokio::sync::mpsc::channel::<()>(1);
        Patience::new(sender.downgrade())
    }

    fn may_ask(patience: &mut Patience, calls_open: u64) -> bool {
        patience.poll_ask(calls_open, &mut Context::from_waker(std::task::Waker::noop())).is_ready()
    }

    #[test]
    fn the_first_output_is_waited_for_and_the_next_for_a_bounded_time() {
        let mut patience = patience();
        assert!(may_ask(&mut patience, 0), "there is nothing to wait for");
        assert!(!may_ask(&mut patience, 1));
        patience.ended();
        assert_eq!(patience.left, BURST_TIME_MAX);
        assert!(may_ask(&mut patience, 0));
        assert!(!may_ask(&mut patience, 1));
        let started = Instant::now();
        pollster::block_on(std::future::poll_fn(|context| patience.poll_ask(1, context)));
        assert!(started.elapsed() < Duration::from_secs(60), "it ends by itself");
        assert!(may_ask(&mut patience, 1) && !patience.is_one_by_one());
    }

    #[test]
    fn an_iterator_that_took_its_time_is_asked_again_after_as_long() {
        let mut patience = patience();
        patience.ended();
        patience.left = Duration::ZERO;
        patience.took(Duration::from_millis(1));
        assert!(may_ask(&mut patience, 1), "this one is fast");
        patience.took(Duration::from_secs(4));
        assert_eq!(patience.left, Duration::from_secs(4));
        assert!(!may_ask(&mut patience, 1));
        patience.took(Duration::from_secs(4000));
        assert_eq!(patience.left, SLOW_TIME_MAX);
    }

    #[test]
    fn receivers_are_known_by_their_types() {
        fn of<I>(_: &I) -> bool {
            is_of_channel::<I>()
        }
        let (_sender, receiver) = std::sync::mpsc::channel::<u8>();
        assert!(of(&receiver.iter()) && of(&receiver.iter().map(|byte| byte + 1)));
        assert!(!of(&receiver.try_iter()), "it does not wait");
        assert!(of(&receiver.into_iter().take(3)));
        assert!(!of(&vec![1].into_iter()) && !of(&(0..)));
    }
}
