//! `nubium ssh`: the system's ssh, with the address, the user and the key of a Server.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use kube::{Api, ResourceExt};
use nubium_api::{Image, Server, Volume};
use tokio::io::AsyncReadExt;

use crate::wait::Progress;
use crate::{Connection, seed, tunnel, wait};

/// Where to log in, and what to run there.
#[derive(Debug, Args)]
pub struct Ssh {
    /// The Server
    name: String,
    /// User to log in as. Default: the defaultUser of the Server's image
    #[arg(long, short = 'l')]
    user: Option<String>,
    /// Private key. Default: ssh's own choice, and the key that `nubium up` made
    #[arg(long, short)]
    identity: Option<PathBuf>,
    /// How long to wait for the Server and its sshd, in seconds
    #[arg(long, default_value_t = 300)]
    timeout: u64,
    /// Command to run there
    #[arg(last = true)]
    command: Vec<String>,
}

pub async fn run(connection: &Connection, ssh: Ssh) -> anyhow::Result<u8> {
    let Ssh { name, user, identity, timeout, command } = ssh;
    let deadline = Duration::from_secs(timeout);
    let server = wait::running(connection, &name, deadline).await?;
    let user = match user {
        Some(user) => user,
        None => default_user(connection, &server).await?,
    };
    listening(connection, &server, deadline).await?;

    let program = std::env::current_exe().context("cannot find the path of this program")?;
    // The kernel says so of a program that was replaced since it was started (an upgrade): the new one does as well.
    let mut proxy = shell_word(program.display().to_string().trim_end_matches(" (deleted)"));
    if let Some(kubeconfig) = &connection.kubeconfig {
        proxy.push_str(&format!(" --kubeconfig {}", shell_word(&kubeconfig.display().to_string())));
    }
    proxy.push_str(&format!(" --namespace {} connect {name} 22", connection.namespace));

    let mut client = Command::new("ssh");
    client.arg("-o").arg(format!("ProxyCommand={proxy}"));
    // The Server is known by its UID: another one of the same name is another machine.
    client.arg("-o").arg(format!("HostKeyAlias=nubium-{}", server.uid().unwrap_or_default()));
    client.args(["-o", "StrictHostKeyChecking=accept-new", "-o", "LogLevel=ERROR"]);
    let own = connection.kubeconfig.as_deref().and_then(Path::parent).map(seed::private_key);
    if let Some(key) = identity.or(own.filter(|key| std::fs::File::open(key).is_ok())) {
        client.arg("-i").arg(key);
    }
    client.arg(format!("{user}@{name}")).args(&command);
    let status = tokio::task::spawn_blocking(move || client.status())
        .await?
        .context("cannot run ssh: install the package openssh-client")?;
    Ok(match status.code() {
        Some(code) => u8::try_from(code).unwrap_or(255),
        None => 128u8.saturating_add(u8::try_from(status.signal().unwrap_or(0)).unwrap_or(0)),
    })
}

/// Waits until something on port 22 greets as an ssh server does.
async fn listening(connection: &Connection, server: &Server, deadline: Duration) -> anyhow::Result<()> {
    let mut progress = Progress::default();
    let end = tokio::time::Instant::now() + deadline;
    loop {
        let why = match greeting(connection, server).await {
            Ok(()) => return Ok(()),
            Err(error) => format!("{error:#}"),
        };
        if tokio::time::Instant::now() > end {
            bail!("sshd of Server {} did not answer within {} s: {why}", server.name_any(), deadline.as_secs());
        }
        progress.say(format!("waiting for sshd of Server {} ({why})", server.name_any()));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn greeting(connection: &Connection, server: &Server) -> anyhow::Result<()> {
    let mut stream = tunnel::open(connection, server, 22).await?;
    let mut greeting = [0; 4];
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read_exact(&mut greeting)).await;
    match read {
        Ok(Ok(_)) if &greeting == b"SSH-" => Ok(()),
        Ok(Ok(_)) => bail!("what answers on port 22 is not an ssh server"),
        Ok(Err(_)) => bail!("the connection was closed"),
        Err(_) => bail!("no greeting yet"),
    }
}

/// The default user of the image that the first disk was made from.
async fn default_user(connection: &Connection, server: &Server) -> anyhow::Result<String> {
    let name = server.name_any();
    let unknown = || format!("which user Server {name} has is not known: say it with --user");
    let disk = server.spec.disks.first().with_context(unknown)?;
    let image = match (&disk.image, &disk.volume) {
        (Some(image), _) => Some(image.clone()),
        (None, Some(volume)) => {
            let api: Api<Volume> = Api::namespaced(connection.client.clone(), &connection.namespace);
            api.get_opt(volume).await?.and_then(|volume| volume.spec.image)
        }
        (None, None) => None,
    };
    let api: Api<Image> = Api::namespaced(connection.client.clone(), &connection.namespace);
    let image = api.get_opt(&image.with_context(unknown)?).await?;
    image.and_then(|image| image.spec.default_user).with_context(unknown)
}

fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
