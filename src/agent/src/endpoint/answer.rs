//! One request, answered. Errors are one sentence of plain text, which the command prints as it is.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use nubium_api::Server;
use nubium_host::network::{Netns, dial};
use nubium_runtime::Key;
use prometheus::TextEncoder;
use tokio::net::TcpStream;
use tracing::debug;

use super::Lookup;
use super::target::Target;

/// How long a guest may take to accept a connection.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// A log is bounded where it is written; this bounds what one answer holds.
const LONGEST_LOG: u64 = 8 << 20;

type Answer = Response<Full<Bytes>>;

pub async fn answer(lookup: &Lookup, allowed: bool, request: Request<Incoming>) -> Answer {
    if !allowed {
        return refuse(StatusCode::FORBIDDEN, "this needs an admin's certificate");
    }
    let path = request.uri().path().to_owned();
    let query = request.uri().query().map(str::to_owned);
    match (request.method(), Target::parse(&path, query.as_deref())) {
        (&Method::GET, Some(Target::Health)) => plain_text("ok".to_owned()),
        (&Method::GET, Some(Target::Metrics)) => match TextEncoder::new().encode_to_string(&prometheus::gather()) {
            Ok(text) => plain_text(text),
            Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &format!("cannot write the metrics: {error}")),
        },
        (&Method::GET, Some(Target::ConsoleLog { namespace, server })) => {
            match lookup.servers.get(&Key::new(namespace, server)) {
                Some(found) => console_log(lookup, &found).await,
                None => missing(namespace, server),
            }
        }
        (&Method::POST, Some(Target::Connect { namespace, server, port })) => {
            match lookup.servers.get(&Key::new(namespace, server)) {
                Some(found) => connect(&found, namespace, port, request).await,
                None => missing(namespace, server),
            }
        }
        (_, Some(_)) => refuse(StatusCode::METHOD_NOT_ALLOWED, "this path does not have that method"),
        (_, None) => refuse(StatusCode::NOT_FOUND, "no such path"),
    }
}

fn plain_text(text: String) -> Answer {
    let mut answer = Response::new(Full::new(text.into()));
    let media = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    answer.headers_mut().insert(http::header::CONTENT_TYPE, media);
    answer
}

fn missing(namespace: &str, name: &str) -> Answer {
    refuse(StatusCode::NOT_FOUND, &format!("Server {namespace}/{name} is not on this host"))
}

async fn console_log(lookup: &Lookup, server: &Server) -> Answer {
    let path = (lookup.consoles)(server);
    let read =
        tokio::task::spawn_blocking(move || read_log(&path)).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    match read {
        Ok(bytes) => {
            let mut answer = Response::new(Full::new(bytes.into()));
            answer
                .headers_mut()
                .insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            answer
        }
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &format!("cannot read the console log: {error}")),
    }
}

/// The older piece and the newer one, as virtlogd turns them over.
fn read_log(path: &std::path::Path) -> io::Result<Vec<u8>> {
    use io::Read;
    let mut bytes = Vec::new();
    let mut older = path.as_os_str().to_owned();
    older.push(".0");
    for piece in [std::path::Path::new(&older), path] {
        match std::fs::File::open(piece) {
            Ok(file) => file.take(LONGEST_LOG).read_to_end(&mut bytes).map(drop)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

async fn connect(server: &Server, namespace: &str, port: u16, request: Request<Incoming>) -> Answer {
    if !request.headers().contains_key(UPGRADE) {
        return refuse(StatusCode::UPGRADE_REQUIRED, "a stream needs an upgrade");
    }
    let addresses = server.status.as_ref().map(|status| status.addresses.as_slice()).unwrap_or_default();
    let Some(first) = addresses.first() else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "the Server has no address yet");
    };
    let Ok(address) = first.address.parse::<IpAddr>() else {
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, "the Server's address cannot be read");
    };
    let to = SocketAddr::new(address, port);
    let stream = match dial(&Netns::new(namespace, &first.network), to, DIAL_TIMEOUT).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return refuse(StatusCode::BAD_GATEWAY, &format!("{to}: {}", plain(&error))),
        Err(error) => return refuse(StatusCode::BAD_GATEWAY, &format!("{to}: {error}")),
    };
    let stream = match stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
        Ok(stream) => stream,
        Err(error) => return refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    };
    // The stream counts as a connection for as long as it lasts.
    let held = request.extensions().get::<nubium_listener::Held>().cloned();
    tokio::spawn(async move {
        let _held = held;
        let mut stream = stream;
        let joined = async {
            let mut client = TokioIo::new(hyper::upgrade::on(request).await.map_err(io::Error::other)?);
            tokio::io::copy_bidirectional(&mut client, &mut stream).await
        };
        if let Err(error) = joined.await {
            debug!(%to, %error, "a stream to a guest ended");
        }
    });
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.headers_mut().insert(UPGRADE, HeaderValue::from_static("nubium-stream"));
    answer
}

/// The operating system's words without its number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or(&text);
    words.to_lowercase()
}

fn refuse(status: StatusCode, sentence: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(format!("{sentence}\n"))));
    *answer.status_mut() = status;
    answer
}
