//! Nubium is killed at any moment, and goes on as if it had not been.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nubium_e2e::cloud::Cloud;
use nubium_e2e::patience::until;
use nubium_e2e::space::PATIENCE;

use crate::yaml::{network, server};

pub fn converges_and_loses_nothing(cloud: &mut Cloud) {
    let kills: u64 = number("NUBIUM_KILLS").unwrap_or(4);
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is right").as_secs();
    let seed = number("NUBIUM_SEED").unwrap_or(clock);
    println!("  NUBIUM_SEED={seed} NUBIUM_KILLS={kills}");
    let mut dice = Dice(seed);

    let space = cloud.space("killed");
    space.apply(&network("blue", "10.20.0.0/24", ""));
    space.apply(&server("witness", "blue"));
    let witness = space.boot("witness");

    for round in 0..kills {
        let name = format!("web-{round}");
        let moment = Duration::from_millis(dice.below(3000));
        println!("  killed {} ms after the apply of {name}", moment.as_millis());
        cloud.space("killed").apply(&server(&name, "blue"));
        std::thread::sleep(moment);
        cloud.kill();
        cloud.start();
        cloud.wait_for_host();
        let space = cloud.space("killed");
        space.ready(&format!("servers/{name}"));
        assert_eq!(space.domains().iter().filter(|domain| **domain == space.domain(&name)).count(), 1);
        assert_eq!(space.ssh(&name, "hostname"), name);

        let moment = Duration::from_millis(dice.below(2500));
        println!("  killed {} ms after the delete of {name}", moment.as_millis());
        space.delete(&format!("servers/{name}"));
        std::thread::sleep(moment);
        cloud.kill();
        cloud.start();
        cloud.wait_for_host();
        let space = cloud.space("killed");
        until(&format!("the end of {name}"), PATIENCE, || match space.get(&format!("servers/{name}")) {
            None => Ok(()),
            Some(seen) => Err(seen["status"]["conditions"].to_string()),
        });
        assert_eq!(space.domains(), [space.domain("witness")]);
        let left: Vec<String> = space.left_over().into_iter().filter(|left| left.contains(&name)).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    let space = cloud.space("killed");
    assert_eq!(space.boot("witness"), witness, "a running guest was not restarted");
    assert_eq!(space.list("ipaddresses").len(), 1);
    space.delete_and_wait("servers/witness");
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number")))
}

/// Numbers that look random and are the same for the same seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}
