//! One story on the simulated pool and on a real one, so that the simulation stays honest.

use nubium_host::storage::image::{Folders, Images, Rules};
use nubium_host::storage::{DirectoryPools, FileOwner};
use nubium_runtime::Queue;
use nubium_testkit::storage::SimSource;

use super::*;
use crate::image;

fn wanted_image(presence: image::Presence) -> image::Desired {
    let source = nubium_host::storage::image::Source::File { path: "disk.img".into() };
    image::Desired { presence, file: image_file(), source, checksum: None }
}

async fn life_of_a_disk(pools: &impl Pools) {
    let pool = pools.open(&pool_spec()).await.unwrap();
    let imports = image::Imports::new(Queue::new());
    let object = volume(Some("debian-12"), Some("16Mi"));
    let (present, gone) = (want(&object, Presence::Present), want(&object, Presence::Gone { retain: false }));

    let looked = converge(&present, &pool).await;
    assert_eq!(told(&present, &looked, "Provisioned").unwrap().1, "WaitingForImage");

    while image::converge(&wanted_image(image::Presence::Present), "default", &pool.images, &imports)
        .await
        .unwrap()
        .file
        .is_none()
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..2 {
        let looked = converge(&present, &pool).await;
        let status = status(&present, &looked, None, Some(3));
        assert_eq!((status.capacity, status.image_uid.as_deref()), (Some(Quantity("16Mi".into())), Some("5f0e")));
    }
    let small = want(&volume(Some("debian-12"), Some("4Mi")), Presence::Present);
    let other = Desired { file: FileName::new("shop", "small", "88bb").unwrap(), ..small };
    assert_eq!(told(&other, &converge(&other, &pool).await, "Provisioned").unwrap().1, "SmallerThanImage");
    let differs = pool.volumes.create_blank(&file(), 16 * MIB).await;
    assert!(matches!(differs, Err(VolumeError::Different { .. })), "{differs:?}");

    let going = wanted_image(image::Presence::Gone);
    let used = image::converge(&going, "default", &pool.images, &imports).await;
    assert!(matches!(used, Err(VolumeError::HasClones { .. })), "{used:?}");
    for _ in 0..2 {
        let looked = converge(&gone, &pool).await;
        assert_eq!(told(&gone, &looked, "Released").unwrap(), (ConditionStatus::True, "Released".into()));
        let seen = image::converge(&going, "default", &pool.images, &imports).await;
        assert_eq!(image::entry(&going, &seen).released, Some(true));
    }
    assert_eq!(pool.volumes.list().await.unwrap(), []);
    assert_eq!(pool.images.list().await.unwrap(), []);
}

#[tokio::test]
async fn simulated() {
    let pools = SimPools::new();
    pools.put_source("disk.img", SimSource::Good { virtual_size: IMAGE_SIZE });
    life_of_a_disk(&pools).await;
}

#[tokio::test]
async fn real() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = vec![0; IMAGE_SIZE as usize];
    disk[510..512].copy_from_slice(b"\x55\xaa");
    std::fs::write(folder.path().join("disk.img"), disk).unwrap();
    let rules = Rules { folders: Folders(vec![folder.path().to_owned()]), ..Rules::default() };
    let owner = FileOwner { uid: 64055, gid: 64055 };
    std::fs::create_dir(folder.path().join("pools")).unwrap();
    life_of_a_disk(&DirectoryPools::new(folder.path().join("pools"), Vec::new(), owner, rules).unwrap()).await;
}
