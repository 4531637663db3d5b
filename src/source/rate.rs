// SPDX-License-Identifier: MIT OR Apache-2.0

//! A limit on bytes per second, shared by all transfers of a source, and how fast one host is.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Spaces bytes out; without a rate it costs nothing.
#[derive(Debug)]
pub(super) struct Rate {
    per_second: Option<u64>,
    /// When everything that was taken so far is paid for.
    paid: Mutex<Instant>,
}

impl Rate {
    pub fn new(per_second: Option<u64>) -> Self {
        Self { per_second: per_second.filter(|r| *r > 0), paid: Mutex::new(Instant::now()) }
    }

    /// Waits until `bytes` that have just come are paid for. While it waits, nothing is
    /// read, and TCP slows the other side down.
    pub async fn take(&self, bytes: u64) {
        if let Some(wait) = self.book(bytes, Instant::now()) {
            tokio::time::sleep(wait).await;
        }
    }

    fn book(&self, bytes: u64, now: Instant) -> Option<Duration> {
        let rate = self.per_second?;
        let cost = Duration::try_from_secs_f64(bytes as f64 / rate as f64).ok()?;
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        *paid = (*paid).max(now).checked_add(cost)?;
        Some(paid.saturating_duration_since(now))
    }
}

/// How fast one host gives bytes, over all its connections. Only the time counts in which at
/// least one of them waits for it: not that of writing, and not that of the limit above.
#[derive(Debug, Default)]
pub(super) struct Meter(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    /// How many wait now, and since when that is not counted yet.
    waiting: usize,
    since: Option<Instant>,
    waited: Duration,
    bytes: u64,
}

/// Somebody waits for the host as long as this lives.
pub(super) struct Waiting<'a>(&'a Meter);

impl Meter {
    /// Somebody begins to wait.
    pub fn wait(&self) -> Waiting<'_> {
        self.with(|window| window.begin(Instant::now()));
        Waiting(self)
    }

    /// Bytes have come.
    pub fn count(&self, bytes: u64) {
        self.with(|window| window.bytes = window.bytes.saturating_add(bytes));
    }

    /// Whether less than `rate` bytes per second came while `length` was waited. The next window
    /// begins once one is over.
    pub fn is_slower_than(&self, rate: u64, length: Duration) -> bool {
        self.with(|window| window.is_slower_than(rate, length, Instant::now()))
    }

    fn with<T>(&self, change: impl FnOnce(&mut Window) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.with(|window| window.end(Instant::now()));
    }
}

impl Window {
    fn begin(&mut self, now: Instant) {
        self.count_time(now);
        self.waiting = self.waiting.saturating_add(1);
        self.since = Some(now);
    }

    fn end(&mut self, now: Instant) {
        self.count_time(now);
        self.waiting = self.waiting.saturating_sub(1);
        self.since = Some(now).filter(|_| self.waiting > 0);
    }

    fn count_time(&mut self, now: Instant) {
        if let Some(since) = self.since.replace(now) {
            self.waited = self.waited.saturating_add(now.saturating_duration_since(since));
        }
    }

    fn is_slower_than(&mut self, rate: u64, length: Duration, now: Instant) -> bool {
        if self.waiting > 0 {
            self.count_time(now);
        }
        if self.waited < length {
            return false;
        }
        let is_slower = (self.bytes as f64) < rate as f64 * self.waited.as_secs_f64();
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        is_slower
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_wait_for_each_other_and_idle_time_is_not_saved_up() {
        let rate = Rate::new(Some(1000));
        let start = Instant::now() + Duration::from_secs(5);
        assert_eq!(rate.book(500, start), Some(Duration::from_millis(500)));
        assert_eq!(rate.book(500, start), Some(Duration::from_millis(1000)));
        let later = start + Duration::from_secs(60);
        assert_eq!(rate.book(1000, later), Some(Duration::from_secs(1)));
        assert_eq!(Rate::new(None).book(1 << 40, start), None);
        assert_eq!(Rate::new(Some(0)).book(1, start), None);
    }

    #[test]
    fn a_host_is_slow_by_the_time_that_is_waited_for_it_alone() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let window = Duration::from_secs(30);
        let mut host = Window::default();
        // 20 s of waiting for 30 KiB, and a day of writing them.
        host.begin(at(0));
        host.bytes = 30 << 10;
        host.end(at(20));
        assert!(!host.is_slower_than(16 << 10, window, at(86_400)));
        // 10 s more, and the window is over.
        host.begin(at(86_400));
        assert!(!host.is_slower_than(16 << 10, window, at(86_409)));
        assert!(host.is_slower_than(16 << 10, window, at(86_410)));
        // The next one begins, while somebody still waits.
        assert!(!host.is_slower_than(16 << 10, window, at(86_439)));
        host.bytes = 30 * (16 << 10);
        assert!(!host.is_slower_than(16 << 10, window, at(86_440)));
    }

    #[test]
    fn connections_that_wait_at_the_same_time_share_it() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut host = Window::default();
        for _ in 0..2 {
            host.begin(at(0));
        }
        // Each of the two has 10 KiB/s: together they are fast enough.
        host.bytes = 2 * 30 * (10 << 10);
        host.end(at(30));
        host.end(at(30));
        assert_eq!((host.waited, host.since), (Duration::from_secs(30), None));
        assert!(!host.is_slower_than(16 << 10, Duration::from_secs(30), at(30)));
    }
}
