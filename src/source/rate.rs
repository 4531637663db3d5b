// SPDX-License-Identifier: MIT OR Apache-2.0

//! A limit on bytes per second, shared by all transfers of a source.

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
}
