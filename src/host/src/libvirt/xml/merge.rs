//! Writes a [`DomainSpec`] into a definition: into the one that exists, or into an empty one.
//!
//! The definition is the guest's ABI. What stands in it and is not ours to say (the machine type that libvirt resolved at
//! the first start, an address it gave, what an admin added) stays; so a new version of this program, or of libvirt,
//! changes no guest's hardware.
//!
//! ```text
//! pcie.0 ─ 02.0 … 05.3  28 root ports, buses 1 … 28
//!          │            bus 1 + slot: a disk or a NIC       bus 28: the seed, so that it is the last disk
//!          ├ 08.0 virtio-serial (guest agent)   ├ 09.0 RNG   └ 0a.0 balloon
//! ```

use uuid::Uuid;

use super::Element;
use super::spec::{Accelerator, DiskFile, DiskSpec, DomainSpec, NicSpec, QemuIds, Slot, alias};
use crate::libvirt::record::METADATA_URI;

const ROOT_PORTS: u8 = 28;
const SEED_BUS: u8 = 28;
const SEED_TARGET: &str = "vdzz";
const SEED_ALIAS: &str = "ua-seed";

/// The definition for `want`, made from `seen`, the definition that exists (inactive XML).
#[must_use]
pub fn merge(want: &DomainSpec, seen: Option<&Element>) -> Element {
    let DomainSpec { owner, accelerator, vcpus, memory_bytes, disks, nics, seed, console_log, qemu } = want;
    let first = seen.is_none();
    let mut domain = seen.cloned().unwrap_or_else(|| Element::new("domain"));
    domain.set(
        "type",
        match accelerator {
            Accelerator::Kvm => "kvm",
            Accelerator::Tcg => "qemu",
        },
    );
    domain.entry("name").text = owner.domain_name();
    domain.entry("uuid").text = owner.uid.to_string();
    let mut record = owner.to_element("nubium:server");
    record.attributes.insert(0, ("xmlns:nubium".into(), METADATA_URI.into())); // as libvirt writes it
    domain.entry("metadata").put(record);
    set_kib(domain.entry("memory"), *memory_bytes);
    set_kib(domain.entry("currentMemory"), *memory_bytes);
    domain.entry("vcpu").text = vcpus.to_string();
    let os_type = domain.entry("os").entry("type");
    if first {
        os_type.set("arch", "x86_64");
        os_type.set("machine", "q35"); // libvirt writes down the version this means today
        os_type.text = "hvm".into();
        domain.put(Element::new("features").child(Element::new("acpi")).child(Element::new("apic")));
    }
    let cpu = match accelerator {
        Accelerator::Kvm => "host-passthrough",
        Accelerator::Tcg => "maximum",
    };
    if domain.at(&["cpu"], "mode") != Some(cpu) {
        domain.put(Element::new("cpu").with("mode", cpu));
    }
    domain.entry("clock").set("offset", "utc");
    for (event, action) in [("on_poweroff", "destroy"), ("on_reboot", "restart"), ("on_crash", "destroy")] {
        domain.entry(event).text = action.into();
    }
    let devices = domain.entry("devices");
    if first {
        fixed_devices(devices);
    }
    let console = devices.entry("serial");
    console.set("type", "pty");
    let log = console.entry("log");
    log.set("file", console_log.display());
    log.set("append", "on");
    if first {
        let model = Element::new("model").with("name", "isa-serial");
        console.put(Element::new("target").with("type", "isa-serial").with("port", 0).child(model));
    }
    merge_disks(devices, disks);
    merge_nics(devices, nics);
    merge_seed(devices, seed.as_ref().map(|path| path.display().to_string()));
    // Our files have the owners we gave them; libvirt must not give a shared base to a guest's QEMU.
    let QemuIds { uid, gid } = qemu;
    let label = Element::new("label").text(format!("+{uid}:+{gid}"));
    let dac = Element::new("seclabel").with("type", "static").with("model", "dac").with("relabel", "no").child(label);
    match domain.children.iter_mut().find(|child| child.name == "seclabel" && child.get("model") == Some("dac")) {
        Some(there) => *there = dac,
        None => domain.children.push(dac),
    }
    domain
}

fn set_kib(element: &mut Element, bytes: u64) {
    element.set("unit", "KiB");
    element.text = (bytes / 1024).to_string();
}

/// What every domain has once, at addresses that never change.
fn fixed_devices(devices: &mut Element) {
    devices.put(Element::new("emulator").text("/usr/bin/qemu-system-x86_64"));
    devices.children.push(controller("pci", 0).with("model", "pcie-root"));
    for bus in 1..=ROOT_PORTS {
        let place = bus - 1;
        let (slot, function) = (2 + place / 8, place % 8);
        let mut address = pci(0, slot, function);
        if function == 0 {
            address.set("multifunction", "on");
        }
        let target = Element::new("target").with("chassis", bus).with("port", format!("{:#x}", slot << 3 | function));
        let port = controller("pci", bus).with("model", "pcie-root-port");
        devices
            .children
            .push(port.child(Element::new("model").with("name", "pcie-root-port")).child(target).child(address));
    }
    devices.children.push(controller("virtio-serial", 0).child(pci(0, 8, 0)));
    devices.children.push(controller("usb", 0).with("model", "none"));
    let agent = Element::new("target").with("type", "virtio").with("name", "org.qemu.guest_agent.0");
    let place =
        Element::new("address").with("type", "virtio-serial").with("controller", 0).with("bus", 0).with("port", 1);
    devices.children.push(Element::new("channel").with("type", "unix").child(agent).child(place));
    let source = Element::new("backend").with("model", "random").text("/dev/urandom");
    devices.children.push(Element::new("rng").with("model", "virtio").child(source).child(pci(0, 9, 0)));
    devices.children.push(Element::new("memballoon").with("model", "virtio").child(pci(0, 10, 0)));
}

