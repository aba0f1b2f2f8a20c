//! The file that netd serves from.

use std::{
    fmt, fs,
    io::Write,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize, de};

/// All that netd knows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// Goes up with every change; [`crate::Status`] says it back.
    pub revision: u64,
    pub networks: Vec<Network>,
}

/// One Network to answer in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// The network namespace, by its name under `/run/netns`.
    pub namespace: String,
    /// The link in it on which to listen.
    pub bridge: String,
    /// The address that netd answers from.
    pub gateway: Ipv4Addr,
    /// Whether the gateway is announced to clients as their router. Not where nothing leaves the Network: a guest that has
    /// another NIC keeps its default route there.
    #[serde(default = "yes")]
    pub default_route: bool,
    /// The subnet's prefix length.
    pub prefix: u8,
    #[serde(default)]
    pub dns: Vec<Ipv4Addr>,
    pub mtu: u16,
    #[serde(default)]
    pub leases: Vec<Lease>,
}

fn yes() -> bool {
    true
}

/// Who gets which address. Anybody else gets no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    pub mac: Mac,
    pub address: Ipv4Addr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
}

/// An Ethernet address, in text `52:54:00:12:34:56`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} is not what an agent writes")]
    Parse { path: PathBuf, source: serde_json::Error },
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: std::io::Error },
}

impl Config {
    /// `None` when there is no such file yet.
    pub fn read(path: &Path) -> Result<Option<Self>, ConfigError> {
        read_json(path)
    }

    /// Replaces the file in one step: a reader sees the old or the new, never half of one.
    pub fn write(&self, path: &Path) -> Result<(), ConfigError> {
        write_json(path, self)
    }
}

pub(crate) fn read_json<T: de::DeserializeOwned>(path: &Path) -> Result<Option<T>, ConfigError> {
    match fs::read(path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map(Some).map_err(|source| ConfigError::Parse { path: path.into(), source })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ConfigError::Read { path: path.into(), source }),
    }
}

pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), ConfigError> {
    let bytes = serde_json::to_vec_pretty(value).map_err(|source| ConfigError::Parse { path: path.into(), source })?;
    let temporary = path.with_extension("new");
    let write = || {
        let mut file = fs::File::create(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|source| ConfigError::Write { path: path.into(), source })
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes: Vec<u8> = text
            .split(':')
            .map(|part| u8::from_str_radix(part, 16).ok().filter(|_| part.len() == 2))
            .collect::<Option<_>>()
            .ok_or_else(|| format!("{text:?} is not an Ethernet address"))?;
        bytes.try_into().map(Mac).map_err(|_| format!("{text:?} is not an Ethernet address"))
    }
}

impl Serialize for Mac {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("netd.json");
        assert_eq!(Config::read(&path).unwrap(), None);
        let lease = Lease {
            mac: "52:54:00:00:00:01".parse().unwrap(),
            address: "10.0.0.5".parse().unwrap(),
            hostname: Some("web-1".into()),
        };
        let network = Network {
            namespace: "nubium.shop.blue".into(),
            bridge: "br0".into(),
            gateway: "10.0.0.1".parse().unwrap(),
            default_route: true,
            prefix: 24,
            dns: vec!["192.0.2.1".parse().unwrap()],
            mtu: 1430,
            leases: vec![lease],
        };
        let config = Config { revision: 3, networks: vec![network] };
        config.write(&path).unwrap();
        assert_eq!(Config::read(&path).unwrap(), Some(config));
        fs::write(&path, "{").unwrap();
        assert!(matches!(Config::read(&path), Err(ConfigError::Parse { .. })));
        assert!("52:54:00:00:00".parse::<Mac>().is_err() && "5:54:00:00:00:01".parse::<Mac>().is_err());
    }
}
