//! Random actions of a user and random faults of a machine, from a seed; in the end the cloud is what was asked for.
//!
//! ```text
//!  dice ──▶ action (apply, delete, edit) ──▶ Model, what was asked for ─┐
//!       └─▶ fault (kill, undefine, flush, …)                            ├─▶ oracle: virsh, ip, /proc, files
//!  watchdog, all the time: one QEMU a guest, the witness is never touched┘
//! ```
//! The oracle uses none of the product's code. `NUBIUM_CHAOS_SECONDS` says for how long, `NUBIUM_SEED` repeats a run as
//! far as the machine's own timing allows.

mod act;
mod model;
mod oracle;
mod watchdog;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nubium_e2e::cloud::Cloud;
use nubium_e2e::dice::{Dice, number};
use nubium_e2e::space::Space;

use crate::yaml::{network, server};
use model::{Action, Model, SPACE, WITNESS, Wanted};
use watchdog::Watchdog;

/// In `cargo xtask test`.
const SECONDS: u64 = 120;
/// The seed there: what CI runs is the same every time.
const SEED: u64 = 7;

pub fn ends_in_what_was_asked_for(cloud: &mut Cloud) {
    let seconds = number("NUBIUM_CHAOS_SECONDS").unwrap_or(SECONDS);
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is right").as_secs();
    let seed = number("NUBIUM_SEED").unwrap_or(if seconds == SECONDS { SEED } else { clock });
    println!("  NUBIUM_SEED={seed} NUBIUM_CHAOS_SECONDS={seconds}");
    let mut dice = Dice(seed);

    let space = Space::create(cloud, SPACE);
    space.apply(&network("calm", "10.40.0.0/24", ""));
    space.apply(&server(WITNESS, "calm"));
    let boot = space.boot(WITNESS);
    let uid = space.ready(&format!("servers/{WITNESS}"))["metadata"]["uid"].as_str().expect("a UID").to_owned();
    let watchdog = Watchdog::start(uid);

    // Something to hurt from the beginning.
    let mut model = Model::default();
    for name in ["n-0", "n-1"] {
        act::take(&space, &mut model, &Action::CreateNetwork(name.into()));
    }
    for (name, network) in [("s-0", "n-0"), ("s-1", "n-1")] {
        act::take(&space, &mut model, &Action::CreateServer(name.into(), Wanted::running(network)));
    }
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut rounds = 0;
    while Instant::now() < end {
        rounds += 1;
        if dice.below(3) == 0 {
            let fault = act::Fault::drawn(&mut dice, &model);
            println!("  {rounds}: {fault:?}");
            fault.happen(cloud, &model);
        } else {
            let action = model.draw(&mut dice);
            println!("  {rounds}: {action:?}");
            act::take(&Space::create(cloud, SPACE), &mut model, &action);
        }
        watchdog.check();
        std::thread::sleep(Duration::from_millis(200 + dice.below(2_800)));
    }

    let start = Instant::now();
    oracle::converges(cloud, &mut model);
    watchdog.check();
    println!("  {rounds} rounds, then as asked for after {:.1} s", start.elapsed().as_secs_f32());
    let space = Space::create(cloud, SPACE);
    assert_eq!(space.boot(WITNESS), boot, "a guest that nobody touched was not restarted");
    watchdog.check();
    drop(watchdog);
    space.delete("namespaces/chaos");
    oracle::ends(cloud);
}
