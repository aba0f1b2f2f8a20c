//! The kinds of Nubium: what users write (`spec`), what is reported back (`status`), and the pure rules about both.
//!
//! No I/O lives here. `crds()` turns these types into the CustomResourceDefinitions in `crds/`; the doc comment of a
//! field is what `kubectl explain` prints, so it is written for the person who fills the field in.

// kube reads one printcolumn attribute per column; clippy takes their common fields for repetition.
#![allow(clippy::duplicated_attributes)]

mod address_range;
mod cloud_settings;
mod condition;
pub mod contract;
mod crd;
mod flavor;
mod held;
mod host;
mod image;
mod ip_address;
mod kind;
mod made_for;
mod network;
mod port;
mod quantity;
mod server;
mod storage_pool;
mod subnet;
#[cfg(test)]
mod tests;
mod volume;
mod whole;

pub use address_range::{AddressRange, AddressRangeSpec, AddressRangeStatus, address_range_name};
pub use cloud_settings::{
    CLOUD_SETTINGS, CloudSettings, CloudSettingsSpec, CloudSettingsStatus, DEFAULT_RANGE, HostAccessRanges,
    NetworkSettings,
};
pub use condition::{Condition, ConditionStatus, LONGEST_HOST_MESSAGE, at_most, condition};
pub use crd::crds;
pub use flavor::{Flavor, FlavorSpec, FlavorStatus};
pub use held::is_held;
pub use host::{
    Acceleration, HOSTS_NAMESPACE, Host, HostAddress, HostCapacity, HostPool, HostSoftware, HostSpec, HostStatus,
    UnavailablePool, host_namespace,
};
pub use image::{Checksum, FileSource, HttpSource, Image, ImageHost, ImageSource, ImageSpec, ImageStatus};
pub use ip_address::{IPAddress, IPAddressSpec, IPAddressStatus, ip_address_name};
pub use kind::Kind;
pub use made_for::MadeFor;
pub use network::{
    AddressPool, DEFAULT_MTU, Egress, EgressType, Network, NetworkHost, NetworkSpec, NetworkStatus, NetworkSubnet,
    Subnet,
};
pub use port::{Port, PortAddress, PortSpec, PortStatus};
pub use quantity::{CpuCount, Quantity, QuantityError};
pub use server::{
    Blank, CloudInit, ConfigMapRef, Device, Disk, Nic, PowerState, Resources, Scheduling, SecretKeyRef, Server,
    ServerAddress, ServerResources, ServerSpec, ServerStatus, UserDataSource, child_name,
};
pub use storage_pool::{DirectoryPool, StoragePool, StoragePoolSpec, StoragePoolStatus};
pub use subnet::{AddressRefusal, Allocation, SubnetError, SubnetRange};
pub use volume::{AttachedTo, DeletionPolicy, Volume, VolumeSpec, VolumeStatus};

use kind::AnyKind;

/// Every kind, in the order in which a person would read them.
static KINDS: &[AnyKind] = &[
    AnyKind::of::<Server>(),
    AnyKind::of::<Volume>(),
    AnyKind::of::<Network>(),
    AnyKind::of::<Image>(),
    AnyKind::of::<Port>(),
    AnyKind::of::<IPAddress>(),
    AnyKind::of::<AddressRange>(),
    AnyKind::of::<Flavor>(),
    AnyKind::of::<StoragePool>(),
    AnyKind::of::<Host>(),
    AnyKind::of::<CloudSettings>(),
];

/// The API group of every kind here.
pub const GROUP: &str = "nubium.dev";
/// The served and stored version of every kind here.
pub const VERSION: &str = "v1alpha1";
/// The pool an object uses when it names none.
pub const DEFAULT_POOL: &str = "default";
