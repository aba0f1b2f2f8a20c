//! What must hold at every moment, looked at all the time: one QEMU a guest, and the witness's is always the same.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use nubium_e2e::processes;

/// Looks until dropped.
pub struct Watchdog {
    broken: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Begins; `witness` is the UID of a Server that runs.
    pub fn start(witness: String) -> Self {
        let broken = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (found, stopped) = (Arc::clone(&broken), Arc::clone(&stop));
        let first = processes::guests().get(&witness).cloned().unwrap_or_default();
        assert_eq!(first.len(), 1, "the witness runs once");
        let thread = spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let guests = processes::guests();
                let mut found = found.lock().expect("nobody panics with it");
                for (uuid, pids) in guests.iter().filter(|(_, pids)| pids.len() > 1) {
                    found.push(format!("guest {uuid} runs twice: {pids:?}"));
                }
                if guests.get(&witness) != Some(&first) {
                    found.push(format!("the witness ran as {first:?}, and is {:?}", guests.get(&witness)));
                    break;
                }
                drop(found);
                sleep(Duration::from_millis(200));
            }
        });
        Self { broken, stop, thread: Some(thread) }
    }

    /// Panics when anything did not hold.
    pub fn check(&self) {
        let broken = self.broken.lock().expect("nobody panics with it");
        assert!(broken.is_empty(), "{broken:?}");
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its findings were asked for before.
            let _ = thread.join();
        }
    }
}
