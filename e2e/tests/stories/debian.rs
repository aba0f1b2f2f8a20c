//! A real distribution, with the real cloud-init.

use nubium_e2e::cloud::Cloud;
use nubium_e2e::space::Space;

use crate::yaml::network;

pub fn takes_its_keys_and_user_data(cloud: &mut Cloud) {
    let space = Space::create(cloud, "debian");
    space.apply(&network("blue", "10.77.30.0/24", ", hostAccess: true"));
    space.apply(
        "{apiVersion: nubium.dev/v1alpha1, kind: Image, metadata: {name: debian}, \
         spec: {source: {file: {path: debian.qcow2}}, defaultUser: debian}}",
    );
    space.apply(
        "{apiVersion: v1, kind: Secret, metadata: {name: web-1}, stringData: {user-data: \
         \"#cloud-config\\nwrite_files:\\n- {path: /etc/nubium-was-here, content: told}\\n\"}}",
    );
    space.apply(
        "{apiVersion: nubium.dev/v1alpha1, kind: Server, metadata: {name: web-1}, spec: {\
         resources: {cpu: 2, memory: 1Gi}, disks: [{name: root, image: debian, size: 4Gi}], \
         nics: [{name: eth0, network: blue}], cloudInit: {sshAuthorizedKeysFrom: [{name: ssh-keys}], \
         userDataFrom: {secretKeyRef: {name: web-1, key: user-data}}}}}",
    );
    // sshd answers before cloud-init is through.
    let said = space.ssh("web-1", "cloud-init status --wait >/dev/null; hostname; whoami; cat /etc/nubium-was-here");
    assert_eq!(said.lines().collect::<Vec<_>>(), ["web-1", "debian", "told"]);
    assert_eq!(space.ssh("web-1", "sudo id -u"), "0");
    let root: u64 = space.ssh("web-1", "df --output=size -B1 / | tail -1").trim().parse().expect("a number of bytes");
    assert!(root > 3 << 30, "its file system grew with the disk: {root}");
    space.delete_and_wait("servers/web-1");
}
