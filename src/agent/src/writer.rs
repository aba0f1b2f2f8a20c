//! The parts of statuses that this agent writes, as the runtime writes them.

use nubium_api::contract::Writer;
use nubium_runtime::StatusWriter;

/// A part that is this agent's alone.
pub(crate) const fn writer(writer: &Writer) -> StatusWriter<'static> {
    let Writer { manager, fields, conditions, .. } = *writer;
    StatusWriter { manager, fields, conditions, entry: None }
}

/// This host's entry in a list that every host has one in. `manager` is [`Writer::manager_on`] this host.
pub(crate) fn entry_writer<'a>(writer: &'a Writer, manager: &'a str, host: &'a str) -> StatusWriter<'a> {
    let entry = writer.entry.map(|list| (list, host));
    StatusWriter { manager, fields: writer.fields, conditions: writer.conditions, entry }
}
