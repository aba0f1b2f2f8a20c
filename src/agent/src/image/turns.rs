//! Turns at what a host does only a few of at a time, fairly between namespaces.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// How many turns there are at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    pub all: usize,
    /// Of one namespace: fewer than all, so that no namespace keeps every other waiting.
    pub each: usize,
}

/// Gives turns. Clones share them.
#[derive(Clone)]
pub(super) struct Turns(Arc<Inner>);

struct Inner {
    shares: Shares,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// Turns taken, by namespace.
    taken: BTreeMap<String, usize>,
    /// The namespaces that wait, by ticket.
    waiting: BTreeMap<u64, String>,
    next_ticket: u64,
}

/// A turn, until it is dropped.
pub(super) struct Turn {
    turns: Turns,
    namespace: String,
}

/// A place among those that wait, until it is dropped.
struct Ticket<'a> {
    turns: &'a Turns,
    number: u64,
}

impl Turns {
    pub(super) fn new(shares: Shares) -> Self {
        Self(Arc::new(Inner { shares, state: Mutex::default(), changed: Notify::new() }))
    }

    /// Waits for a turn.
    pub(super) async fn take(&self, namespace: &str) -> Turn {
        let number = {
            let mut state = self.0.state.lock();
            let number = state.next_ticket;
            state.next_ticket += 1;
            state.waiting.insert(number, namespace.to_owned());
            number
        };
        let _ticket = Ticket { turns: self, number };
        loop {
            let changed = self.0.changed.notified();
            {
                let mut state = self.0.state.lock();
                if state.first(self.0.shares) == Some(number) {
                    *state.taken.entry(namespace.to_owned()).or_default() += 1;
                    return Turn { turns: self.clone(), namespace: namespace.to_owned() };
                }
            }
            changed.await;
        }
    }
}

impl State {
    /// Whose turn it is: of the namespaces that have turns left the one that has taken the fewest, and in it who came first.
    fn first(&self, shares: Shares) -> Option<u64> {
        if self.taken.values().sum::<usize>() >= shares.all {
            return None;
        }
        let taken = |namespace: &String| self.taken.get(namespace).copied().unwrap_or_default();
        let may = self.waiting.iter().filter(|(_, namespace)| taken(namespace) < shares.each);
        may.min_by_key(|(number, namespace)| (taken(namespace), **number)).map(|(number, _)| *number)
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.turns.0.state.lock().waiting.remove(&self.number);
        self.turns.0.changed.notify_waiters();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.turns.0.state.lock();
        if let Some(taken) = state.taken.get_mut(&self.namespace) {
            *taken -= 1;
            if *taken == 0 {
                state.taken.remove(&self.namespace);
            }
        }
        drop(state);
        self.turns.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::BoxFuture;

    use super::*;

    const SHARES: Shares = Shares { all: 4, each: 2 };

    /// Who waits and who has a turn, moved by hand.
    struct World {
        turns: Turns,
        waiting: Vec<(&'static str, BoxFuture<'static, Turn>)>,
        has: Vec<(&'static str, Turn)>,
    }

    impl World {
        fn new() -> Self {
            Self { turns: Turns::new(SHARES), waiting: Vec::new(), has: Vec::new() }
        }

        fn come(&mut self, namespace: &'static str) {
            let turns = self.turns.clone();
            self.waiting.push((namespace, async move { turns.take(namespace).await }.boxed()));
            self.settle();
        }

        fn end(&mut self, at: usize) -> &'static str {
            let (namespace, _) = self.has.remove(at);
            self.settle();
            namespace
        }

        fn settle(&mut self) {
            loop {
                let mut ready = None;
                for (at, (_, take)) in self.waiting.iter_mut().enumerate() {
                    if let Some(turn) = take.now_or_never() {
                        ready = Some((at, turn));
                        break;
                    }
                }
                let Some((at, turn)) = ready else { return };
                let (namespace, _) = self.waiting.remove(at);
                self.has.push((namespace, turn));
            }
        }

        fn names(&self) -> Vec<&'static str> {
            self.has.iter().map(|(namespace, _)| *namespace).collect()
        }
    }

    #[test]
    fn one_namespace_never_has_every_turn() {
        let mut world = World::new();
        for _ in 0..20 {
            world.come("greedy");
        }
        assert_eq!(world.names(), ["greedy", "greedy"]);
        world.come("shop");
        assert_eq!(world.names(), ["greedy", "greedy", "shop"], "it waits for nobody");
    }

    #[test]
    fn who_has_fewer_turns_goes_first_and_among_equals_who_came_first() {
        let mut world = World::new();
        for namespace in ["a", "a", "b", "b", "a", "b", "c", "d", "c"] {
            world.come(namespace);
        }
        assert_eq!(world.names(), ["a", "a", "b", "b"]);
        assert_eq!(world.end(0), "a");
        assert_eq!(world.names(), ["a", "b", "b", "c"]);
        assert_eq!(world.end(1), "b");
        assert_eq!(world.names(), ["a", "b", "c", "d"]);
        assert_eq!(world.end(3), "d");
        assert_eq!(world.names(), ["a", "b", "c", "a"]);
    }

    #[test]
    fn who_gives_up_waiting_is_in_nobodys_way() {
        let mut world = World::new();
        for namespace in ["a", "a", "b", "b", "c", "d"] {
            world.come(namespace);
        }
        drop(world.waiting.remove(0));
        world.end(0);
        assert_eq!(world.names(), ["a", "b", "b", "d"]);
        world.waiting.clear();
        world.has.clear();
        assert!(world.turns.0.state.lock().waiting.is_empty() && world.turns.0.state.lock().taken.is_empty());
    }
}
