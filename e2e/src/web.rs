//! A web server on this machine, honest or not, for images and for "a service outside".

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};

/// How one path is answered.
#[derive(Debug, Clone)]
pub enum Page {
    /// These bytes.
    Bytes(Vec<u8>),
    /// All of these bytes promised, only the first half sent.
    Half(Vec<u8>),
    /// Another URL.
    Redirect(String),
}

/// Serves until the run ends. A path that is not listed answers 404. `netns`: the file of the network namespace to
/// serve in; `None` is the machine's own.
pub fn serve(netns: Option<&Path>, address: &str, pages: BTreeMap<String, Page>) -> Result<SocketAddr> {
    let netns =
        netns.map(|path| File::open(path).with_context(|| format!("cannot open {}", path.display()))).transpose()?;
    let address = address.to_owned();
    // A thread enters the namespace and ends; the socket stays in it.
    let listener = std::thread::spawn(move || -> Result<TcpListener> {
        if let Some(netns) = netns {
            setns(netns, CloneFlags::CLONE_NEWNET).context("cannot enter the namespace")?;
        }
        TcpListener::bind(&address).with_context(|| format!("cannot listen on {address}"))
    });
    let listener = listener.join().expect("binding does not panic")?;
    let bound = listener.local_addr()?;
    let pages = Arc::new(pages);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let pages = pages.clone();
            // A visitor who hangs up is none of our business.
            std::thread::spawn(move || answer(stream, &pages).ok());
        }
    });
    Ok(bound)
}

fn answer(mut stream: TcpStream, pages: &BTreeMap<String, Page>) -> Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().context("no request")??;
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = request.split(' ').nth(1).context("no path")?;
    let ok = |length: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    match pages.get(path) {
        None => stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?,
        Some(Page::Bytes(bytes)) => {
            stream.write_all(ok(bytes.len()).as_bytes())?;
            stream.write_all(bytes)?;
        }
        Some(Page::Half(bytes)) => {
            stream.write_all(ok(bytes.len()).as_bytes())?;
            stream.write_all(&bytes[..bytes.len() / 2])?;
        }
        Some(Page::Redirect(to)) => {
            let head = "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nConnection: close\r\nLocation: ";
            stream.write_all(format!("{head}{to}\r\n\r\n").as_bytes())?;
        }
    }
    Ok(())
}
