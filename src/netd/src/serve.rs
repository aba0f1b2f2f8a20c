//! The loop: one thread that waits for packets, for a new file, and for time to look whether the namespaces are
//! still the ones it listens in.

use std::{
    collections::BTreeMap,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::inotify::{AddWatchFlags, InitFlags, Inotify},
};
use tracing::{info, warn};

use crate::{
    NetdError,
    answer::answer,
    config::{Config, Network},
    packet, socket,
    socket::BridgeSocket,
    status::{Served, Status},
    status_path,
};

/// How often the namespaces are looked at, in milliseconds.
const TICK: u16 = 1000;
/// How many packets of one Network are answered before the others have their turn.
const TURN: usize = 32;

pub fn run(path: &Path) -> Result<(), NetdError> {
    let watch = watch(path)?;
    let mut server = Server { path: path.into(), config: Config::default(), sockets: BTreeMap::new(), said: None };
    server.reload();
    // Whoever started us waits for what we say: not a tick later.
    server.settle();
    loop {
        let names: Vec<String> = server.sockets.keys().cloned().collect();
        let mut fds = vec![PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
        fds.extend(server.sockets.values().map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, PollTimeout::from(TICK)) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(errno) => return Err(NetdError::Wait(errno.into())),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        drop(fds);
        for (name, _) in names.iter().zip(&ready[1..]).filter(|(_, ready)| **ready) {
            server.turn(name);
        }
        if ready[0] {
            // What exactly happened to the file is read from the file.
            let _ = watch.read_events();
            server.reload();
        }
        server.settle();
    }
}

fn watch(path: &Path) -> Result<Inotify, NetdError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let failed = |errno: nix::Error| NetdError::Watch { path: folder.into(), source: errno.into() };
    let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(failed)?;
    watch.add_watch(folder, AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CLOSE_WRITE).map_err(failed)?;
    Ok(watch)
}

struct Server {
    path: PathBuf,
    config: Config,
    sockets: BTreeMap<String, BridgeSocket>,
    /// The last status written.
    said: Option<Status>,
}

impl Server {
    /// Reads the file again. One that cannot be read changes nothing.
    fn reload(&mut self) {
        match Config::read(&self.path) {
            Ok(Some(config)) if config != self.config => {
                info!(revision = config.revision, networks = config.networks.len(), "serving");
                self.config = config;
            }
            Ok(_) => {}
            Err(error) => warn!(error = &error as &dyn std::error::Error, "going on with what was read before"),
        }
    }

    /// Closes what is not configured any more or belongs to a namespace that is gone, opens what is missing, says so.
    fn settle(&mut self) {
        let Server { config, sockets, .. } = self;
        sockets.retain(|name, socket| {
            config.networks.iter().any(|n| n.namespace == *name) && socket::inode(name) == Some(socket.inode)
        });
        let mut served = Vec::new();
        for Network { namespace, bridge, .. } in &config.networks {
            let mut error = None;
            if !sockets.contains_key(namespace) {
                match BridgeSocket::open(namespace, bridge) {
                    Ok(socket) => drop(sockets.insert(namespace.clone(), socket)),
                    Err(failed) => error = Some(chain(&failed)),
                }
            }
            let inode = sockets.get(namespace).map(|socket| socket.inode);
            served.push(Served { namespace: namespace.clone(), inode, error });
        }
        let status = Status { pid: std::process::id(), revision: config.revision, networks: served };
        if self.said.as_ref() == Some(&status) {
            return;
        }
        match status.write(&status_path(&self.path)) {
            Ok(()) => self.said = Some(status),
            Err(error) => warn!(error = &error as &dyn std::error::Error, "cannot say what is served"),
        }
    }

    /// Answers what waits on one Network's socket.
    fn turn(&mut self, namespace: &str) {
        let Some(network) = self.config.networks.iter().find(|n| n.namespace == namespace) else { return };
        let Some(socket) = self.sockets.get(namespace) else { return };
        let mut buffer = [0; 2048];
        for _ in 0..TURN {
            match socket.receive(&mut buffer) {
                Ok(Some((sender, packet))) => {
                    let Some(request) = packet::unwrap_request(packet) else { continue };
                    let Some(reply) = answer(network, sender, request) else { continue };
                    let packet = packet::wrap_reply(&reply.payload, network.gateway, reply.address);
                    // A reply that cannot be sent is a reply that is lost: the client asks again.
                    let _ = socket.send(&packet, reply.mac);
                }
                Ok(None) => return,
                Err(_) => {
                    // The bridge went down or away. It is opened anew when there is one.
                    self.sockets.remove(namespace);
                    return;
                }
            }
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}
