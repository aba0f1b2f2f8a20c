//! A stream to a Server's port, or to its console log, through the TLS endpoint of the agent on its Host.

use anyhow::{Context, bail};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use kube::{Api, ResourceExt};
use nubium_api::{Host, Server};
use rustls_pki_types::ServerName;

use crate::Connection;

/// The protocol that an agent's endpoint switches to.
const PROTOCOL: &str = "nubium-stream";

/// Opens a stream to `port` of the Server. The error is the agent's own sentence, such as "connection refused".
pub async fn open(connection: &Connection, server: &Server, port: u16) -> anyhow::Result<TokioIo<Upgraded>> {
    let path = format!("{}/connect?port={port}", path(server));
    let response = send(connection, server, Method::POST, &path, Some(PROTOCOL)).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        bail!("{}", sentence(response).await);
    }
    Ok(TokioIo::new(hyper::upgrade::on(response).await?))
}

/// The Server's console, as logged so far.
pub async fn console_log(connection: &Connection, server: &Server) -> anyhow::Result<Bytes> {
    let response = send(connection, server, Method::GET, &format!("{}/console-log", path(server)), None).await?;
    if response.status() != StatusCode::OK {
        bail!("{}", sentence(response).await);
    }
    Ok(response.into_body().collect().await?.to_bytes())
}

fn path(server: &Server) -> String {
    format!("/v1/namespaces/{}/servers/{}", server.namespace().unwrap_or_default(), server.name_any())
}

async fn sentence(response: http::Response<Incoming>) -> String {
    let status = response.status();
    let body = response.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    match String::from_utf8_lossy(&body).trim() {
        "" => format!("the host's agent answered {status}"),
        text => text.to_owned(),
    }
}

async fn send(
    connection: &Connection,
    server: &Server,
    method: Method,
    path: &str,
    upgrade: Option<&str>,
) -> anyhow::Result<http::Response<Incoming>> {
    let name = server.name_any();
    let host = server.status.as_ref().and_then(|status| status.host.clone());
    let host = host.with_context(|| format!("Server {name} is not placed on a host yet"))?;
    let seen: Host =
        Api::all(connection.client.clone()).get(&host).await.with_context(|| format!("cannot look up Host {host}"))?;
    let endpoint = seen.status.and_then(|status| status.endpoint);
    let endpoint = endpoint.with_context(|| format!("Host {host} names no endpoint for consoles and ssh yet"))?;
    let tcp = tokio::net::TcpStream::connect(&endpoint)
        .await
        .with_context(|| format!("cannot reach the agent of Host {host} at {endpoint}"))?;
    tcp.set_nodelay(true)?;
    let tls = tokio_rustls::TlsConnector::from(connection.tls()?);
    let stream = tls
        .connect(ServerName::try_from(host.clone())?, tcp)
        .await
        .with_context(|| format!("the agent of Host {host} at {endpoint} did not prove who it is"))?;
    let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(driver.with_upgrades());
    let mut request = Request::builder().method(method).uri(path).header("Host", host.as_str());
    if let Some(protocol) = upgrade {
        request = request.header("Connection", "Upgrade").header("Upgrade", protocol);
    }
    Ok(sender.send_request(request.body(Empty::<Bytes>::new())?).await?)
}
