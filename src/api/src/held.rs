//! Whether an object can be worked for: a controller holds it, so that it cannot be gone before it was released.

use kube::Resource;

/// Whether the object has a finalizer of ours. Before it has one it may be deleted without a word to anybody, and what a
/// host made for it would be left behind.
pub fn is_held<K: Resource>(object: &K) -> bool {
    object.meta().finalizers.iter().flatten().any(|finalizer| finalizer.starts_with("nubium.dev/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Host, HostSpec};

    #[test]
    fn only_a_finalizer_of_ours_holds() {
        let mut object = Host::new("any", HostSpec::default());
        assert!(!is_held(&object));
        object.metadata.finalizers = Some(vec!["foregroundDeletion".into()]);
        assert!(!is_held(&object));
        object.metadata.finalizers = Some(vec!["foregroundDeletion".into(), "nubium.dev/image".into()]);
        assert!(is_held(&object));
    }
}
