//! Images that must not be taken, and those that must.

use std::collections::BTreeMap;

use nubium_e2e::cloud::Cloud;
use nubium_e2e::json::condition;
use nubium_e2e::machine::run;
use nubium_e2e::space::Space;
use nubium_e2e::web::{Page, serve};

use crate::yaml::image;

/// Applies an Image and waits until it says no, for that reason and with those words.
fn refused(space: &Space<'_>, name: &str, spec: &str, reason: &str, words: &str) {
    space.apply(&image(name, spec));
    let why = space.reason(&format!("images/{name}"), reason);
    assert!(why.contains(words), "{name} does not say {words:?}: {why}");
}

fn stalled(space: &Space<'_>, name: &str) -> bool {
    let seen = space.get(&format!("images/{name}")).expect("it is there");
    condition(&seen, "Stalled").is_some_and(|stalled| stalled["status"] == "True")
}

pub fn are_inspected_before_anything_opens_them(cloud: &mut Cloud) {
    let shop = Space::create(cloud, "images");
    let folder = cloud.image_folder();
    let path = |name: &str| folder.join(name).display().to_string();
    let file = |name: &str| format!("{{source: {{file: {{path: {name:?}}}}}}}");
    std::fs::write(path("secret"), vec![b's'; 1 << 16]).expect("the folder is ours");

    // Outside the folder, by dots or by a link.
    std::os::unix::fs::symlink("/etc/passwd", path("link.raw")).expect("the folder is ours");
    shop.apply(&image("dots", &file("../admin.kubeconfig")));
    shop.apply(&image("link", &file("link.raw")));
    // A header that names another file: the host's, in a qcow2 and at the start of what would be taken as raw.
    run("qemu-img", &["create", "-q", "-f", "qcow2", "-b", &path("secret"), "-F", "raw", &path("backed.qcow2")])
        .expect("qemu-img");
    let mut posing = std::fs::read(path("backed.qcow2")).expect("just made");
    posing.resize(1 << 20, 0);
    std::fs::write(path("posing.raw"), posing).expect("the folder is ours");
    let data = format!("data_file={},data_file_raw=on", path("data.raw"));
    run("qemu-img", &["create", "-q", "-f", "qcow2", "-o", &data, &path("data.qcow2"), "1M"]).expect("qemu-img");
    for name in ["backed.qcow2", "posing.raw", "data.qcow2"] {
        // The publisher of a file without a checksum may put it right; what matches its checksum stays what it is.
        let plain = name.replace('.', "-");
        refused(&shop, &plain, &file(name), "NotAnImage", "file");
        assert!(!stalled(&shop, &plain), "{name} may be replaced");
        let sum = run("sha256sum", &[&path(name)]).expect("sha256sum works");
        let sum = sum.split(' ').next().expect("a sum");
        let known = format!("{plain}-known");
        let spec = format!("{{source: {{file: {{path: {name:?}}}}}, checksum: {{sha256: {sum:?}}}}}");
        refused(&shop, &known, &spec, "UnsafeImage", "file");
        assert!(stalled(&shop, &known), "{name}: only another spec can help");
    }
    for image in ["dots", "link"] {
        let seen = shop.wait(&format!("images/{image}"), "Ready", "False");
        assert_eq!(condition(&seen, "Ready").expect("waited for")["reason"], "SourceRefused", "{}", seen["status"]);
    }
    refused(&shop, "absent", &file("absent.qcow2"), "NotFound", "absent.qcow2");

    // A plain raw disk is taken as one.
    run("qemu-img", &["create", "-q", "-f", "raw", &path("plain.raw"), "1M"]).expect("qemu-img");
    shop.apply(&image("plain", &file("plain.raw")));
    shop.ready("images/plain");
}

pub fn are_fetched_only_from_where_they_may(cloud: &mut Cloud) {
    let shop = Space::create(cloud, "fetched");
    let path = cloud.state().join("more-images/fetched.qcow2");
    run("qemu-img", &["create", "-q", "-f", "qcow2", &path.display().to_string(), "8M"]).expect("qemu-img");
    let good = std::fs::read(&path).expect("just made");
    let sha = run("sha256sum", &[&path.display().to_string()]).expect("sha256sum works");
    let sha = sha.split(' ').next().expect("a sum").to_owned();
    let pages = BTreeMap::from([
        ("/good".to_owned(), Page::Bytes(good.clone())),
        ("/half".to_owned(), Page::Half(good)),
        ("/moved".to_owned(), Page::Redirect("/good".into())),
        ("/inside".to_owned(), Page::Redirect("http://169.254.169.254/latest/meta-data".into())),
    ]);
    let web = serve(None, "127.0.0.1:0", pages).expect("the host serves");
    let http = |url: &str, sha: &str| format!("{{source: {{http: {{url: {url:?}}}}}, checksum: {{sha256: {sha:?}}}}}");
    let here = |path: &str, sha: &str| http(&format!("http://{web}{path}"), sha);

    refused(&shop, "wrong", &here("/good", &"0".repeat(64)), "ChecksumMismatch", &sha);
    assert!(!stalled(&shop, "wrong"), "a publisher may put it right");
    refused(&shop, "gone", &here("/gone", &sha), "NotFound", "404");
    refused(&shop, "half", &here("/half", &sha), "DownloadFailed", "");
    refused(&shop, "metadata", &http("http://169.254.169.254/x", &sha), "SourceRefused", "169.254.169.254");
    refused(&shop, "inside", &here("/inside", &sha), "SourceRefused", "169.254.169.254");
    let without = format!("{{source: {{http: {{url: \"http://{web}/good\"}}}}}}");
    let why = shop.refused(&image("blind", &without));
    assert!(why.contains("needs checksum"), "{why}");

    shop.apply(&image("good", &here("/good", &sha)));
    shop.apply(&image("moved", &here("/moved", &sha)));
    shop.ready("images/good");
    shop.ready("images/moved");
    for name in ["wrong", "gone", "half", "metadata", "inside", "good", "moved", "tiny"] {
        shop.delete_and_wait(&format!("images/{name}"));
    }
    assert_eq!(shop.left_over(), Vec::<String>::new());
}
