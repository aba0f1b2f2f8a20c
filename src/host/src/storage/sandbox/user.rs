//! The users that programs in the sandbox run as: another one for each run, so that no run can touch another's files.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use parking_lot::Mutex;

/// Above every range that distributions, systemd and containers give out, so that no other process of the host has them.
const FIRST: u32 = 1_900_000_000;
const COUNT: u32 = 1 << 16;

static USERS: LazyLock<Mutex<Users>> = LazyLock::new(|| {
    // Two processes of this program on one host begin at different places.
    let next = std::process::id().wrapping_mul(61) % COUNT;
    Mutex::new(Users { next, taken: BTreeSet::new() })
});

struct Users {
    next: u32,
    taken: BTreeSet<u32>,
}

/// A user, and a group of the same number, of one run alone for as long as this is held.
#[derive(Debug)]
pub(super) struct User(u32);

impl User {
    pub fn take() -> Self {
        let mut users = USERS.lock();
        // The next one, and never the one that was given back last: a process of it may still be on its way out.
        loop {
            let id = FIRST + users.next;
            users.next = (users.next + 1) % COUNT;
            if users.taken.insert(id) {
                return Self(id);
            }
        }
    }

    pub fn id(&self) -> u32 {
        self.0
    }
}

impl Drop for User {
    fn drop(&mut self) {
        USERS.lock().taken.remove(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_runs_have_one_user() {
        let held: Vec<User> = (0..100).map(|_| User::take()).collect();
        let ids: BTreeSet<u32> = held.iter().map(User::id).collect();
        assert_eq!(ids.len(), 100);
        assert!(ids.iter().all(|id| (FIRST..FIRST + COUNT).contains(id)));
        let last = ids.iter().max().copied();
        drop(held);
        assert_ne!(Some(User::take().id()), last, "what was just given back rests");
    }
}
