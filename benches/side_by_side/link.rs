// SPDX-License-Identifier: MIT OR Apache-2.0

//! A line between a registry and whoever fetches from it: counts what comes through, and may be
//! slow. All connections share its rate.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// 100 Mbit/s, in bytes per second.
pub const FAST_ETHERNET: u64 = 100_000_000 / 8;

/// What is handed on at a time, in bytes.
const PIECE: usize = 16 << 10;

struct Line {
    /// Bytes per second; 0 is as fast as it can be.
    rate: AtomicU64,
    /// Bytes that came from the registry.
    bytes: AtomicU64,
    /// When the line is free again.
    free: Mutex<Instant>,
}

/// A line that is open as long as this program runs.
pub struct Link {
    address: String,
    line: Arc<Line>,
}

impl Link {
    /// To `upstream` (`host:port`).
    pub fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (rate, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        let line = Arc::new(Line { rate, bytes, free: Mutex::new(Instant::now()) });
        let (upstream, shared) = (upstream.to_owned(), Arc::clone(&line));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&upstream) else { continue };
                let (asking, asked) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || copy(asking, asked, |_| {}));
                let line = Arc::clone(&shared);
                std::thread::spawn(move || copy(server, client, |bytes| line.carry(bytes)));
            }
        });
        Self { address, line }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sets how many bytes come through in a second; 0 is as many as can.
    pub fn set_rate(&self, rate: u64) {
        self.line.rate.store(rate, Ordering::SeqCst);
    }

    /// How many bytes the registry has sent so far, with the heads of its answers.
    pub fn bytes(&self) -> u64 {
        self.line.bytes.load(Ordering::SeqCst)
    }
}

impl Line {
    /// Waits until `bytes` have come through.
    fn carry(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::SeqCst);
        let rate = self.rate.load(Ordering::SeqCst);
        if rate == 0 {
            return;
        }
        let arrival = {
            let mut free = self.free.lock().unwrap();
            *free = (*free).max(Instant::now()) + Duration::from_secs(bytes) / rate as u32;
            *free
        };
        std::thread::sleep(arrival.saturating_duration_since(Instant::now()));
    }
}

/// Copies until one side ends, and ends the other.
fn copy(mut from: TcpStream, mut to: TcpStream, carry: impl Fn(u64)) {
    let mut piece = [0; PIECE];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        carry(length as u64);
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
