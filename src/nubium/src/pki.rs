//! The cloud's keys on disk: made once, kept in the state folder, readable by root only.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use base64::Engine;
use nubium_apiserver::{Authority, Identity, Pair};
use nubium_process::make_folder;
use serde_json::json;

use crate::files::write_secret;

/// What lives for a year is made anew when it is older than this.
const RENEW_AFTER: Duration = Duration::from_secs(270 * 24 * 3600);

/// The keys of one cloud.
pub struct Pki {
    folder: PathBuf,
    authority: Authority,
}

impl Pki {
    /// Takes up the authority in `folder`, or makes one.
    pub fn open(folder: &Path) -> Result<Self> {
        make_folder(folder, 0o700).with_context(|| format!("cannot make {}", folder.display()))?;
        let (certificate, key) = (folder.join("ca.crt"), folder.join("ca.key"));
        let authority = match (fs::read_to_string(&certificate), fs::read_to_string(&key)) {
            (Ok(certificate), Ok(key)) => {
                Authority::load(Pair { certificate, key }).context("cannot use the cloud's CA")?
            }
            _ => {
                let authority = Authority::new("nubium")?;
                // The key first: a certificate without its key would be taken for a CA that is whole.
                write_secret(&key, &authority.pem().key)?;
                write_secret(&certificate, &authority.pem().certificate)?;
                authority
            }
        };
        Ok(Self { folder: folder.to_owned(), authority })
    }

    /// The authority.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Where the authority's certificate is.
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// A host's certificate and key, as files.
    pub fn host(&self, name: &str) -> Result<(PathBuf, PathBuf)> {
        let (certificate, key) = (self.folder.join(format!("{name}.crt")), self.folder.join(format!("{name}.key")));
        if !fresh(&certificate) || !fresh(&key) {
            let pair = self.authority.host(name)?;
            write_secret(&key, &pair.key)?;
            write_secret(&certificate, &pair.certificate)?;
        }
        Ok((certificate, key))
    }

    /// Writes the admin's kubeconfig, unless a fresh one for that address is there.
    pub fn admin_kubeconfig(&self, path: &Path, address: &str) -> Result<()> {
        let server = format!("https://{address}");
        if fresh(path)
            && fs::read_to_string(path).is_ok_and(|text| text.contains(&server) && text.contains(&self.ca_data()))
        {
            return Ok(());
        }
        let Pair { certificate, key } = self.authority.client(&Identity::admin("admin"))?;
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "nubium", "cluster": {"server": server, "certificate-authority-data": self.ca_data()}}],
            "users": [{"name": "admin", "user": {
                "client-certificate-data": base64(&certificate),
                "client-key-data": base64(&key),
            }}],
            "contexts": [{"name": "nubium", "context": {"cluster": "nubium", "user": "admin"}}],
            "current-context": "nubium",
        });
        // JSON is YAML too.
        write_secret(path, &serde_json::to_string_pretty(&config)?)
    }

    fn ca_data(&self) -> String {
        base64(&self.authority.pem().certificate)
    }
}

fn fresh(path: &Path) -> bool {
    let age = fs::metadata(path).and_then(|meta| meta.modified()).map(|made| SystemTime::now().duration_since(made));
    matches!(age, Ok(Ok(age)) if age < RENEW_AFTER)
}

fn base64(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}
