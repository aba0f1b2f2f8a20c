//! What a server can do to us.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::server::{Answer, Server, Then, ok, redirect, short};
use super::*;

/// A world whose admin allowed loopback, or only this one address of it.
fn open_world(net: &str) -> World {
    let net = net.parse().unwrap();
    World::with(|rules| {
        rules.fence.allow.push(net);
        rules.limits.idle = Duration::from_millis(300);
    })
}

fn http(url: String) -> Source {
    Source::Http { url }
}

async fn failed(world: &World, url: String) -> HttpError {
    match world.import(&http(url), Some(&sha256(&raw_disk()))).await {
        Err(ImportError::Http(error)) => {
            world.assert_nothing_came().await;
            error
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_download_is_verified_and_tells_how_far_it_is() {
    let world = open_world("127.0.0.1/32");
    let disk = raw_disk();
    let mut chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for part in disk.chunks(MIB) {
        chunked.extend([format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat());
    }
    chunked.extend(b"0\r\n\r\n");
    let answers = HashMap::from([
        ("/disk", ok(&disk)),
        ("/chunked", Answer { bytes: chunked, then: Then::Close }),
        ("/moved", redirect("/disk")),
        ("/loop", redirect("/loop")),
    ]);
    let server = Server::start(answers).await;
    for path in ["/disk", "/chunked", "/moved"] {
        let seen = world.progress.subscribe();
        let imported = world.import(&http(server.url(path)), Some(&sha256(&disk))).await.unwrap();
        assert_eq!((imported.format, imported.length), (Format::Raw, disk.len() as u64), "{path}");
        assert!(seen.has_changed().unwrap());
        assert_same_disk(&world.pool.image_path(&image()), &disk);
        world.importer.delete(&image()).await.unwrap();
    }
    let by_name = format!("http://localhost:{}/disk", server.address.port());
    world.import(&http(by_name), Some(&sha256(&disk))).await.unwrap();
    world.importer.delete(&image()).await.unwrap();
    assert!(matches!(failed(&world, server.url("/loop")).await, HttpError::Redirects { .. }));
    let wrong = world.import(&http(server.url("/disk")), Some(&sha256(b"other"))).await;
    assert!(matches!(wrong, Err(ImportError::Checksum { .. })), "{wrong:?}");
    world.assert_nothing_came().await;
}

#[tokio::test]
async fn a_download_that_fails_says_how() {
    let world = open_world("127.0.0.1/32");
    let disk = raw_disk();
    let stalled = Answer { then: Then::Stall, ..short(&disk[..MIB], disk.len()) };
    let mut chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n100000\r\n".to_vec();
    chunked.extend(&disk[..1000]);
    let answers = HashMap::from([
        ("/short", short(&disk[..MIB], disk.len())),
        ("/stalled", stalled),
        ("/chunked", Answer { bytes: chunked, then: Then::Close }),
        ("/nowhere", redirect("http://[")),
        ("/other", redirect("ftp://127.0.0.1/x")),
    ]);
    let server = Server::start(answers).await;
    let error = failed(&world, server.url("/none")).await.to_string();
    assert!(error.contains("404 Not Found") && error.contains(&server.url("/none")), "{error}");
    let error = failed(&world, server.url("/short")).await;
    assert!(
        matches!(error, HttpError::Truncated { got, want, .. } if (got, want) == (MIB as u64, 4 * MIB as u64)),
        "{error:?}"
    );
    assert!(matches!(failed(&world, server.url("/stalled")).await, HttpError::Broken { .. }));
    assert!(matches!(failed(&world, server.url("/chunked")).await, HttpError::Broken { .. }));
    assert!(matches!(failed(&world, server.url("/nowhere")).await, HttpError::Location { .. }));
    assert!(matches!(failed(&world, server.url("/other")).await, HttpError::NotHttp { .. }));
    for url in ["file:///etc/passwd", "ftp://example.com/x", "nonsense", ""] {
        assert!(matches!(failed(&world, url.into()).await, HttpError::NotHttp { .. }), "{url}");
    }
    assert!(matches!(failed(&world, "http://127.0.0.1:1/".into()).await, HttpError::Fetch { .. }));
    let refused = failed(&world, "http://u:secret@127.0.0.1:1/".into()).await;
    assert!(!format!("{refused:?}").contains("secret"), "{refused:?}");
}

#[tokio::test]
async fn a_download_that_trickles_is_given_up_although_it_is_never_silent() {
    let trickle = Answer { then: Then::Trickle, ..short(b"", 4 * MIB) };
    let server = Server::start(HashMap::from([("/disk", trickle)])).await;
    let world = World::with(|rules| {
        rules.fence.allow.push("127.0.0.0/8".parse().unwrap());
        rules.limits.pace = Pace { rate: 1 << 30, window: Duration::from_millis(100), ..Pace::default() };
    });
    let error = world.import(&http(server.url("/disk")), Some(&sha256(&raw_disk()))).await.unwrap_err();
    assert!(matches!(error, ImportError::TooSlow(TooSlow::Rate { .. })), "{error:?}");
    assert!(error.to_string().contains(&server.url("/disk")), "{error}");
    world.assert_nothing_came().await;
}

#[tokio::test]
async fn a_download_is_never_longer_than_allowed() {
    let mut endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    endless.extend(raw_disk());
    let server = Server::start(HashMap::from([
        ("/endless", Answer { bytes: endless, then: Then::Stall }),
        ("/said", ok(&raw_disk())),
    ]))
    .await;
    let world = World::with(|rules| {
        rules.fence.allow.push("127.0.0.0/8".parse().unwrap());
        rules.limits.source = MIB as u64;
    });
    for path in ["/endless", "/said"] {
        let error = world.import(&http(server.url(path)), None).await.unwrap_err();
        assert!(matches!(error, ImportError::TooLong { .. }), "{path}: {error:?}");
        world.assert_nothing_came().await;
    }
}

#[tokio::test]
async fn the_hosts_own_services_are_not_asked() {
    let server = Server::start(HashMap::from([("/disk", ok(&raw_disk()))])).await;
    let port = server.address.port();
    let world = World::new();
    for host in [
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "2130706433",
        "localhost",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
    ] {
        let error = failed(&world, format!("http://{host}:{port}/disk")).await;
        assert!(matches!(error, HttpError::Forbidden { .. }), "{host}: {error:?}");
        assert!(error.to_string().contains("--image-http-allow"), "{error}");
    }
    assert_eq!(server.requests(), 0, "somebody knocked");
}

#[tokio::test]
async fn a_redirect_is_judged_as_the_first_address_is() {
    let inner = Server::start(HashMap::from([("/disk", ok(&raw_disk()))])).await;
    let other = format!("http://127.0.0.2:{}/disk", inner.address.port());
    let server = Server::start(HashMap::from([("/away", redirect(&other))])).await;
    let world = open_world("127.0.0.1/32");
    let error = failed(&world, server.url("/away")).await;
    assert!(matches!(&error, HttpError::Forbidden { address, .. } if address.to_string() == "127.0.0.2"), "{error:?}");
    assert_eq!((server.requests(), inner.requests()), (1, 0));
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![own.cert.der().clone()], key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let shaking = tokio::spawn(async move { acceptor.accept(listener.accept().await.unwrap().0).await.is_ok() });
    let world = open_world("127.0.0.1/32");
    let error = failed(&world, format!("https://localhost:{port}/disk")).await;
    assert!(matches!(&error, HttpError::Fetch { .. }), "{error:?}");
    assert!(format!("{error:?}").contains("UnknownIssuer"), "{error:?}");
    assert!(!shaking.await.unwrap(), "the handshake succeeded");
}
