//! What the machine is: processors, memory, addresses, versions. Read from `/proc` and `/sys`, never from a status.

use std::fs;
use std::io;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nubium_api::{HostAddress, HostCapacity, HostSoftware, Quantity};
use tokio::process::Command;

/// Virtual processors a host offers for each of its own.
const CPU_OVERCOMMIT: i32 = 8;
/// Memory kept for the host itself, in bytes.
const RESERVED_MEMORY: u64 = 512 << 20;

/// What Servers can use of it.
pub fn capacity() -> io::Result<HostCapacity> {
    let cores = i32::try_from(std::thread::available_parallelism()?.get()).unwrap_or(i32::MAX);
    let memory = memory_total(&fs::read_to_string("/proc/meminfo")?)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/meminfo has no MemTotal"))?;
    let memory = memory.saturating_sub(RESERVED_MEMORY) >> 20 << 20;
    Ok(HostCapacity {
        cpu: cores.saturating_mul(CPU_OVERCOMMIT),
        memory: Quantity::from_bytes(memory),
        cores: Some(cores),
        cpu_overcommit: Some(CPU_OVERCOMMIT),
    })
}

/// The versions of what guests run on.
pub async fn software() -> io::Result<HostSoftware> {
    let (libvirt, qemu) = tokio::join!(version("libvirtd"), version("qemu-system-x86_64"));
    Ok(HostSoftware {
        nubium: env!("CARGO_PKG_VERSION").to_owned(),
        libvirt,
        qemu,
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
    })
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

/// The first word of `program --version` that looks like a version.
async fn version(program: &str) -> String {
    let out = Command::new(program).arg("--version").kill_on_drop(true).output();
    let printed = match tokio::time::timeout(Duration::from_secs(10), out).await {
        Ok(Ok(out)) => String::from_utf8_lossy(&out.stdout).into_owned(),
        Ok(Err(_)) | Err(_) => String::new(),
    };
    let word =
        printed.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'));
    word.unwrap_or("unknown").to_owned()
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
        let capacity = capacity().unwrap();
        assert!(capacity.memory.bytes().unwrap() > 0, "{capacity:?}");
        let (cores, overcommit) = (capacity.cores.unwrap(), capacity.cpu_overcommit.unwrap());
        assert!(cores >= 1 && capacity.cpu == cores * overcommit, "{capacity:?}");
    }
}
