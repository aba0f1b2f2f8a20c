//! Where an image comes from: both kinds of source are a tenant's words, and each has its fence.

pub mod address_policy;
pub mod file;
pub mod http;

/// The source of an image.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// A file in a folder that this host's admin allowed, by a path relative to it or absolute.
    File { path: String },
    /// An `http` or `https` address.
    Http { url: String },
}

impl Source {
    /// Its name as it may be shown: without the password that an address may carry.
    pub fn shown(&self) -> String {
        match self {
            Self::File { path } => path.clone(),
            Self::Http { url } => reqwest::Url::parse(url).map_or_else(|_| url.clone(), |url| http::shown(&url)),
        }
    }
}
