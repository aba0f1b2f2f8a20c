//! Nubium is killed at any moment, and goes on as if it had not been.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nubium_e2e::cloud::Cloud;
use nubium_e2e::dice::{Dice, number};
use nubium_e2e::space::{Space, TIMEOUT};
use nubium_e2e::wait::until;

use crate::yaml::{network, server};

/// As many kills between apply and Ready, and as many during the delete.
const KILLS: u64 = 20;
/// From apply to Ready, and from delete to the end, a watch shows about so many changes.
const CHANGES: (u64, u64) = (8, 4);

pub fn converges_and_loses_nothing(cloud: &mut Cloud) {
    let kills = number("NUBIUM_KILLS").unwrap_or(KILLS);
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is right").as_secs();
    let seed = number("NUBIUM_SEED").unwrap_or(clock);
    println!("  NUBIUM_SEED={seed} NUBIUM_KILLS={kills}");
    let mut dice = Dice(seed);

    let space = Space::create(cloud, "killed");
    space.apply(&network("blue", "10.20.0.0/24", ""));
    space.apply(&server("witness", "blue"));
    let witness = space.boot("witness");

    for round in 0..kills {
        let name = format!("web-{round}");
        let made = Moment::drawn(&mut dice, CHANGES.0);
        let said = crash(cloud, &made, &name, |space| space.apply(&server(&name, "blue")));
        println!("  {name}: killed {said} of its making");
        let space = Space::create(cloud, "killed");
        space.ready(&format!("servers/{name}"));
        assert_eq!(space.domains().iter().filter(|domain| **domain == space.domain(&name)).count(), 1);
        assert_eq!(space.ssh(&name, "hostname"), name);

        let ended = Moment::drawn(&mut dice, CHANGES.1);
        let said = crash(cloud, &ended, &name, |space| space.delete(&format!("servers/{name}")));
        println!("  {name}: killed {said} of its end");
        let space = Space::create(cloud, "killed");
        until(&format!("the end of {name}"), TIMEOUT, || match space.get(&format!("servers/{name}")) {
            None => Ok(()),
            Some(seen) => Err(seen["status"]["conditions"].to_string()),
        });
        assert_eq!(space.domains(), [space.domain("witness")]);
        let left: Vec<String> = space.left_over().into_iter().filter(|left| left.contains(&name)).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    let space = Space::create(cloud, "killed");
    assert_eq!(space.boot("witness"), witness, "a running guest was not restarted");
    assert_eq!(space.list("ipaddresses").len(), 1);
    space.delete_and_wait("servers/witness");
}

/// A moment: some time after some change was seen.
struct Moment {
    change: u64,
    after: Duration,
}

impl Moment {
    fn drawn(dice: &mut Dice, changes: u64) -> Self {
        Self { change: 1 + dice.below(changes), after: Duration::from_millis(dice.below(51)) }
    }
}

/// Kills Nubium at that moment of what `begin` begins, and starts it again; says when it was.
fn crash(cloud: &mut Cloud, moment: &Moment, name: &str, begin: impl FnOnce(&Space<'_>)) -> String {
    let space = Space::create(cloud, "killed");
    let watch = space.watch("servers");
    begin(&space);
    // Fewer changes may be all there are.
    let seen = watch.changes(name, moment.change, Duration::from_secs(5));
    std::thread::sleep(moment.after);
    cloud.kill();
    drop(watch);
    cloud.start();
    cloud.wait_for_host();
    format!("{} ms after change {seen}", moment.after.as_millis())
}
