// SPDX-License-Identifier: MIT OR Apache-2.0

//! Waiting for the network from a thread that is not async.

use std::time::Duration;

use flipside_core::cancel::{Cancel, Stopped};
use tokio::runtime::Runtime;

use super::SourceError;

/// How often a wish to stop is looked for.
const STOP_INTERVAL: Duration = Duration::from_millis(40);

/// The thread that serves connections.
pub(super) struct Network {
    /// `Some` until it is dropped.
    runtime: Option<Runtime>,
}

impl Network {
    /// Asks nobody yet.
    ///
    /// # Errors
    /// [`SourceError::Runtime`].
    pub fn new() -> Result<Self, SourceError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(4)
            .thread_name("flipside-net")
            .enable_io()
            .enable_time()
            .build()
            .map_err(SourceError::Runtime)?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// Runs `work` on the caller's thread until it is done or the stop is requested. The
    /// connections themselves are served by the one thread.
    ///
    /// # Errors
    /// Those of `work`; [`SourceError::Stopped`].
    pub fn run<T>(
        &self,
        stop: &Cancel,
        work: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        stop.check()?;
        let Some(runtime) = &self.runtime else { return Err(Stopped.into()) };
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = requested(stop) => Err(Stopped.into()),
                result = work => result,
            }
        })
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // A resolver that hangs must not hold the process.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Ends once the stop is requested.
async fn requested(stop: &Cancel) {
    while !stop.is_requested() {
        tokio::time::sleep(STOP_INTERVAL).await;
    }
}
