//! Bad input and bad luck.

use std::collections::HashMap;
use std::os::unix::fs::symlink;

use super::server::{Answer, Server, Then, short};
use super::*;

async fn refused(world: &World, path: &str) -> String {
    match world.import_file(path).await {
        Err(ImportError::Refused(why)) => {
            world.assert_nothing_came().await;
            why.to_string()
        }
        other => panic!("{path}: {other:?}"),
    }
}

#[tokio::test]
async fn the_wrong_bytes_are_thrown_away() {
    let world = World::new();
    world.put("disk.img", &raw_disk());
    let error = world.import(&Source::File { path: "disk.img".into() }, Some(&sha256(b"other"))).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&sha256(b"other").to_string()) && text.contains(&sha256(&raw_disk()).to_string()), "{text}");
    world.assert_nothing_came().await;
}

#[tokio::test]
async fn an_image_over_a_file_of_the_host_is_refused() {
    let world = World::new();
    let sources = world.folder.path().join("sources");
    let unsafe_options: [(&str, &[&str]); 3] = [
        ("backing", &["-u", "-b", "/etc/shadow", "-F", "raw"]),
        ("old", &["-u", "-b", "/etc/shadow", "-F", "raw", "-o", "compat=0.10"]),
        ("json", &["-u", "-b", "json:{\"driver\":\"file\",\"filename\":\"/etc/shadow\"}", "-F", "raw"]),
    ];
    for (name, options) in unsafe_options {
        let path = sources.join(name);
        let made =
            Command::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).args(options).arg(&path).arg("1M").status();
        assert!(made.unwrap().success(), "{name}");
        assert!(refused(&world, name).await.contains("/etc/shadow"), "{name}");
    }
    let data = format!("data_file={},data_file_raw=on", world.folder.path().join("data").display());
    let made = Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-o", &data])
        .arg(sources.join("data"))
        .arg("1M")
        .status();
    assert!(made.unwrap().success());
    assert!(refused(&world, "data").await.contains("another file"));
}

#[tokio::test]
async fn a_raw_disk_that_begins_as_a_qcow2_is_refused_for_what_that_names() {
    let world = World::new();
    let header = world.folder.path().join("sources/header");
    let made = Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-u", "-b", "/etc/shadow", "-F", "raw"])
        .arg(&header)
        .arg("1M")
        .status();
    assert!(made.unwrap().success());
    let mut disk = raw_disk();
    let bytes = fs::read(&header).unwrap();
    disk[..bytes.len()].copy_from_slice(&bytes);
    world.put("disk.img", &disk);
    assert!(refused(&world, "disk.img").await.contains("/etc/shadow"));
}

#[tokio::test]
async fn what_is_no_disk_is_refused_by_name() {
    let world = World::new();
    world.put("empty", b"");
    world.put("page", "<html>not found</html>".repeat(100).as_bytes());
    world.put("odd", &raw_disk()[..MIB + 1]);
    world.put("packed.gz", &[b"\x1f\x8b\x08\0", &[7u8; 1020][..]].concat());
    for (path, why) in [("empty", "empty"), ("page", "text"), ("odd", "multiple of 512"), ("packed.gz", "gzip")] {
        let said = refused(&world, path).await;
        assert!(said.contains(why), "{path}: {said}");
    }
}

/// A qcow2 of a disk in which every cluster is used, made with these options.
fn full_qcow2(world: &World, options: &[&str]) -> Vec<u8> {
    let mut disk = raw_disk();
    disk.iter_mut().skip(512).for_each(|byte| *byte |= 1);
    let raw = world.put("raw", &disk[..disk.len() - 512]);
    let path = world.folder.path().join("sources/whole");
    qemu_img(&[&["convert", "-f", "raw", "-O", "qcow2"], options].concat(), &[&raw, &path]);
    fs::read(&path).unwrap()
}