fn controller(kind: &str, index: u8) -> Element {
    Element::new("controller").with("type", kind).with("index", index)
}

fn pci(bus: u8, slot: u8, function: u8) -> Element {
    Element::new("address")
        .with("type", "pci")
        .with("domain", "0x0000")
        .with("bus", format!("{bus:#04x}"))
        .with("slot", format!("{slot:#04x}"))
        .with("function", format!("{function:#x}"))
}

fn behind_port(slot: Slot) -> Element {
    pci(slot.index() + 1, 0, 0)
}

fn is_ours(device: &Element) -> Option<&str> {
    device.at(&["alias"], "name").filter(|name| name.starts_with("ua-"))
}

/// The device of that alias; made by `make` where there is none.
fn device<'a>(devices: &'a mut Element, kind: &str, uid: Uuid, make: impl FnOnce() -> Element) -> &'a mut Element {
    let name = alias(uid);
    let found = devices.children.iter().position(|child| child.name == kind && is_ours(child) == Some(&name));
    let at = found.unwrap_or_else(|| {
        devices.children.push(make().child(Element::new("alias").with("name", &name)));
        devices.children.len() - 1
    });
    &mut devices.children[at]
}

/// Removes our devices of a kind that are no longer wanted. Devices that others added stay.
fn keep_only(devices: &mut Element, kind: &str, wanted: &[String]) {
    devices.children.retain(|child| {
        child.name != kind
            || is_ours(child).is_none_or(|name| name == SEED_ALIAS || wanted.iter().any(|uid| uid == name))
    });
}

fn merge_disks(devices: &mut Element, disks: &[DiskSpec]) {
    let wanted: Vec<String> = disks.iter().map(|disk| alias(disk.volume)).collect();
    keep_only(devices, "disk", &wanted);
    for (index, want) in disks.iter().enumerate() {
        let DiskSpec { volume, slot, file: DiskFile { path, format }, backing } = want;
        let disk =
            device(devices, "disk", *volume, || Element::new("disk").with("type", "file").with("device", "disk"));
        let driver = disk.entry("driver");
        driver.set("name", "qemu");
        driver.set("type", format.as_str());
        driver.set("cache", "none");
        driver.set("error_policy", "enospace");
        driver.set("rerror_policy", "report");
        driver.set("discard", "unmap");
        disk.entry("source").set("file", path.display());
        disk.put(chain(backing));
        let target = disk.entry("target");
        target.set("dev", target_name(*slot));
        target.set("bus", "virtio");
        disk.entry("serial").text = want.serial();
        if index == 0 {
            disk.entry("boot").set("order", 1);
        } else {
            disk.children.retain(|child| child.name != "boot");
        }
        disk.put(behind_port(*slot));
    }
}

/// The recorded chain, closed by an empty element: without it libvirt would look into the file.
fn chain(backing: &[DiskFile]) -> Element {
    let Some((DiskFile { path, format }, rest)) = backing.split_first() else { return Element::new("backingStore") };
    Element::new("backingStore")
        .with("type", "file")
        .child(Element::new("format").with("type", format.as_str()))
        .child(Element::new("source").with("file", path.display()))
        .child(chain(rest))
}

/// `vda` for slot 0 … `vdz`, `vdaa`. A label inside libvirt only: what the guest sees follows the address.
fn target_name(slot: Slot) -> String {
    let letter = |index: u8| char::from(b'a' + index);
    match slot.index() {
        index @ 0..26 => format!("vd{}", letter(index)),
        index => format!("vda{}", letter(index - 26)),
    }
}

fn merge_nics(devices: &mut Element, nics: &[NicSpec]) {
    let wanted: Vec<String> = nics.iter().map(|nic| alias(nic.port)).collect();
    keep_only(devices, "interface", &wanted);
    for NicSpec { port, slot, mac, tap, mtu } in nics {
        let nic = device(devices, "interface", *port, || Element::new("interface").with("type", "ethernet"));
        nic.entry("mac").set("address", mac);
        let target = nic.entry("target");
        target.set("dev", tap);
        target.set("managed", "no");
        nic.entry("model").set("type", "virtio");
        nic.entry("mtu").set("size", mtu);
        nic.put(behind_port(*slot));
    }
}

fn merge_seed(devices: &mut Element, path: Option<String>) {
    let Some(path) = path else {
        devices.children.retain(|child| child.name != "disk" || is_ours(child) != Some(SEED_ALIAS));
        return;
    };
    let found = devices.children.iter().position(|child| child.name == "disk" && is_ours(child) == Some(SEED_ALIAS));
    let at = found.unwrap_or_else(|| {
        let driver = Element::new("driver").with("name", "qemu").with("type", "raw");
        let target = Element::new("target").with("dev", SEED_TARGET).with("bus", "virtio");
        let disk = Element::new("disk").with("type", "file").with("device", "disk").child(driver);
        let disk = disk.child(Element::new("source")).child(chain(&[])).child(target);
        let disk = disk.child(Element::new("readonly")).child(Element::new("alias").with("name", SEED_ALIAS));
        devices.children.push(disk.child(pci(SEED_BUS, 0, 0)));
        devices.children.len() - 1
    });
    devices.children[at].entry("source").set("file", path);
}
