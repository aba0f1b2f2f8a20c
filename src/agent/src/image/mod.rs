//! The Images of this host: each is fetched at once into the pool `default`, and into another when a Volume here needs it.
//!
//! ```text
//!            ┌───────── due again ─────────┐
//!            ▼                             │
//!  Idle ── Start ──▶ Running ──▶ Failed ───┘      a download error, a slow source, a wrong checksum, a full pool
//!   ▲                  │  │
//!   │                  │  └────▶ Unsafe           verified bytes that must not be used: only another Image helps
//!   └── file is there ◀┘
//! ```
//! | presence | file | import | step |
//! |---|---|---|---|
//! | Present | no | Idle, Failed and due | Start |
//! | Present, Keep | yes | any | – |
//! | Gone | any | Running | Stop |
//! | Gone | yes | not running | Delete |
//! | Gone | no | not running | – (released) |

mod apply;
mod desired;
mod imports;
mod observe;
mod pass;
mod plan;
mod status;
#[cfg(test)]
mod tests;
mod turns;

use nubium_host::storage::image::Images;

pub use crate::presence::Presence;
pub use desired::{Desired, Invalid, file_of};
pub use imports::{Import, Imports, Waits};
pub use observe::Seen;
pub use pass::{Context, run};
pub use plan::{Step, next};
pub use status::{Looked, entry};
pub use turns::Shares;

/// More than the longest way through the table: stop, delete, look.
const STEPS: usize = 3;

/// Brings one pool closer to the presence and looks again. What runs on (an import) wakes the key when it ends.
pub async fn converge<I: Images + Clone + 'static>(
    want: &Desired,
    pool: &str,
    images: &I,
    imports: &Imports,
) -> Looked {
    let mut seen = observe::observe(want, pool, images, imports).await?;
    for _ in 0..STEPS {
        let Some(step) = next(want.presence, &seen) else { break };
        apply::apply(step, want, pool, images, imports).await?;
        seen = observe::observe(want, pool, images, imports).await?;
    }
    Ok(seen)
}
