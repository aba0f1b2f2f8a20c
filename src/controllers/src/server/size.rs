//! A size that is requested and is not the one in force: the guest keeps what it was placed and made with, and the Server says
//! so, instead of being Ready for a request that nobody carried out.

use nubium_api::{CpuCount, Quantity};

use super::gather::Gathered;
use crate::verdict::{Verdict, names};

/// What differs; None when the sizes are as requested, or nothing is in force yet.
pub(super) fn pending(seen: &Gathered) -> Option<Verdict> {
    let differing: Vec<String> = machine(seen).into_iter().chain(disks(seen)).collect();
    if differing.is_empty() {
        return None;
    }
    let message = format!(
        "{}: a size cannot change yet; set it back, or make another Server with the size you want",
        names(&differing)
    );
    Some(Verdict::working("ResizePending", message))
}

/// Of a Flavor that is gone nothing is known, and nothing is said.
fn machine(seen: &Gathered) -> Option<String> {
    let spec = &seen.server.spec;
    let has = seen.server.status.as_ref()?.resources.as_ref()?;
    let (cpu, memory) = match (&spec.resources, &seen.flavor) {
        (Some(wanted), _) => (&wanted.cpu, &wanted.memory),
        (None, Some(flavor)) => (&flavor.spec.cpu, &flavor.spec.memory),
        (None, None) => return None,
    };
    let same = same_count(cpu, &has.cpu) && same_bytes(memory, &has.memory);
    (!same).then(|| {
        let count = |cpu: &CpuCount| cpu.count().map_or_else(|_| "?".to_owned(), |count| count.to_string());
        let (has_cpu, cpu) = (count(&has.cpu), count(cpu));
        format!("it has {has_cpu} cpu and {} of memory, not {cpu} and {memory}", has.memory)
    })
}

/// Disks that the Server makes; the size of any other is said in its Volume.
fn disks(seen: &Gathered) -> Vec<String> {
    let made = seen.server.spec.disks.iter().filter(|disk| disk.volume.is_none());
    let differing = made.filter_map(|disk| {
        let (volume, _) = seen.volumes.get(&disk.name)?;
        let (wanted, has) = (disk.size.as_ref()?, volume.spec.size.as_ref()?);
        (!same_bytes(wanted, has)).then(|| format!("disk {} has {has}, not {wanted}", disk.name))
    });
    differing.collect()
}

/// What cannot be read is refused elsewhere.
fn same_bytes(one: &Quantity, other: &Quantity) -> bool {
    one.bytes() == other.bytes()
}

fn same_count(one: &CpuCount, other: &CpuCount) -> bool {
    one.count() == other.count()
}
