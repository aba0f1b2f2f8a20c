//! The processes of this program: who they are, the locks that say so, and the modes of the files they make.
//!
//! A process id that was written down means nothing by itself: the process may have ended and its number belong to
//! another one. So a process is always held by a pidfd ([`Process`]), and it is taken for the owner of a lock file only
//! while the kernel shows that it holds the lock on that very file ([`holder`]).

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod lock;
mod modes;
mod process;

pub use lock::{Lock, LockError, holder};
pub use modes::{PRIVATE_FILE, TRAVERSABLE_FOLDER, USUAL_UMASK, make_folder, make_private, private_umask, set_umask};
pub use process::{Process, Signal};
