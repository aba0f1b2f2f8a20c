//! An API server alone: `cargo run -p nubium-apiserver --example serve -- FOLDER [PORT]`.
//!
//! Keeps its store and its authority in FOLDER, writes `FOLDER/kubeconfig` for an admin, and serves until it is killed.

use std::net::SocketAddr;
use std::path::Path;
use std::{env, fs};

use nubium_apiserver::{ApiServer, Authority, Config, Identity, Pair};
use nubium_store::{AnyStore, SqliteStore};
use tokio::net::TcpListener;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let folder = env::args().nth(1).ok_or("usage: serve FOLDER [PORT]")?;
    let folder = Path::new(&folder);
    let port: u16 = env::args().nth(2).map_or(Ok(0), |port| port.parse())?;
    fs::create_dir_all(folder)?;
    let store = AnyStore::new(SqliteStore::open(&folder.join("store.db"))?);
    let authority = authority(folder)?;
    let server = ApiServer::start(store, Config::default()).await?;
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).await?;
    let address = listener.local_addr()?;
    let tls = authority.server_config(&authority.server(&["127.0.0.1".to_owned(), "localhost".to_owned()])?)?;
    fs::write(folder.join("kubeconfig"), kubeconfig(folder, &authority, address)?)?;
    println!("serving on https://{address}; kubectl --kubeconfig {}", folder.join("kubeconfig").display());
    tokio::select! {
        served = server.serve_tls(listener, tls, std::future::pending()) => served?,
        () = server.run_background() => {}
    }
    Ok(())
}

fn authority(folder: &Path) -> Result<Authority> {
    let (certificate, key) = (folder.join("ca.crt"), folder.join("ca.key"));
    if certificate.exists() {
        let pem = Pair { certificate: fs::read_to_string(certificate)?, key: fs::read_to_string(key)? };
        return Ok(Authority::load(pem)?);
    }
    let authority = Authority::new("serve")?;
    fs::write(certificate, &authority.pem().certificate)?;
    fs::write(key, &authority.pem().key)?;
    Ok(authority)
}

fn kubeconfig(folder: &Path, authority: &Authority, address: SocketAddr) -> Result<String> {
    let admin = authority.client(&Identity::admin("admin"))?;
    fs::write(folder.join("admin.crt"), &admin.certificate)?;
    fs::write(folder.join("admin.key"), &admin.key)?;
    let folder = folder.canonicalize()?;
    let folder = folder.display();
    Ok(format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
         clusters: [{{name: c, cluster: {{server: 'https://{address}', certificate-authority: {folder}/ca.crt}}}}]\n\
         users: [{{name: u, user: {{client-certificate: {folder}/admin.crt, client-key: {folder}/admin.key}}}}]\n"
    ))
}
