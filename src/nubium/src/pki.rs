//! The cloud's keys on disk: made once, kept in the state folder, readable by root only.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use nubium_apiserver::{Authority, Identity, Pair};
use nubium_process::make_folder;
use serde_json::{Value, json};
use x509_parser::pem::parse_x509_pem;

use crate::files::write_secret;

/// A certificate with less than this left is made again at start.
const LEAST_LEFT: Duration = Duration::from_secs(180 * 24 * 3600);

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
        let authority = match (read(&certificate)?, read(&key)?) {
            (Some(certificate), Some(key)) => {
                Authority::load(Pair { certificate, key }).context("cannot use the cloud's CA")?
            }
            (Some(_), None) => {
                bail!("{} is there and its key {} is not: put the key back", certificate.display(), key.display())
            }
            // The key alone is what a start that was interrupted leaves.
            (None, _) => {
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

    /// A host's certificate and key, as files. They have a folder of their own: a host may be called "ca".
    pub fn host(&self, name: &str) -> Result<(PathBuf, PathBuf)> {
        let folder = self.folder.join("hosts");
        make_folder(&folder, 0o700).with_context(|| format!("cannot make {}", folder.display()))?;
        let (certificate, key) = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
        let lasting = read(&certificate)?.is_some_and(|pem| self.lasts(&pem)) && read(&key)?.is_some();
        if !lasting {
            let pair = self.authority.host(name)?;
            write_secret(&key, &pair.key)?;
            write_secret(&certificate, &pair.certificate)?;
        }
        Ok((certificate, key))
    }

    /// Writes the admin's kubeconfig, unless a fresh one for that address is there.
    pub fn admin_kubeconfig(&self, path: &Path, address: &str) -> Result<()> {
        let server = format!("https://{address}");
        if read(path)?.is_some_and(|text| self.is_kubeconfig(&text, &server)) {
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

    /// Whether a kubeconfig is for this cloud at that address, with a certificate that lasts.
    fn is_kubeconfig(&self, text: &str, server: &str) -> bool {
        let Ok(config) = serde_json::from_str::<Value>(text) else { return false };
        let (cluster, user) = (&config["clusters"][0]["cluster"], &config["users"][0]["user"]);
        let certificate = user["client-certificate-data"]
            .as_str()
            .and_then(|data| String::from_utf8(base64::engine::general_purpose::STANDARD.decode(data).ok()?).ok());
        cluster["server"] == server
            && cluster["certificate-authority-data"] == self.ca_data()
            && certificate.is_some_and(|pem| self.lasts(&pem))
    }

    /// Whether a certificate is this authority's, valid now, and for long enough.
    fn lasts(&self, pem: &str) -> bool {
        let parse = |pem: &str| parse_x509_pem(pem.as_bytes()).map(|(_, pem)| pem);
        let (Ok(certificate), Ok(authority)) = (parse(pem), parse(&self.authority.pem().certificate)) else {
            return false;
        };
        let (Ok(certificate), Ok(authority)) = (certificate.parse_x509(), authority.parse_x509()) else {
            return false;
        };
        let left = certificate.validity().time_to_expiration();
        certificate.verify_signature(Some(authority.public_key())).is_ok()
            && left.is_some_and(|left| left.whole_seconds() > LEAST_LEFT.as_secs().cast_signed())
    }

    fn ca_data(&self) -> String {
        base64(&self.authority.pem().certificate)
    }
}

/// The text of a file; `None` when there is none. What cannot be read is not absent.
fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn base64(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_called_ca_has_its_own_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::open(folder.path()).unwrap();
        let authority = fs::read_to_string(pki.ca()).unwrap();
        let (certificate, _) = pki.host("ca").unwrap();
        assert_ne!(certificate, pki.ca());
        assert_eq!(fs::read_to_string(pki.ca()).unwrap(), authority);
        assert_eq!(Pki::open(folder.path()).unwrap().authority().pem().certificate, authority);
    }

    #[test]
    fn what_lasts_is_kept_and_what_another_authority_signed_is_made_again() {
        let (folder, kubeconfig) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
        let text = |path: &Path| fs::read_to_string(path).unwrap();
        let made = |pki: &Pki| {
            let (certificate, _) = pki.host("rack-1").unwrap();
            pki.admin_kubeconfig(kubeconfig.path(), "127.0.0.1:6443").unwrap();
            (text(&certificate), text(kubeconfig.path()))
        };
        let pki = Pki::open(folder.path()).unwrap();
        let first = made(&pki);
        assert_eq!(made(&pki), first);
        assert!(pki.lasts(&first.0) && !pki.lasts("not a certificate"));
        pki.admin_kubeconfig(kubeconfig.path(), "10.0.0.1:6443").unwrap();
        assert!(text(kubeconfig.path()).contains("10.0.0.1"), "for another address it is made again");

        fs::remove_file(folder.path().join("ca.crt")).unwrap();
        let other = Pki::open(folder.path()).unwrap();
        assert!(!other.lasts(&first.0));
        assert_ne!(made(&other), first);
    }

    #[test]
    fn a_ca_that_cannot_be_read_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        drop(Pki::open(folder.path()).unwrap());
        fs::remove_file(folder.path().join("ca.key")).unwrap();
        assert!(Pki::open(folder.path()).err().unwrap().to_string().contains("put the key back"));
        fs::create_dir(folder.path().join("ca.key")).unwrap();
        assert!(Pki::open(folder.path()).is_err());
    }
}
