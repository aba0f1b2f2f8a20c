//! Who is who: one authority, as kubeadm makes it, for the API server, the admin and the hosts' agents; and the key that
//! signs service accounts' tokens.
//!
//! One authority for servers and clients is what lets a kubeconfig's `certificate-authority` vouch for an agent's
//! endpoint too.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command;

/// The least configuration of `openssl req`; every extension is on its command line.
const OPENSSL: &str = "[req]\ndistinguished_name = name\nprompt = no\n[name]\n";

/// A certificate and its key, as files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Pair {
    fn named(folder: &Path, name: &str) -> Self {
        Self { certificate: folder.join(format!("{name}.crt")), key: folder.join(format!("{name}.key")) }
    }
}

/// The authority.
pub fn authority(folder: &Path) -> Pair {
    Pair::named(folder, "ca")
}

/// The API server.
pub fn apiserver(folder: &Path) -> Pair {
    Pair::named(folder, "apiserver")
}

/// The admin.
pub fn admin(folder: &Path) -> Pair {
    Pair::named(folder, "admin")
}

/// Makes what is not there yet.
pub fn make(folder: &Path) -> Result<()> {
    let Pair { certificate, key } = authority(folder);
    if !certificate.exists() {
        let mut openssl = request(folder, "/CN=nubium-test", &key, &certificate)?;
        openssl.args(["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]);
        command::output(&mut openssl)?;
    }
    sign(folder, &apiserver(folder), "/CN=kube-apiserver", "serverAuth", "DNS:localhost,IP:127.0.0.1")?;
    sign(folder, &admin(folder), "/O=system:masters/CN=admin", "clientAuth", "DNS:admin")?;
    let accounts = folder.join("service-accounts.key");
    if !accounts.exists() {
        let mut openssl = Command::new("openssl");
        openssl.args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out"]).arg(&accounts);
        command::output(&mut openssl)?;
    }
    Ok(())
}

/// The certificate of a host's agent: its user is the Host's name, its group the hosts', and it serves the agent's
/// endpoint under that name. Made if it is not there.
pub fn host(folder: &Path, name: &str) -> Result<Pair> {
    let pair = Pair::named(folder, &format!("host-{name}"));
    let (subject, names) = (format!("/O=nubium:hosts/CN={name}"), format!("DNS:{name}"));
    sign(folder, &pair, &subject, "clientAuth,serverAuth", &names)?;
    Ok(pair)
}

/// Writes a kubeconfig for the holder of that certificate.
pub fn write_kubeconfig(folder: &Path, url: &str, to: &Path, holder: &Pair) -> Result<()> {
    let text = format!(
        "apiVersion: v1
kind: Config
clusters:
- name: kubernetes
  cluster: {{server: \"{url}\", certificate-authority: \"{}\"}}
users:
- name: holder
  user: {{client-certificate: \"{}\", client-key: \"{}\"}}
contexts:
- name: kubernetes
  context: {{cluster: kubernetes, user: holder}}
current-context: kubernetes
",
        authority(folder).certificate.display(),
        holder.certificate.display(),
        holder.key.display()
    );
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(to).with_context(|| format!("create {}", to.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("write {}", to.display()))
}

/// Makes a certificate of the authority, if it is not there.
fn sign(folder: &Path, to: &Pair, subject: &str, usage: &str, names: &str) -> Result<()> {
    if to.certificate.exists() {
        return Ok(());
    }
    let by = authority(folder);
    let mut openssl = request(folder, subject, &to.key, &to.certificate)?;
    openssl.arg("-CA").arg(by.certificate).arg("-CAkey").arg(by.key);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "keyUsage=critical,digitalSignature"]);
    openssl.args(["-addext", &format!("extendedKeyUsage={usage}"), "-addext", &format!("subjectAltName={names}")]);
    command::output(&mut openssl).map(drop)
}

fn request(folder: &Path, subject: &str, key: &Path, certificate: &Path) -> Result<Command> {
    let config = folder.join("openssl.cnf");
    fs::write(&config, OPENSSL).with_context(|| format!("write {}", config.display()))?;
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650"]);
    openssl.args(["-subj", subject, "-config"]).arg(config);
    openssl.arg("-keyout").arg(key).arg("-out").arg(certificate);
    Ok(openssl)
}
