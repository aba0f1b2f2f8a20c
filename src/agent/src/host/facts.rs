//! What the machine is: processors, memory, addresses, versions. Read from `/proc` and `/sys`, never from a status.

use std::fs;
use std::io;

use nix::ifaddrs::getifaddrs;
use nubium_api::{HostAddress, HostCapacity, Quantity};

/// Virtual processors a host offers for each of its own.
const CPU_OVERCOMMIT: usize = 8;
/// Memory kept for the host itself, in bytes.
const RESERVED_MEMORY: u64 = 512 << 20;

/// The facts that do not change while the agent runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// What Servers can use.
    pub capacity: HostCapacity,
    /// The kernel's release.
    pub kernel: String,
}

impl Facts {
    /// Looks at the machine.
    pub fn read() -> io::Result<Self> {
        let cpus = std::thread::available_parallelism()?.get() * CPU_OVERCOMMIT;
        let memory = memory_total(&fs::read_to_string("/proc/meminfo")?)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/meminfo has no MemTotal"))?;
        let memory = memory.saturating_sub(RESERVED_MEMORY) >> 20 << 20;
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
        let cpu = i32::try_from(cpus).unwrap_or(i32::MAX);
        Ok(Self { capacity: HostCapacity { cpu, memory: Quantity::from_bytes(memory) }, kernel })
    }
}

/// The machine's own addresses by interface: the first IPv4 one of each that is neither loopback nor a Network's.
pub fn addresses() -> io::Result<Vec<HostAddress>> {
    let mut found: Vec<HostAddress> = Vec::new();
    for interface in getifaddrs()? {
        let Some(address) = interface.address.as_ref().and_then(|address| address.as_sockaddr_in()).map(|a| a.ip())
        else {
            continue;
        };
        let name = interface.interface_name;
        let ours = name.starts_with(nubium_host::network::names::LINK_PREFIX);
        if !address.is_loopback() && !ours && found.iter().all(|known| known.name != name) {
            found.push(HostAddress { name, address: address.to_string() });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn memory_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(memory_total("MemTotal:       24543212 kB\nMemFree: 1 kB\n"), Some(24_543_212 * 1024));
        assert_eq!(memory_total("MemFree: 1 kB\n"), None);
    }

    #[test]
    fn this_machine_has_processors_and_memory() {
        let facts = Facts::read().unwrap();
        assert!(facts.capacity.cpu >= 4 && facts.capacity.memory.bytes().unwrap() > 0, "{facts:?}");
    }
}
