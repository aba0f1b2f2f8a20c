//! A web server of a few answers, on loopback.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What is sent for a path, byte for byte, and what comes after it.
#[derive(Clone)]
pub(super) struct Answer {
    pub bytes: Vec<u8>,
    pub then: Then,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Close,
    /// Nothing more comes, and the connection stays open.
    Stall,
    /// A byte every few milliseconds, for ever.
    Trickle,
}

pub(super) struct Server {
    pub address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Server {
    pub(super) async fn start(answers: HashMap<&'static str, Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let (answers, counted) = (Arc::new(answers), Arc::clone(&requests));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let answers = Arc::clone(&answers);
                tokio::spawn(async move { serve(stream, &answers).await });
            }
        });
        Self { address, requests }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

async fn serve(mut stream: TcpStream, answers: &HashMap<&'static str, Answer>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    let text = String::from_utf8_lossy(&request).into_owned();
    let path = text.split(' ').nth(1).unwrap_or_default();
    let missing = Answer { bytes: b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec(), then: Then::Close };
    let answer = answers.get(path).unwrap_or(&missing);
    let _ = stream.write_all(&answer.bytes).await; // the client may have gone
    match answer.then {
        Then::Close => {}
        Then::Stall => std::future::pending().await,
        Then::Trickle => {
            while stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

/// A whole answer with its length.
pub(super) fn ok(body: &[u8]) -> Answer {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    Answer { bytes: [head.as_bytes(), body].concat(), then: Then::Close }
}

/// An answer that announces `length` bytes and sends fewer.
pub(super) fn short(body: &[u8], length: usize) -> Answer {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
    Answer { bytes: [head.as_bytes(), body].concat(), then: Then::Close }
}

pub(super) fn redirect(to: &str) -> Answer {
    let head = format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
    Answer { bytes: head.into_bytes(), then: Then::Close }
}
