//! YAML as people write it.

/// A Server with one disk from the tiny image and one NIC, as a newcomer writes it.
pub fn server(name: &str, network: &str) -> String {
    server_with(name, network, "", "")
}

/// The same, with `disks` after the first (", {…}") and `more` fields of the spec (", field: …").
pub fn server_with(name: &str, network: &str, disks: &str, more: &str) -> String {
    format!(
        "{{apiVersion: nubium.dev/v1alpha1, kind: Server, metadata: {{name: {name}}}, spec: {{\
         flavor: nano, disks: [{{name: root, image: tiny}}{disks}], nics: [{{name: eth0, network: {network}}}], \
         cloudInit: {{sshAuthorizedKeysFrom: [{{name: ssh-keys}}]}}{more}}}}}"
    )
}

/// A Server that has everything and is never started.
pub fn stopped(name: &str, network: &str) -> String {
    server_with(name, network, "", ", powerState: Stopped")
}

/// A Network; `more` are fields of the spec.
pub fn network(name: &str, cidr: &str, more: &str) -> String {
    format!(
        "{{apiVersion: nubium.dev/v1alpha1, kind: Network, metadata: {{name: {name}}}, \
         spec: {{subnets: [{{name: v4, cidr: {cidr}}}]{more}}}}}"
    )
}

/// A blank Volume.
pub fn volume(name: &str, size: &str) -> String {
    format!("{{apiVersion: nubium.dev/v1alpha1, kind: Volume, metadata: {{name: {name}}}, spec: {{size: {size}}}}}")
}

/// An Image with that spec.
pub fn image(name: &str, spec: &str) -> String {
    format!("{{apiVersion: nubium.dev/v1alpha1, kind: Image, metadata: {{name: {name}}}, spec: {spec}}}")
}
