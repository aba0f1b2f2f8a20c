//! Who is let in: an authority for client certificates, a token for the admin, and the key that signs service accounts'
//! tokens. The API server makes its own serving certificate.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command;

/// What the admin needs.
pub struct Secrets {
    pub token: String,
}

/// Makes what is not there yet.
pub fn make(folder: &Path) -> Result<Secrets> {
    let authority = folder.join("client-ca.crt");
    if !authority.exists() {
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
        openssl.args(["-days", "3650", "-subj", "/CN=nubium-test-clients", "-addext", "keyUsage=critical,keyCertSign"]);
        openssl.arg("-keyout").arg(folder.join("client-ca.key")).arg("-out").arg(&authority);
        command::output(&mut openssl)?;
    }
    let accounts = folder.join("service-accounts.key");
    if !accounts.exists() {
        let mut openssl = Command::new("openssl");
        openssl.args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out"]).arg(&accounts);
        command::output(&mut openssl)?;
    }
    let tokens = folder.join("tokens.csv");
    if !tokens.exists() {
        let token = command::output(Command::new("openssl").args(["rand", "-hex", "24"]))?;
        write_secret(&tokens, &format!("{},admin,admin,\"system:masters\"\n", token.trim()))?;
    }
    let line = fs::read_to_string(&tokens).with_context(|| format!("read {}", tokens.display()))?;
    let token = line.split(',').next().context("the file of tokens is empty")?.to_owned();
    Ok(Secrets { token })
}

/// Writes the admin's kubeconfig.
pub fn write_kubeconfig(folder: &Path, url: &str, authority: &Path, token: &str) -> Result<()> {
    let text = format!(
        "apiVersion: v1
kind: Config
clusters:
- name: kubernetes
  cluster: {{server: \"{url}\", certificate-authority: \"{}\"}}
users:
- name: admin
  user: {{token: \"{token}\"}}
contexts:
- name: kubernetes
  context: {{cluster: kubernetes, user: admin}}
current-context: kubernetes
",
        authority.display()
    );
    write_secret(&super::kubeconfig(folder), &text)
}

fn write_secret(path: &Path, text: &str) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path).with_context(|| format!("create {}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("write {}", path.display()))
}
