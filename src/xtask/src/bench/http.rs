//! A raw client: one connection, HTTP/1.1 over TLS, blocking, and as little work as can be, so that what is measured is
//! the server. Every server is measured with this one.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Where a server is, how it is known, and who we are.
#[derive(Clone)]
pub struct Server {
    pub port: u16,
    tls: Arc<ClientConfig>,
}

impl Server {
    /// From PEM texts.
    pub fn new(port: u16, authority: &[u8], certificate: &[u8], key: &[u8]) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(authority) {
            roots.add(root?)?;
        }
        let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>()?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let tls =
            tls.with_root_certificates(roots).with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key)?)?;
        Ok(Self { port, tls: Arc::new(tls) })
    }

    /// Opens a connection.
    pub fn connect(&self) -> Result<Client> {
        let socket = TcpStream::connect(("127.0.0.1", self.port)).context("connect")?;
        socket.set_nodelay(true)?;
        let tls = ClientConnection::new(Arc::clone(&self.tls), ServerName::try_from("127.0.0.1")?)?;
        Ok(Client { stream: BufReader::with_capacity(64 << 10, StreamOwned::new(tls, socket)) })
    }
}

/// One connection.
pub struct Client {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

/// How the length of a body is given.
enum Length {
    Known(usize),
    Chunked,
}

impl Client {
    /// One request, and the body of its answer, which must be a 2xx.
    pub fn ask(&mut self, verb: &str, path: &str, body: &[u8]) -> Result<Vec<u8>> {
        self.send(verb, path, body)?;
        let (status, length) = self.head()?;
        let mut answer = Vec::new();
        match length {
            Length::Known(length) => {
                answer.resize(length, 0);
                self.stream.read_exact(&mut answer)?;
            }
            Length::Chunked => while self.chunk(&mut answer)? {},
        }
        ensure!((200..300).contains(&status), "{verb} {path}: {status}: {}", String::from_utf8_lossy(&answer));
        Ok(answer)
    }

    /// Begins a watch; [`Client::next`] gives its pieces.
    pub fn watch(&mut self, path: &str) -> Result<()> {
        self.send("GET", path, b"")?;
        match self.head()? {
            (200, Length::Chunked) => Ok(()),
            (status, _) => bail!("watch {path}: {status}"),
        }
    }

    /// Waits for a watch's next piece, one or several events; false at its end.
    pub fn next(&mut self, piece: &mut Vec<u8>) -> Result<bool> {
        piece.clear();
        self.chunk(piece)
    }

    fn send(&mut self, verb: &str, path: &str, body: &[u8]) -> Result<()> {
        let mut request = format!(
            "{verb} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.stream.get_mut().write_all(&request).context("send")?;
        self.stream.get_mut().flush().context("send")
    }

    fn head(&mut self) -> Result<(u16, Length)> {
        let status = self.line()?.split(' ').nth(1).and_then(|code| code.parse().ok()).context("not HTTP")?;
        let mut length = Length::Known(0);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            match line.split_once(": ") {
                None => return Ok((status, length)),
                Some(("content-length", count)) => length = Length::Known(count.parse()?),
                Some(("transfer-encoding", "chunked")) => length = Length::Chunked,
                Some(_) => {}
            }
        }
    }

    fn chunk(&mut self, into: &mut Vec<u8>) -> Result<bool> {
        let length = usize::from_str_radix(&self.line()?, 16)?;
        let start = into.len();
        into.resize(start + length, 0);
        self.stream.read_exact(&mut into[start..])?;
        self.line()?;
        Ok(length > 0)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.stream.read_line(&mut line)? > 0, "the server closed the connection");
        Ok(line.trim_end().to_owned())
    }
}

/// A watch under way, read without blocking.
struct Watch {
    stream: StreamOwned<ClientConnection, TcpStream>,
    /// What came and is no whole chunk yet.
    held: Vec<u8>,
}

impl Watch {
    fn of(client: Client) -> Result<Self> {
        let held = client.stream.buffer().to_vec();
        let stream = client.stream.into_inner();
        stream.sock.set_nonblocking(true)?;
        Ok(Self { stream, held })
    }

    /// Reads what has come, and answers how many events that were; `None` at the watch's end.
    fn events(&mut self) -> Result<Option<usize>> {
        let mut piece = [0; 16 << 10];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return Ok(None),
                Ok(length) => self.held.extend_from_slice(&piece[..length]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        let (mut events, mut read) = (0, 0);
        while let Some(end) = self.held[read..].windows(2).position(|pair| pair == b"\r\n") {
            let length = usize::from_str_radix(std::str::from_utf8(&self.held[read..read + end])?, 16)?;
            let Some(chunk) = self.held.get(read + end + 2..read + end + 2 + length + 2) else { break };
            if length == 0 {
                return Ok(None);
            }
            // Every event is a line.
            events += chunk[..length].iter().filter(|byte| **byte == b'\n').count();
            read += end + 2 + length + 2;
        }
        self.held.drain(..read);
        Ok(Some(events))
    }
}

/// Many watches, read by one thread: a thread for each would take longer to wake up than a server to tell them.
pub struct Watches {
    watches: Vec<Watch>,
    epoll: Epoll,
}

impl Watches {
    /// Of clients that have begun a watch each.
    pub fn new(clients: Vec<Client>) -> Result<Self> {
        let watches = clients.into_iter().map(Watch::of).collect::<Result<Vec<_>>>()?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (number, watch) in watches.iter().enumerate() {
            epoll.add(&watch.stream.sock, EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
        }
        Ok(Self { watches, epoll })
    }

    /// Waits until each watch has heard of one more event than before.
    pub fn all_hear(&mut self) -> Result<()> {
        let mut ready = vec![EpollEvent::empty(); 256];
        let mut heard = vec![0; self.watches.len()];
        let mut missing = self.watches.len();
        while missing > 0 {
            let count = self.epoll.wait(&mut ready, EpollTimeout::from(20_000u16))?;
            ensure!(count > 0, "{missing} of {} watchers heard nothing", self.watches.len());
            for event in &ready[..count] {
                let number = usize::try_from(event.data())?;
                let events = self.watches[number].events()?.context("the server ended a watch")?;
                missing -= usize::from(heard[number] == 0 && events > 0);
                heard[number] += events;
            }
        }
        ensure!(heard.iter().all(|events| *events == 1), "a watcher heard of more than what happened");
        Ok(())
    }
}
