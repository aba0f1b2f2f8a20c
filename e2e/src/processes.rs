//! The QEMU processes of this machine, as /proc shows them: what runs, whatever anybody says of it.

use std::collections::BTreeMap;
use std::fs;

/// The processes of each guest, by the UUID that QEMU was started with.
pub fn guests() -> BTreeMap<String, Vec<i32>> {
    let mut guests: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process that has ended meanwhile has no command line, and neither has a zombie.
        let Ok(line) = fs::read(entry.path().join("cmdline")) else { continue };
        let words: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        if !words.first().is_some_and(|program| program.contains("qemu-system")) {
            continue;
        }
        let uuid = words.iter().position(|word| word == "-uuid").and_then(|at| words.get(at + 1));
        if let Some(uuid) = uuid {
            guests.entry(uuid.to_string()).or_default().push(pid);
        }
    }
    guests
}

/// The ids of the processes whose command line has all of these parts.
pub fn with(parts: &[&str]) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(line) = fs::read(entry.path().join("cmdline")) else { continue };
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if !line.is_empty() && parts.iter().all(|part| line.contains(part)) {
            found.push(pid);
        }
    }
    found
}
