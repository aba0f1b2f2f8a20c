//! What can go wrong when talking to the network stack. A failed look is one of these, never "absent".

use std::{io, path::PathBuf, time::Duration};

#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("cannot list the network namespaces in {dir}")]
    ListNamespaces { dir: PathBuf, source: io::Error },
    #[error("cannot create the network namespace {name}: {step}")]
    CreateNamespace { name: String, step: &'static str, source: io::Error },
    #[error("cannot delete the network namespace {name}")]
    DeleteNamespace { name: String, source: io::Error },
    #[error("cannot enter the network namespace {name}")]
    EnterNamespace { name: String, source: io::Error },
    #[error("cannot tell which taps are in use")]
    Processes { source: io::Error },
    #[error("there is no network namespace {name}")]
    NoNamespace { name: String },
    #[error("the network thread {name} stopped without an answer")]
    ThreadLost { name: String },
    #[error("{name}: no answer within {after:?}")]
    TimedOut { name: String, after: Duration },
    #[error("cannot talk netlink")]
    Netlink(#[source] io::Error),
    #[error("cannot {operation}")]
    Link { operation: String, source: rtnetlink::Error },
    #[error(
        "{what} has a name of ours and was not made by us: it is left alone; remove it by hand, or give it another name"
    )]
    NotOurs { what: String },
    #[error("there is no link {name}")]
    NoLink { name: String },
    #[error("cannot make the tap {name}: {step}")]
    Tap { name: String, step: &'static str, source: io::Error },
    #[error("cannot run {program}")]
    Run { program: String, source: io::Error },
    #[error("{command} failed: {output}")]
    Command { command: String, output: String },
    #[error("cannot understand what nft lists")]
    NftListing(#[source] serde_json::Error),
    #[error("cannot {operation} the sysctl {name}")]
    Sysctl { name: String, operation: &'static str, source: io::Error },
    #[error("cannot {operation} {path}")]
    Record { path: PathBuf, operation: &'static str, source: io::Error },
    #[error("{path} does not hold what was written there")]
    RecordContent { path: PathBuf, source: serde_json::Error },
    #[error("the transit addresses {pair} are already in use by {by}")]
    TransitTaken { pair: String, by: String },
    #[error("this host already uses the range {range}: {by}")]
    RangeInUse { range: String, by: String },
    #[error("cannot read the resolvers from {path}")]
    Resolvers { path: PathBuf, source: io::Error },
}

pub type Result<T, E = NetworkError> = std::result::Result<T, E>;
