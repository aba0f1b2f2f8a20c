//! Whether a pool has little room left, or has promised more than it has. Pure.
//!
//! Disks take room as guests write. A pool that is full pauses every guest that writes, so it is reported before.

use nubium_api::{ConditionStatus, HostPool, Quantity};

/// Of the capacity, in percent: when it is reported, and when it is urgent.
const HIGH: u128 = 85;
const URGENT: u128 = 95;

const ROOM: &str = "delete Volumes or Images that nobody needs, or give its file system more room";

/// Higher is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Pressure {
    Promised(u128),
    Used(u128),
}

impl Pressure {
    fn reason(self) -> &'static str {
        match self {
            Self::Used(URGENT) => "PoolNearlyFull",
            Self::Used(_) => "PoolFilling",
            Self::Promised(URGENT) => "PoolOverpromised",
            Self::Promised(_) => "PoolNearlyPromised",
        }
    }

    fn of_pool(self, name: &str) -> String {
        match self {
            Self::Used(URGENT) => format!(
                "{URGENT}% of pool {name} is used: guests that write are paused when it is full, and no image or disk is \
                 made in its last room; {ROOM}"
            ),
            Self::Used(percent) => format!("{percent}% of pool {name} is used: {ROOM}"),
            Self::Promised(percent) => format!(
                "the sizes of the Volumes in pool {name} together are {percent}% of its file system or more, images and all \
                 else not counted: it is full before all of them are; {ROOM}, or watch what is used"
            ),
        }
    }
}

/// The condition's status, reason and message.
pub(super) fn judge(pools: &[HostPool]) -> (ConditionStatus, &'static str, String) {
    let mut found: Vec<(Pressure, &str)> = Vec::new();
    for pool in pools {
        found.extend(pressures(pool).map(|pressure| (pressure, pool.name.as_str())));
    }
    found.sort_by(|(a, pool), (b, other)| b.cmp(a).then(pool.cmp(other)));
    match found.first() {
        None => (ConditionStatus::False, "Enough", format!("every pool has more than {}% of its room", 100 - HIGH)),
        Some((worst, _)) => {
            let all: Vec<String> = found.iter().map(|(pressure, pool)| pressure.of_pool(pool)).collect();
            (ConditionStatus::True, worst.reason(), all.join("; "))
        }
    }
}

fn pressures(pool: &HostPool) -> impl Iterator<Item = Pressure> {
    let HostPool { name: _, capacity, free, promised } = pool;
    let bytes = |quantity: &Quantity| quantity.bytes().ok().map(u128::from);
    let capacity = bytes(capacity).filter(|capacity| *capacity > 0);
    let level = move |part: u128| {
        let percent = part * 100 / capacity?;
        [URGENT, HIGH].into_iter().find(|level| percent >= *level)
    };
    let used = capacity.zip(bytes(free)).map(|(capacity, free)| capacity.saturating_sub(free));
    let promised = promised.as_ref().and_then(bytes);
    let used = used.and_then(level).map(Pressure::Used);
    used.into_iter().chain(promised.and_then(level).map(Pressure::Promised))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn pool(name: &str, used: u64, promised: u64) -> HostPool {
        let [capacity, free, promised] = [100 * GIB, (100 - used) * GIB, promised * GIB].map(Quantity::from_bytes);
        HostPool { name: name.into(), capacity, free, promised: Some(promised) }
    }

    #[test]
    fn each_level_of_use_and_of_promise_is_found() {
        use ConditionStatus::{False, True};
        for (used, promised, status, reason) in [
            (0, 0, False, "Enough"),
            (84, 84, False, "Enough"),
            (84, 85, True, "PoolNearlyPromised"),
            (84, 95, True, "PoolOverpromised"),
            (84, 1000, True, "PoolOverpromised"),
            (85, 0, True, "PoolFilling"),
            (94, 1000, True, "PoolFilling"),
            (95, 0, True, "PoolNearlyFull"),
            (100, 1000, True, "PoolNearlyFull"),
        ] {
            let (said, why, _) = judge(&[pool("calm", 1, 1), pool("default", used, promised)]);
            assert_eq!((said, why), (status, reason), "{used}% used, {promised}% promised");
        }
    }

    #[test]
    fn the_worst_speaks_and_all_are_named_with_what_to_do() {
        let (_, reason, message) = judge(&[pool("a", 86, 0), pool("b", 96, 120), pool("c", 10, 10)]);
        assert_eq!(reason, "PoolNearlyFull");
        let at = |words: &str| message.find(words).unwrap_or_else(|| panic!("{words} in {message}"));
        assert!(
            at("95% of pool b") < at("85% of pool a") && at("85% of pool a") < at("Volumes in pool b"),
            "{message}"
        );
        assert!(!message.contains("pool c") && message.matches("delete Volumes or Images").count() == 3, "{message}");
        assert_eq!(judge(&[]).0, ConditionStatus::False);
    }
}
