//! Waiting for something that shall come true, with the last reason why it was not.

use std::time::{Duration, Instant};

/// Looks until `look` gives a value; panics with the last reason when it takes too long.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + limit;
    loop {
        match look() {
            Ok(value) => return value,
            Err(why) if Instant::now() > end => panic!("{what} did not happen within {} s: {why}", limit.as_secs()),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// Looks all the time given, and panics when `look` finds something wrong.
pub fn for_a_while(time: Duration, mut look: impl FnMut() -> Result<(), String>) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        if let Err(why) = look() {
            panic!("{why}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
