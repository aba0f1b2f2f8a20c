//! Callers without a certificate against a real listener: they cannot keep the others out.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is a failure")]

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use nubium_listener::{Limits, serve};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

type Connection = TlsStream<TcpStream>;

/// A listener that answers "known" or "stranger"; `/slow` says that it has begun, and waits until it may go on.
struct Running {
    begun: Arc<Notify>,
    go_on: Arc<Notify>,
    address: SocketAddr,
    authority: CertifiedIssuer<'static, KeyPair>,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<io::Result<()>>,
}

fn certificate(authority: &CertifiedIssuer<'_, KeyPair>) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
}

async fn start(limits: Limits) -> Running {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).allow_unauthenticated().build().unwrap();
    let (chain, key) = certificate(&authority);
    let tls = ServerConfig::builder().with_client_cert_verifier(verifier).with_single_cert(vec![chain], key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async move { drop(stopped.await) };
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = (begun.clone(), go_on.clone());
    let served = tokio::spawn(serve(listener, Arc::new(tls), limits, stopped, move |peer| {
        let answer = if peer.certificate.is_some() { "known" } else { "stranger" };
        let slow = slow.clone();
        service_fn(move |request: Request<Incoming>| {
            let (begun, go_on) = slow.clone();
            async move {
                if request.uri().path() == "/slow" {
                    begun.notify_one();
                    go_on.notified().await;
                }
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(answer))))
            }
        })
    }));
    Running { begun, go_on, address, authority, stop, served }
}

impl Running {
    async fn connect(&self, known: bool) -> io::Result<Connection> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots);
        let config = if known {
            let (chain, key) = certificate(&self.authority);
            config.with_client_auth_cert(vec![chain], key).unwrap()
        } else {
            config.with_no_client_auth()
        };
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
    }
}

async fn ask(connection: &mut Connection, path: &str) -> io::Result<String> {
    connection.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await?;
    let mut answer = vec![0; 4096];
    let length = connection.read(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

fn few() -> Limits {
    Limits { anonymous: 4, handshakes: 4, connections: 8, per_certificate: 2, ..Limits::of_this_process() }
}

#[tokio::test]
async fn idle_strangers_keep_nobody_out() {
    let running = start(few()).await;
    // Some say nothing at all, some finish their handshake and then say nothing.
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(running.address).await.unwrap());
    }
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(running.connect(false).await.unwrap());
    }
    let mut known = running.connect(true).await.unwrap();
    assert!(ask(&mut known, "/").await.unwrap().ends_with("known"));
    let mut newest = running.connect(false).await.unwrap();
    assert!(ask(&mut newest, "/").await.unwrap().ends_with("stranger"));
    assert!(ask(&mut known, "/").await.unwrap().ends_with("known"), "it was not closed for a stranger");
    // All but the three that are left beside the newest were closed.
    for connection in &mut idle[..17] {
        let read = tokio::time::timeout(Duration::from_secs(20), connection.read(&mut [0; 16])).await;
        assert!(matches!(read.expect("it is closed"), Ok(0) | Err(_)));
    }
    assert!(ask(&mut idle[19], "/").await.unwrap().ends_with("stranger"));
}

#[tokio::test]
async fn a_connection_without_requests_is_closed() {
    let running = start(Limits { anonymous_idle: Duration::from_millis(100), ..few() }).await;
    let mut idle = running.connect(false).await.unwrap();
    let read = tokio::time::timeout(Duration::from_secs(20), idle.read(&mut [0; 16])).await;
    assert!(matches!(read.expect("it is closed"), Ok(0) | Err(_)));
    let mut half = running.connect(false).await.unwrap();
    half.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), half.read_to_end(&mut rest)).await;
    assert!(read.is_ok(), "half a head is not waited for");
}

#[tokio::test]
async fn a_stop_lets_requests_finish() {
    let running = start(few()).await;
    let (mut busy, mut idle) = (running.connect(true).await.unwrap(), running.connect(true).await.unwrap());
    let asked = tokio::spawn(async move { ask(&mut busy, "/slow").await });
    assert!(ask(&mut idle, "/").await.unwrap().ends_with("known"));
    running.begun.notified().await;
    running.stop.send(()).unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(20), idle.read(&mut [0; 16])).await;
    assert!(matches!(closed.expect("an idle connection is closed"), Ok(0) | Err(_)));
    running.go_on.notify_one();
    assert!(asked.await.unwrap().unwrap().ends_with("known"));
    running.served.await.unwrap().unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
}
