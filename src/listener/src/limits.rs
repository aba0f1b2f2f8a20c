//! How many connections a server holds, and for how long.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};

/// The limits of one listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections of callers with a client certificate.
    pub connections: usize,
    /// Of those, by one certificate.
    pub per_certificate: usize,
    /// Connections of callers without one.
    pub anonymous: usize,
    /// Connections that have not finished their TLS handshake.
    pub handshakes: usize,
    /// How long a handshake may take.
    pub handshake: Duration,
    /// How long a connection may stay open without a request; the head of a request must come within it.
    pub idle: Duration,
    /// The same without a client certificate.
    pub anonymous_idle: Duration,
    /// How often an HTTP/2 connection is pinged, and how long the answer may take.
    pub ping: Duration,
    /// How long open requests may go on once the server stops.
    pub drain: Duration,
}

impl Limits {
    /// Limits that leave half of the process's file descriptors to other uses.
    pub fn of_this_process() -> Self {
        let soft = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
        Self::for_descriptors(usize::try_from(soft).unwrap_or(usize::MAX))
    }

    fn for_descriptors(descriptors: usize) -> Self {
        let all = (descriptors / 2).min(8192);
        let few = (all / 8).min(256);
        let connections = all - 2 * few;
        Self {
            connections,
            per_certificate: connections / 2,
            anonymous: few,
            handshakes: few,
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(300),
            anonymous_idle: Duration::from_secs(10),
            ping: Duration::from_secs(20),
            drain: Duration::from_secs(3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_descriptors_stay_for_other_uses() {
        for descriptors in [64, 1024, 65_536, usize::MAX] {
            let limits = Limits::for_descriptors(descriptors);
            assert!(limits.connections + limits.anonymous + limits.handshakes <= descriptors / 2, "{limits:?}");
            assert!(limits.anonymous > 0 && limits.per_certificate < limits.connections, "{limits:?}");
        }
    }
}
