//! The objects of one kind, in memory, with their indexes. No I/O.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use kube::{Resource, ResourceExt};

use crate::Key;

/// The words under which an object is filed.
type Values<K> = Box<dyn Fn(&K) -> Vec<String> + Send + Sync>;

pub(super) struct Index<K> {
    pub name: &'static str,
    pub values: Values<K>,
}

/// An index with what is filed in it.
struct Filed<K> {
    index: Index<K>,
    keys: HashMap<String, BTreeSet<Key>>,
}

/// A change of one object: what it was, what it is.
pub(super) type Change<K> = (Option<Arc<K>>, Option<Arc<K>>);

pub(super) struct Cache<K> {
    objects: BTreeMap<Key, Arc<K>>,
    indexes: Vec<Filed<K>>,
}

impl<K: Resource<DynamicType = ()>> Cache<K> {
    pub fn new(indexes: Vec<Index<K>>) -> Self {
        let indexes = indexes.into_iter().map(|index| Filed { index, keys: HashMap::new() }).collect();
        Self { objects: BTreeMap::new(), indexes }
    }

    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.objects.get(key).cloned()
    }

    pub fn list(&self) -> Vec<Arc<K>> {
        self.objects.values().cloned().collect()
    }

    pub fn by(&self, index: &str, value: &str) -> Vec<Arc<K>> {
        let filed = self.indexes.iter().find(|filed| filed.index.name == index);
        let keys = &filed.expect("the index was named to the builder").keys;
        keys.get(value).into_iter().flatten().filter_map(|key| self.objects.get(key).cloned()).collect()
    }

    /// Takes in an object as the API server has it now; None when nothing changed.
    pub fn put(&mut self, mut object: K) -> Option<Change<K>> {
        slim(&mut object);
        let key = Key::of(&object);
        let old = self.objects.get(&key).cloned();
        if let Some(old) = &old {
            if old.resource_version().is_some() && old.resource_version() == object.resource_version() {
                return None;
            }
            self.unfile(&key, old);
        }
        let new = Arc::new(object);
        for Filed { index, keys } in &mut self.indexes {
            for value in (index.values)(&new) {
                keys.entry(value).or_default().insert(key.clone());
            }
        }
        self.objects.insert(key, new.clone());
        Some((old, Some(new)))
    }

    /// Forgets an object; None when it was not there.
    pub fn remove(&mut self, key: &Key) -> Option<Change<K>> {
        let old = self.objects.remove(key)?;
        self.unfile(key, &old);
        Some((Some(old), None))
    }

    /// Forgets what a complete list did not name.
    pub fn retain(&mut self, listed: &BTreeSet<Key>) -> Vec<Change<K>> {
        let stale: Vec<Key> = self.objects.keys().filter(|key| !listed.contains(key)).cloned().collect();
        stale.iter().filter_map(|key| self.remove(key)).collect()
    }

    fn unfile(&mut self, key: &Key, object: &K) {
        for Filed { index, keys } in &mut self.indexes {
            for value in (index.values)(object) {
                if let Some(filed) = keys.get_mut(&value) {
                    filed.remove(key);
                    if filed.is_empty() {
                        keys.remove(&value);
                    }
                }
            }
        }
    }
}

/// Drops what nobody here reads and is often larger than the rest.
fn slim<K: Resource>(object: &mut K) {
    let meta = object.meta_mut();
    meta.managed_fields = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        if annotations.is_empty() {
            meta.annotations = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn map(name: &str, version: &str, colour: &str) -> ConfigMap {
        let json = serde_json::json!({
            "metadata": {"namespace": "shop", "name": name, "resourceVersion": version, "managedFields": [{"manager": "x"}]},
            "data": {"colour": colour},
        });
        serde_json::from_value(json).unwrap()
    }

    fn cache() -> Cache<ConfigMap> {
        let colour = |map: &ConfigMap| map.data.iter().flatten().map(|(_, colour)| colour.clone()).collect();
        Cache::new(vec![Index { name: "colour", values: Box::new(colour) }])
    }

    fn names(objects: Vec<Arc<ConfigMap>>) -> Vec<String> {
        objects.iter().map(|object| object.name_any()).collect()
    }

    #[test]
    fn an_object_is_found_under_what_it_says_now_and_no_longer_under_what_it_said() {
        let mut cache = cache();
        cache.put(map("a", "1", "red"));
        cache.put(map("b", "2", "red"));
        let (old, new) = cache.put(map("a", "3", "blue")).unwrap();
        assert_eq!(old.unwrap().data.as_ref().unwrap()["colour"], "red");
        assert_eq!(new.unwrap().metadata.managed_fields, None);
        assert_eq!(names(cache.by("colour", "red")), ["b"]);
        assert_eq!(names(cache.by("colour", "blue")), ["a"]);
    }

    #[test]
    fn the_same_version_again_is_no_change() {
        let mut cache = cache();
        assert!(cache.put(map("a", "1", "red")).is_some());
        assert!(cache.put(map("a", "1", "red")).is_none());
    }

    #[test]
    fn what_a_new_list_does_not_name_is_reported_as_gone() {
        let mut cache = cache();
        cache.put(map("a", "1", "red"));
        cache.put(map("b", "2", "red"));
        let gone = cache.retain(&BTreeSet::from([Key::new("shop", "b")]));
        assert_eq!(gone.len(), 1);
        assert!(gone[0].1.is_none());
        assert_eq!(names(cache.by("colour", "red")), ["b"]);
        assert!(cache.remove(&Key::new("shop", "a")).is_none());
    }
}
