//! Whose import goes on while others' are slow.

use super::*;

fn of(namespace: &str, name: &str, source: &str) -> Desired {
    let mut image = image(true);
    image.metadata.namespace = Some(namespace.into());
    image.metadata.name = Some(name.into());
    image.spec.source = ImageSource { http: Some(HttpSource { url: source.into() }), file: None };
    desired::desired(&image, Presence::Present).unwrap()
}

fn world() -> World {
    let world = World::new();
    world.pools.put_source("http://slow/", SimSource::Slow { virtual_size: SIZE });
    world.pools.put_source("http://heavy/", SimSource::SlowToConvert { virtual_size: SIZE });
    world.pools.put_source("http://good/", SimSource::Good { virtual_size: SIZE });
    world
}

#[tokio::test(start_paused = true)]
async fn slow_downloads_of_one_namespace_keep_no_other_waiting() {
    let world = world();
    let slow: Vec<Desired> = (0..10).map(|at| of("greedy", &format!("slow-{at}"), "http://slow/")).collect();
    for want in &slow {
        world.pass(want).await.unwrap();
    }
    world.until(&of("shop", "debian", "http://good/"), "Imported").await;
    tokio::time::sleep(Duration::from_secs(3)).await; // progress is looked at every two seconds
    let mut reasons = Vec::new();
    for want in &slow {
        reasons.extend(entry(want, &world.pass(want).await).reason);
    }
    reasons.sort();
    assert_eq!(reasons, [vec!["Downloading"; 2], vec!["Queued"; 8]].concat());
    let told = entry(&slow[9], &world.pass(&slow[9]).await).message.unwrap();
    assert_eq!(told, "its download waits: this host fetches at most 8 images at a time, and 2 of one namespace");
    for want in &slow {
        for _ in 0..20 {
            world.pools.arrive();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(world.pools.has_image(&want.file), "{}", want.file);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_download_takes_no_turn_of_a_conversion_and_a_slow_conversion_none_of_a_download() {
    let world = world();
    for at in 0..7 {
        world.pass(&of(&format!("greedy-{}", at % 4), &format!("slow-{at}"), "http://slow/")).await.unwrap();
    }
    world.until(&of("shop", "debian", "http://good/"), "Imported").await;
    for namespace in ["a", "b"] {
        world.until(&of(namespace, "heavy", "http://heavy/"), "Converting").await;
    }
    let third = of("c", "heavy", "http://heavy/");
    let told = world.until(&third, "Queued").await.message.unwrap();
    assert_eq!(told, "its conversion waits: this host converts at most 2 images at a time, and 1 of one namespace");
    let slow = of("shop", "slow", "http://slow/");
    world.until(&slow, "Downloading").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(
        entry(&slow, &world.pass(&slow).await).fetched_bytes,
        Some(SIZE as i64 / 2),
        "its download is under way"
    );
    world.pools.arrive();
    world.until(&third, "Converting").await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_again_says_why_it_failed_before() {
    let world = world();
    let want = of("shop", "debian", "http://late/");
    world.until(&want, "NotFound").await;
    for at in 0..2 {
        world.pass(&of("shop", &format!("slow-{at}"), "http://slow/")).await.unwrap();
    }
    let told = world.until(&want, "Queued").await.message.unwrap();
    assert!(told.contains("; the last try failed: there is no file \"http://late/\""), "{told}");
    world.imports.stop(POOL, &want.file).await;
    world.until(&of("shop", "slow-0", "http://slow/"), "Downloading").await;
}