#[tokio::test]
async fn a_qcow2_that_is_cut_anywhere_is_refused() {
    let options: [&[&str]; 5] = [
        &[],
        &["-c"],
        &["-o", "cluster_size=4k"],
        &["-o", "extended_l2=on,cluster_size=128k"],
        &["-o", "preallocation=metadata"],
    ];
    for options in options {
        let world = World::new();
        let bytes = full_qcow2(&world, options);
        world.put("image.qcow2", &bytes);
        world.import_file("image.qcow2").await.unwrap_or_else(|error| panic!("{options:?}: {error:?}"));
        world.importer.delete(&image()).await.unwrap();
        // The disk ends a sector before its last cluster does: with two sectors less, one of its own is missing.
        for left in [bytes.len() - 1024, bytes.len() * 9 / 10, bytes.len() / 2, 200 << 10] {
            world.put("image.qcow2", &bytes[..left]);
            let error = world.import_file("image.qcow2").await.expect_err("it is cut");
            let said = matches!(&error, ImportError::Refused(Refused::Short { .. } | Refused::Malformed(_)));
            let cut_compressed =
                options == ["-c"] && matches!(error, ImportError::Convert(_) | ImportError::Refused(_));
            assert!(said || cut_compressed, "{options:?} cut to {left} of {}: {error:?}", bytes.len());
            world.assert_nothing_came().await;
        }
    }
}

#[tokio::test]
async fn damaged_tables_are_refused_though_convert_would_end_well() {
    let world = World::new();
    let bytes = full_qcow2(&world, &[]);
    let number = |bytes: &[u8], at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
    let place = |offset: u64| usize::try_from(offset & 0x00ff_ffff_ffff_fe00).unwrap();
    let l1 = place(number(&bytes, 40));
    let l2 = place(number(&bytes, l1));
    let mut beyond = bytes.clone();
    beyond[l1..l1 + 8].copy_from_slice(&0x8000_7fff_ffff_0200u64.to_be_bytes());
    let mut twice = bytes.clone();
    twice.copy_within(l2..l2 + 8, l2 + 8);
    for (name, bytes) in [("beyond", beyond), ("twice", twice)] {
        world.put(name, &bytes);
        let said = refused(&world, name).await;
        assert!(said.contains("cut short") || said.contains("damaged"), "{name}: {said}");
    }
}

