//! The entries of `metadata.managedFields`.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
};

use serde_json::{Map, Value, json};

use super::times::seconds;
use crate::ownership::{
    Set,
    fieldpath::FieldsError,
    merge::{Managers, Owned},
};

/// What identifies an entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    pub manager: String,
    pub operation: Operation,
    /// Empty for apply: a manager that applies has one entry, whichever version it last applied.
    pub api_version: String,
    pub subresource: String,
}

impl Identity {
    /// One that no entry has.
    pub(super) fn nobody() -> Self {
        let (manager, api_version, subresource) = (String::new(), String::new(), String::new());
        Self { manager, operation: Operation::Update, api_version, subresource }
    }
}

/// How a manager writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Apply,
    Update,
}

/// As in conflict messages: `"kubectl-client-side-apply" using v1`, `"kubelet" with subresource "status" using v1`.
impl Display for Identity {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.manager)?;
        if !self.subresource.is_empty() {
            write!(f, " with subresource {:?}", self.subresource)?;
        }
        match self.operation {
            Operation::Apply => Ok(()),
            Operation::Update => write!(f, " using {}", self.api_version),
        }
    }
}

/// Why an entry cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    #[error("managed fields are not a list of objects")]
    NotAList,
    #[error("operation must be `Apply` or `Update`")]
    Operation,
    #[error("apiVersion must not be empty")]
    NoVersion,
    #[error("missing fieldsType in managed fields entry {0}")]
    NoFieldsType(usize),
    #[error("invalid fieldsType {found:?} in managed fields entry {index}")]
    FieldsType { index: usize, found: String },
    #[error("error decoding the set of managed fields entry {index}")]
    Fields { index: usize, source: FieldsError },
}

/// All entries of an object.
#[derive(Clone, Debug, Default)]
pub(super) struct Managed {
    pub owners: Managers<Identity>,
    /// When each last changed something, as its entry says it.
    pub times: BTreeMap<Identity, String>,
}

impl Managed {
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// Reads `metadata.managedFields`; null is none.
    pub fn read(entries: &Value) -> Result<Self, EntryError> {
        let entries = match entries {
            Value::Null => return Ok(Self::default()),
            Value::Array(entries) => entries,
            _ => return Err(EntryError::NotAList),
        };
        let mut managed = Self::default();
        for (index, entry) in entries.iter().enumerate() {
            let entry = entry.as_object().ok_or(EntryError::NotAList)?;
            managed.read_entry(index, entry)?;
        }
        Ok(managed)
    }

    fn read_entry(&mut self, index: usize, entry: &Map<String, Value>) -> Result<(), EntryError> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        let operation = match text("operation") {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err(EntryError::Operation),
        };
        let version = text("apiVersion");
        if version.is_empty() {
            return Err(EntryError::NoVersion);
        }
        match text("fieldsType") {
            "FieldsV1" => {}
            "" => return Err(EntryError::NoFieldsType(index)),
            found => return Err(EntryError::FieldsType { index, found: found.to_owned() }),
        }
        let set = match entry.get("fieldsV1") {
            None | Some(Value::Null) => Set::new(),
            Some(fields) => Set::from_fields(fields).map_err(|source| EntryError::Fields { index, source })?,
        };
        let identity = Identity {
            manager: text("manager").to_owned(),
            operation,
            api_version: if operation == Operation::Update { version.to_owned() } else { String::new() },
            subresource: text("subresource").to_owned(),
        };
        if let Some(time) = entry.get("time").and_then(Value::as_str) {
            self.times.insert(identity.clone(), time.to_owned());
        }
        let owned = Owned { set, version: version.to_owned(), applied: operation == Operation::Apply };
        self.owners.insert(identity, owned);
        Ok(())
    }

    /// The entries that an update starts from.
    pub fn of_update(live: Option<&Value>, new: &Value, subresource: bool) -> Self {
        let of_live = || live.and_then(|live| Self::read(&live["metadata"]["managedFields"]).ok()).unwrap_or_default();
        if subresource {
            return of_live();
        }
        let sent = &new["metadata"]["managedFields"];
        let reset = match sent.as_array().map(Vec::as_slice) {
            Some([]) => true,
            Some([Value::Object(entry)]) => entry.values().all(|value| value.is_null() || value == ""),
            _ => false,
        };
        match Self::read(sent) {
            _ if reset => Self::default(),
            Ok(managed) if !managed.is_empty() => managed,
            // Clients that do not know managedFields must not remove them.
            _ => of_live(),
        }
    }

    /// The entries as stored: applies first, then by time and manager.
    fn write(self) -> Vec<Value> {
        let Self { owners, times } = self;
        let mut owners: Vec<_> = owners.into_iter().collect();
        owners.sort_by_cached_key(|(identity, owned)| {
            let Identity { manager, operation, subresource, .. } = identity;
            let time = times.get(identity).map_or(0, |time| seconds(time));
            (*operation, time, manager.clone(), owned.version.clone(), subresource.clone())
        });
        let entries = owners.into_iter().map(|(identity, Owned { set, version, applied })| {
            let time = times.get(&identity).cloned().unwrap_or_default();
            let Identity { manager, subresource, .. } = identity;
            let operation = if applied { "Apply" } else { "Update" };
            let mut entry = Map::new();
            let texts = [
                ("apiVersion", version),
                ("fieldsType", "FieldsV1".to_owned()),
                ("manager", manager),
                ("operation", operation.to_owned()),
                ("subresource", subresource),
                ("time", time),
            ];
            for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
                entry.insert(name.to_owned(), Value::String(text));
            }
            entry.insert("fieldsV1".to_owned(), set.to_fields());
            Value::Object(entry)
        });
        entries.collect()
    }
}

/// Removes the entries from an object.
pub(super) fn take(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

/// Sets the entries of an object; none at all leaves the field out.
pub(super) fn put(object: &mut Value, managed: Managed) {
    take(object);
    if !managed.is_empty() {
        if !object["metadata"].is_object() {
            object["metadata"] = json!({});
        }
        object["metadata"]["managedFields"] = Value::Array(managed.write());
    }
}
