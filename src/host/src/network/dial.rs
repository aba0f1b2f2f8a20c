//! A TCP connection that begins inside a Network's namespace, so that a guest can be reached whatever range it has.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tokio::sync::oneshot;

use super::{
    error::{NetworkError, Result},
    names::Netns,
    netns,
};

/// Connects from inside the namespace. The inner result is the guest's answer, such as "connection refused"; the
/// socket stays in that namespace, whoever uses it.
pub async fn dial(netns: &Netns, to: SocketAddr, deadline: Duration) -> Result<std::io::Result<TcpStream>> {
    let (answer, answered) = oneshot::channel();
    let place = netns.clone();
    std::thread::Builder::new()
        .name("dial".into())
        .spawn(move || {
            let _ = answer.send(netns::enter(&place).map(|()| TcpStream::connect_timeout(&to, deadline)));
        })
        .map_err(NetworkError::Netlink)?;
    answered.await.map_err(|_| NetworkError::ThreadLost { name: netns.to_string() })?
}
