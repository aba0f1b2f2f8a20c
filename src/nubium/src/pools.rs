//! The storage pools of a cloud whose API server does not run: read from its store.

use std::path::{Path, PathBuf};

use nubium_store::{Range, SqliteStore, Store};
use serde_json::Value;

/// Where the store has the StoragePools.
const PREFIX: &str = "/registry/nubium.dev/storagepools/";

/// The pools whose folders are not below the state folder, by name. None when there is no store here that can be read:
/// on a host that has only an agent, or when the store is damaged.
pub async fn elsewhere(state: &Path) -> Vec<(String, PathBuf)> {
    let path = state.join("store.db");
    if !path.exists() {
        return Vec::new();
    }
    let listed = match SqliteStore::open(&path) {
        Ok(store) => store.range(Range::all(PREFIX)).await,
        Err(error) => Err(error),
    };
    let listed = listed.inspect_err(|error| tracing::warn!(%error, "cannot read which pools there are"));
    let objects = listed.map(|page| page.objects).unwrap_or_default();
    let folder = |value: &[u8]| -> Option<PathBuf> {
        let pool: Value = serde_json::from_slice(value).ok()?;
        Some(PathBuf::from(pool["spec"]["directory"]["path"].as_str()?))
    };
    let named = objects.iter().filter_map(|object| {
        let name = object.key.strip_prefix(PREFIX)?.to_owned();
        Some((name, folder(&object.value).filter(|folder| !folder.starts_with(state) && folder.exists())?))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use nubium_store::Expect;

    use super::*;

    #[tokio::test]
    async fn pools_outside_the_state_folder_are_named() {
        let (state, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert!(elsewhere(state.path()).await.is_empty());
        let store = SqliteStore::open(&state.path().join("store.db")).unwrap();
        let inside = state.path().join("pools/x");
        for (name, path) in [("fast", disk.path()), ("inside", &inside), ("gone", Path::new("/does/not/exist"))] {
            let pool = serde_json::json!({"spec": {"directory": {"path": path}}}).to_string();
            store.write(&format!("{PREFIX}{name}"), Expect::Absent, Some(pool.into()), None).await.unwrap();
        }
        let plain = serde_json::json!({"spec": {"directory": {}}}).to_string();
        store.write(&format!("{PREFIX}default"), Expect::Absent, Some(plain.into()), None).await.unwrap();
        drop(store);
        assert_eq!(elsewhere(state.path()).await, [("fast".to_owned(), disk.path().to_owned())]);
    }
}
