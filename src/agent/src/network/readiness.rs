//! Which Ports of this host a guest may use: said by the passes over Networks, asked by those over Servers.

use std::collections::HashMap;
use std::sync::Arc;

use nubium_runtime::Key;
use parking_lot::Mutex;

type Handler = Box<dyn Fn(&Key) + Send + Sync>;

/// Cloning gives another handle to the same knowledge.
#[derive(Clone, Default)]
pub struct Readiness(Arc<State>);

#[derive(Default)]
struct State {
    ready: Mutex<HashMap<Key, bool>>,
    handlers: Mutex<Vec<Handler>>,
}

impl Readiness {
    /// Whether the last look found everything of that Port in place.
    pub fn is_ready(&self, port: &Key) -> bool {
        self.0.ready.lock().get(port).copied().unwrap_or(false)
    }

    /// Records a look, and calls the subscribers when it differs.
    pub fn say(&self, port: Key, ready: bool) {
        if self.0.ready.lock().insert(port.clone(), ready) != Some(ready) {
            self.0.handlers.lock().iter().for_each(|handler| handler(&port));
        }
    }

    /// Calls `handler` with every Port whose readiness changes from now on.
    pub fn on_change(&self, handler: impl Fn(&Key) + Send + Sync + 'static) {
        self.0.handlers.lock().push(Box::new(handler));
    }
}
