// SPDX-License-Identifier: MIT OR Apache-2.0

//! A Cincinnati server: answers every question with what it was given, and remembers them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What it answers with.
#[derive(Clone)]
pub enum Answer {
    /// A status and a body.
    Body(u16, String),
    /// A body without end.
    Endless,
}

/// A running server; its thread ends with the process.
pub struct GraphServer {
    address: String,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl GraphServer {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answer = Arc::new(Mutex::new(Answer::Body(404, String::new())));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answers, questions) = (answer.clone(), asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // Who hangs up early is part of what is played.
                let _ = serve(stream, &answers, &questions);
            }
        });
        Self { address, answer, asked }
    }

    /// What `track.graph` takes.
    pub fn url(&self) -> String {
        format!("http://{}/fleet", self.address)
    }

    pub fn says(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// The questions so far, path and query, each once told.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn serve(
    mut stream: TcpStream,
    answer: &Mutex<Answer>,
    asked: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    asked.lock().unwrap().push(first.split(' ').nth(1).unwrap_or_default().to_owned());
    let answer = answer.lock().unwrap().clone();
    let head = |status: u16, length: usize| {
        format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
    };
    match answer {
        Answer::Body(status, body) => {
            write!(stream, "{}{body}", head(status, body.len()))
        }
        Answer::Endless => {
            write!(stream, "HTTP/1.1 200 X\r\nConnection: close\r\n\r\n[")?;
            loop {
                stream.write_all(&[b' '; 65536])?;
            }
        }
    }
}
