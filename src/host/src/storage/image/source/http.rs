//! An address of the network, fetched without lending the tenant the host's place in it.
//!
//! Every hop, the first and each redirect, is resolved here, its addresses are judged by the [`AddressPolicy`], and the connection
//! is pinned to those that passed: a name that answers differently a moment later changes nothing. Proxies of the
//! environment are not used, since they would connect where we did not look.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use reqwest::header::LOCATION;
use reqwest::{Client, Response, StatusCode, Url, redirect};

use super::address_policy::AddressPolicy;

const REDIRECTS: usize = 10;
const CONNECT: Duration = Duration::from_secs(10);

/// Why nothing was fetched. All of it can change without the object changing, so it is retried.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("{url:?} is not an http or https address")]
    NotHttp { url: String },
    #[error("could not find {host}")]
    Resolve {
        host: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{url} leads to {address}, which is {why}; the host's admin can allow it with --image-http-allow")]
    Forbidden { url: String, address: IpAddr, why: &'static str },
    #[error("{url} answered {status}")]
    Status { url: String, status: StatusCode },
    #[error("{url} redirects more than {REDIRECTS} times")]
    Redirects { url: String },
    #[error("{url} redirects to nowhere")]
    Location { url: String },
    #[error("could not fetch {url}")]
    Fetch {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("{url} stopped after {got} of {want} bytes")]
    Truncated { url: String, got: u64, want: u64 },
    #[error("{url} broke off after {got} bytes")]
    Broken {
        url: String,
        got: u64,
        #[source]
        source: reqwest::Error,
    },
}

/// Fetches over http and https.
#[derive(Debug, Clone)]
pub struct Http {
    pub fence: AddressPolicy,
    /// How long a server may send nothing.
    pub idle: Duration,
}

/// A body that is about to be read.
#[derive(Debug)]
pub struct Download {
    response: Response,
    url: String,
    got: u64,
    /// The length the server announced, in bytes.
    pub total: Option<u64>,
}

impl Http {
    /// Follows redirects to a body, judging every hop.
    pub async fn open(&self, url: &str) -> Result<Download, HttpError> {
        // Whoever wires the process has chosen a TLS provider already; a test or a tool has not.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let first = url;
        let mut url = Url::parse(url).map_err(|_| HttpError::NotHttp { url: url.to_owned() })?;
        for _ in 0..=REDIRECTS {
            let response = self.hop(&url).await?;
            let status = response.status();
            if status == StatusCode::OK {
                let total = response.content_length();
                return Ok(Download { response, url: shown(&url), got: 0, total });
            }
            if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Err(HttpError::Status { url: shown(&url), status });
            }
            let next =
                response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).and_then(|to| url.join(to).ok());
            url = next.ok_or_else(|| HttpError::Location { url: shown(&url) })?;
        }
        Err(HttpError::Redirects { url: first.to_owned() })
    }

    async fn hop(&self, url: &Url) -> Result<Response, HttpError> {
        let (host, addresses) = self.reach(url).await?;
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .resolve_to_addrs(&host, &addresses)
            .connect_timeout(CONNECT)
            .read_timeout(self.idle)
            .user_agent(concat!("nubium/", env!("CARGO_PKG_VERSION")));
        let fetched = async { client.build()?.get(url.clone()).send().await };
        fetched.await.map_err(|source| HttpError::Fetch { url: shown(url), source: source.without_url() })
    }

    /// The host of an address and those of its addresses that the fence lets pass.
    async fn reach(&self, url: &Url) -> Result<(String, Vec<SocketAddr>), HttpError> {
        let not_http = || HttpError::NotHttp { url: shown(url) };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(not_http());
        }
        let host = url.host_str().ok_or_else(not_http)?.to_owned();
        let port = url.port_or_known_default().ok_or_else(not_http)?;
        let literal = host.trim_matches(['[', ']']).parse::<IpAddr>();
        let found: Vec<SocketAddr> = match literal {
            Ok(address) => vec![(address, port).into()],
            Err(_) => {
                let found = tokio::time::timeout(CONNECT, tokio::net::lookup_host((host.as_str(), port))).await;
                let found = found.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
                found.map_err(|source| HttpError::Resolve { host: host.clone(), source })?.collect()
            }
        };
        let mut forbidden = None;
        let mut passed = Vec::new();
        for address in found {
            match self.fence.check(address.ip()) {
                Ok(()) => passed.push(address),
                Err(why) => forbidden = forbidden.or(Some((address.ip(), why.as_str()))),
            }
        }
        match forbidden {
            Some((address, why)) if passed.is_empty() => Err(HttpError::Forbidden { url: shown(url), address, why }),
            _ if passed.is_empty() => Err(HttpError::Resolve { host, source: std::io::ErrorKind::NotFound.into() }),
            _ => Ok((host, passed)),
        }
    }
}

impl Download {
    /// The next piece of the body; `None` at its end, which is an error when the server announced more.
    pub async fn next(&mut self) -> Result<Option<impl AsRef<[u8]> + Send + 'static>, HttpError> {
        let piece = self.response.chunk().await;
        let truncated = |this: &Self| this.total.filter(|want| this.got < *want);
        match (piece, truncated(self)) {
            (Ok(Some(piece)), _) => {
                self.got += piece.len() as u64;
                Ok(Some(piece))
            }
            (Ok(None), None) => Ok(None),
            (Err(source), want) if want.is_none() || source.is_timeout() => {
                Err(HttpError::Broken { url: self.url.clone(), got: self.got, source: source.without_url() })
            }
            (_, want) => {
                Err(HttpError::Truncated { url: self.url.clone(), got: self.got, want: want.unwrap_or(self.got) })
            }
        }
    }
}

/// An address as it may be shown: without the password it may carry.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    if url.password().is_some() {
        let _ = url.set_password(Some("…")); // fails only for addresses without a host, which carry none
    }
    url.to_string()
}