#[tokio::test]
async fn a_file_that_somebody_writes_to_is_read_later() {
    let world = World::new();
    let path = world.put("disk.img", &raw_disk()[..MIB]);
    let writer = fs::OpenOptions::new().append(true).open(&path).unwrap();
    let error = world.import_file("disk.img").await.unwrap_err();
    assert!(matches!(error, ImportError::File(FileError::BeingWritten { .. })), "{error:?}");
    world.assert_nothing_came().await;
    std::io::Write::write_all(&mut &writer, &raw_disk()[MIB..]).unwrap();
    drop(writer);
    assert_eq!(world.import_file("disk.img").await.unwrap().length, 4 * MIB as u64);
    assert_same_disk(&world.pool.image_path(&image()), &raw_disk());
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_read_is_read_later() {
    let world = World::new();
    let path = world.put("disk.img", &[&raw_disk()[..], &vec![0xee; 256 * MIB]].concat());
    let mut progress = world.progress.subscribe();
    let changing = async {
        progress.wait_for(|now| matches!(now, Progress::Downloading { done, .. } if *done > 0)).await.unwrap();
        fs::OpenOptions::new().append(true).open(&path).unwrap().set_len(8 * MIB as u64).unwrap();
    };
    let (done, ()) = tokio::join!(world.import_file("disk.img"), changing);
    let error = done.unwrap_err();
    assert!(matches!(error, ImportError::File(FileError::Changed { .. })), "{error:?}");
    world.assert_nothing_came().await;
}

#[tokio::test]
async fn files_outside_the_fence_are_not_read() {
    let world = World::new();
    fs::write(world.folder.path().join("secret"), raw_disk()).unwrap();
    symlink("../secret", world.folder.path().join("sources/link")).unwrap();
    for path in ["../secret", "link", "/etc/passwd", "none"] {
        assert!(matches!(world.import_file(path).await, Err(ImportError::File(_))), "{path}");
    }
    let closed = World::with(|rules| rules.folders = Folders::default());
    assert!(matches!(closed.import_file("disk.img").await, Err(ImportError::File(FileError::NoFolder))));
    world.assert_nothing_came().await;
}

#[tokio::test]
async fn what_is_too_large_is_not_taken() {
    let world = World::with(|rules| rules.limits.source = MIB as u64);
    world.put("disk.img", &raw_disk());
    assert!(matches!(world.import_file("disk.img").await, Err(ImportError::TooLong { .. })));
    let world = World::with(|rules| rules.limits.virtual_size = MIB as u64);
    world.put("disk.img", &raw_disk());
    refused(&world, "disk.img").await;
    let world = World::with(|rules| rules.limits.file = MIB as u64);
    world.put("disk.img", &raw_disk());
    let error = world.import_file("disk.img").await.unwrap_err();
    assert!(matches!(error, ImportError::Convert(SandboxError::FileSize { .. })), "{error:?}");
    world.assert_nothing_came().await;
}

#[test]
fn an_import_ends_when_others_take_the_room_that_it_counted_on() {
    crate::storage::full_disk::on(200, |root| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut world = World::new();
        world.pool = DirectoryPool::open(&Claim::of(root), OWNER).unwrap();
        let mut rules = Rules::default();
        rules.fence.allow.push("127.0.0.0/8".parse().unwrap());
        world.importer = Importer::new(world.pool.clone(), rules.into(), Sandbox::qemu_img().unwrap());
        runtime.block_on(async {
            let stalled = Answer { then: Then::Stall, ..short(&raw_disk()[..MIB], 4 * MIB) };
            let server = Server::start(HashMap::from([("/disk", stalled)])).await;
            let source = Source::Http { url: server.url("/disk") };
            let mut progress = world.progress.subscribe();
            let guest = async {
                let begun =
                    progress.wait_for(|now| matches!(now, Progress::Downloading { done, .. } if *done > 0)).await;
                drop(begun.unwrap());
                let available = usize::try_from(world.pool.space_now().unwrap().available).unwrap();
                fs::write(root.join("guest"), vec![1; available - 20 * MIB]).unwrap();
            };
            let (imported, ()) = tokio::join!(world.import(&source, None), guest);
            assert!(matches!(&imported, Err(ImportError::NoSpace { pool }) if pool == root), "{imported:?}");
            world.assert_nothing_came().await;
        });
    });
}

#[test]
fn a_full_pool_is_said_and_left_as_it_was() {
    for (mib, filled_while) in [(3, "receiving"), (6, "converting"), (200, "nothing but the part that guests keep")] {
        crate::storage::full_disk::on(mib, move |root| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let mut world = World::new();
            world.pool = DirectoryPool::open(&Claim::of(root), OWNER).unwrap();
            let rules = Rules { folders: Folders(vec![world.folder.path().join("sources")]), ..Rules::default() };
            world.importer = Importer::new(world.pool.clone(), rules.into(), Sandbox::qemu_img().unwrap());
            world.put("disk.img", &raw_disk());
            if mib > 100 {
                let left = 20 * MIB; // room for the source; of 200 MiB 25 MiB are kept
                let available = usize::try_from(world.pool.space_now().unwrap().available).unwrap();
                fs::write(root.join("filler"), vec![1; available - left]).unwrap();
            }
            runtime.block_on(async {
                let full = world.import_file("disk.img").await;
                assert!(
                    matches!(&full, Err(ImportError::NoSpace { pool }) if pool == root),
                    "{filled_while}: {full:?}"
                );
                world.assert_nothing_came().await;
            });
        });
    }
}
