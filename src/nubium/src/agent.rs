//! `nubium agent`, and the flags that it shares with `nubium up`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use ipnet::{IpNet, Ipv4Net};
use nubium_agent::endpoint::Identity;
use nubium_agent::{Config, EndpointConfig, StartupReports};
use nubium_host::acceleration::Mode;

use crate::signals::until_asked_to_end;
use crate::{client, state};

/// Flags about the machine itself.
#[derive(Debug, Args)]
pub struct HostFlags {
    /// This Host's name. Default: the machine's host name
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// Where everything that must survive a reboot is kept
    #[arg(long, default_value = "/var/lib/nubium", value_name = "DIR")]
    pub state: PathBuf,
    /// Where everything that must not survive a reboot is kept
    #[arg(long, default_value = "/run/nubium", value_name = "DIR")]
    pub run: PathBuf,
    /// A folder that Images may name files of; may be given several times. Default: none
    #[arg(long, value_name = "DIR")]
    pub image_dir: Vec<PathBuf>,
    /// A folder below which StoragePools may be, beside the state folder; may be given several times. Default: none
    #[arg(long, value_name = "DIR")]
    pub pool_dir: Vec<PathBuf>,
    /// A range that Images may be fetched from although it is loopback, link-local or the host's own
    #[arg(long, value_name = "CIDR")]
    pub image_http_allow: Vec<IpNet>,
    /// Where the addresses between the host and its Networks come from
    #[arg(long, default_value = "198.19.0.0/16", value_name = "CIDR")]
    pub transit_cidr: Ipv4Net,
    /// How guests run: auto tries whether KVM works here
    #[arg(long, value_enum, default_value = "auto")]
    pub acceleration: AccelerationFlag,
}

/// `--acceleration`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum AccelerationFlag {
    Auto,
    Kvm,
    Tcg,
}

impl HostFlags {
    /// The Host's name.
    pub fn name(&self) -> Result<String> {
        let name = match &self.host {
            Some(name) => name.clone(),
            None => nix::unistd::gethostname()
                .context("cannot read this machine's host name")?
                .to_string_lossy()
                .to_lowercase(),
        };
        let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let name = name.split('.').next().unwrap_or_default().to_owned();
        if name.is_empty()
            || name.len() > 50
            || !name.chars().all(label)
            || name.starts_with('-')
            || name.ends_with('-')
        {
            bail!("{name:?} cannot be a Host's name: choose one with --host, of at most 50 letters, digits and dashes");
        }
        Ok(name)
    }

    /// The agent's configuration.
    pub fn config(&self, door: Option<EndpointConfig>) -> Result<Config> {
        Ok(Config {
            host: self.name()?,
            state: self.state.clone(),
            run: self.run.clone(),
            program: std::env::current_exe().context("cannot find the path of this program")?,
            image_dirs: self.image_dir.clone(),
            pool_dirs: self.pool_dir.clone(),
            image_http_allow: self.image_http_allow.clone(),
            transit: self.transit_cidr,
            api_server: Vec::new(),
            acceleration: match self.acceleration {
                AccelerationFlag::Auto => Mode::Auto,
                AccelerationFlag::Kvm => Mode::Kvm,
                AccelerationFlag::Tcg => Mode::Tcg,
            },
            door,
        })
    }
}

/// The agent alone.
#[derive(Debug, Args)]
pub struct Agent {
    #[command(flatten)]
    host: HostFlags,
    /// Where the agent answers for consoles, ssh and port-forward
    #[arg(long, default_value = "0.0.0.0:7445", value_name = "ADDRESS:PORT")]
    endpoint: SocketAddr,
    /// Where clients reach that; shown in the Host's status
    #[arg(long, value_name = "ADDRESS:PORT")]
    advertise: Option<String>,
    /// The CA of the cloud's clients, as PEM
    #[arg(long, value_name = "FILE", requires = "certificate")]
    ca: Option<PathBuf>,
    /// This agent's certificate, whose names include the Host's, as PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// Its key, as PEM
    #[arg(long, value_name = "FILE", requires = "ca")]
    key: Option<PathBuf>,
}

pub async fn run(agent: Agent, kubeconfig: Option<PathBuf>) -> Result<()> {
    let Agent { host, endpoint, advertise, ca, certificate, key } = agent;
    let door = match (ca, certificate, key) {
        (Some(ca), Some(certificate), Some(key)) => Some(EndpointConfig {
            listen: endpoint,
            advertise: advertise.unwrap_or_else(|| endpoint.to_string()),
            identity: Identity { ca, certificate, key },
        }),
        _ => None,
    };
    let mut config = host.config(door)?;
    let _held = state::hold(&config.state, &config.run)?;
    let cloud = client::cloud(kubeconfig).await?;
    config.api_server = addresses(&cloud).await;
    let client = client::connect(cloud, "nubium-agent")?;
    let work = async {
        let start = nubium_agent::begin(&client, &config).await?;
        nubium_agent::run(client.clone(), config, start, StartupReports::default()).await
    };
    tokio::select! {
        done = work => done.context("the agent cannot run"),
        () = until_asked_to_end() => Ok(()),
    }
}

/// Where the API server is. One that cannot be resolved now is reached by a proxy, or not at all.
async fn addresses(cloud: &kube::Config) -> Vec<Ipv4Addr> {
    let url = &cloud.cluster_url;
    let Some(host) = url.host() else { return Vec::new() };
    let found = tokio::net::lookup_host((host.trim_matches(['[', ']']), url.port_u16().unwrap_or(443))).await;
    let found = found.into_iter().flatten().filter_map(|address| match address.ip() {
        IpAddr::V4(address) if !address.is_loopback() => Some(address),
        _ => None,
    });
    found.collect()
}
