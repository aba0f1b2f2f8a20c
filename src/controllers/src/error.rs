//! What can go wrong in a pass: a call to the API server.

use kube::Resource;
use nubium_runtime::{Key, PassError, Wait, already_exists, conflict, not_found, refused};

/// Why a pass could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {verb} {kind} {key}")]
    Call { verb: &'static str, kind: String, key: Key, source: kube::Error },
}

impl Error {
    /// Whether the API server will refuse it again: nothing but a change of something helps.
    pub fn is_refused(&self) -> bool {
        let Self::Call { source, .. } = self;
        refused(source)
    }
}

impl PassError for Error {
    fn wait(&self) -> Wait {
        let Self::Call { source, .. } = self;
        if conflict(source) || already_exists(source) || not_found(source) || namespace_ends(source) {
            Wait::Event
        } else {
            Wait::Backoff
        }
    }
}

/// Names the call that an error of kube's comes from: `.map_err(calling::<Port>("create", &key))`.
pub(crate) fn calling<K: Resource<DynamicType = ()>>(
    verb: &'static str,
    key: &Key,
) -> impl FnOnce(kube::Error) -> Error + use<K> {
    let key = key.clone();
    move |source| Error::Call { verb, kind: K::kind(&()).to_lowercase(), key, source }
}

/// Whether a create was refused because its namespace is being deleted: then so is what asked for it.
fn namespace_ends(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == 403 && causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}
