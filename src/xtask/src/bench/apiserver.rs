//! What an API server does in a second, whichever it is: creates, lists, and watch events.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::http::{Client, Server, Watches};

const SPAN: Duration = Duration::from_secs(3);
const OBJECTS: usize = 10_000;
const WATCHERS: usize = 1_000;
const ROUNDS: usize = 9;

/// The figures of one server.
pub struct Figures {
    /// Creates of 1 kB ConfigMaps in a second, by 1 writer.
    pub alone: f64,
    /// The same by 64 writers.
    pub many: f64,
    /// One list of 10,000, in seconds.
    pub list: f64,
    /// From the begin of a change to the last of 1,000 watchers, in seconds.
    pub fan_out: f64,
    /// The same, where each watcher has a field selector of its own.
    pub selecting: f64,
}

/// Measures a server, in a namespace `bench` of its own.
pub fn measure(server: &Server) -> Result<Figures> {
    let mut client = server.connect()?;
    client.ask("POST", "/api/v1/namespaces", br#"{"metadata":{"name":"bench"}}"#)?;
    let made = AtomicUsize::new(0);
    let alone = create(server, &made, 1, |begun, _| begun.elapsed() < SPAN)?;
    let many = create(server, &made, 64, |begun, _| begun.elapsed() < SPAN)?;
    create(server, &made, 64, |_, number| number < OBJECTS)?;
    let list = median((0..5).map(|_| {
        let begun = Instant::now();
        let path = format!("/api/v1/namespaces/bench/configmaps?limit={OBJECTS}");
        let bytes = client.ask("GET", &path, b"")?.len();
        let took = begun.elapsed();
        ensure!(bytes > OBJECTS * 1000, "a list of {OBJECTS} in {bytes} bytes");
        Ok(took)
    }))?;
    let plain = |_| "/api/v1/namespaces/bench-watch/secrets?watch=1&timeoutSeconds=300".to_owned();
    let fan_out = fan_out_to(server, "bench-watch", plain)?;
    // All select the change, each by words of its own.
    let selecting = |number| {
        format!(
            "/api/v1/namespaces/bench-select/secrets?watch=1&timeoutSeconds=300&fieldSelector=type!%3Dbench-{number}"
        )
    };
    let selecting = fan_out_to(server, "bench-select", selecting)?;
    Ok(Figures { alone, many, list, fan_out, selecting })
}

fn create(server: &Server, made: &AtomicUsize, writers: usize, go_on: fn(Instant, usize) -> bool) -> Result<f64> {
    let clients = (0..writers).map(|_| server.connect()).collect::<Result<Vec<_>>>()?;
    let filler = "x".repeat(900);
    let (before, begun) = (made.load(Ordering::Relaxed), Instant::now());
    let write = |mut client: Client| -> Result<()> {
        while go_on(begun, made.load(Ordering::Relaxed)) {
            let object = format!(r#"{{"metadata":{{"generateName":"c-"}},"data":{{"filler":"{filler}"}}}}"#);
            client.ask("POST", "/api/v1/namespaces/bench/configmaps", object.as_bytes())?;
            made.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    let write = &write;
    thread::scope(|scope| {
        let threads: Vec<_> = clients.into_iter().map(|client| scope.spawn(move || write(client))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("writers do not panic"))
    })?;
    Ok((made.load(Ordering::Relaxed) - before) as f64 / begun.elapsed().as_secs_f64())
}

/// From a change to the last of the watchers, each of which asks for its own path.
fn fan_out_to(server: &Server, namespace: &str, path: impl Fn(usize) -> String) -> Result<f64> {
    let mut client = server.connect()?;
    let made = format!(r#"{{"metadata":{{"name":"{namespace}"}}}}"#);
    client.ask("POST", "/api/v1/namespaces", made.as_bytes())?;
    let watching = |number| {
        let mut watcher = server.connect()?;
        watcher.watch(&path(number))?;
        Ok(watcher)
    };
    let mut watches = Watches::new((0..WATCHERS).map(watching).collect::<Result<Vec<_>>>()?)?;
    thread::sleep(Duration::from_millis(500));
    median((0..ROUNDS).map(|round| {
        let secret = format!(r#"{{"metadata":{{"name":"s-{round}"}},"stringData":{{"a":"b"}}}}"#);
        let begun = Instant::now();
        let (written, heard) = thread::scope(|scope| {
            let heard = scope.spawn(|| watches.all_hear().map(|()| Instant::now()));
            let written = client.ask("POST", &format!("/api/v1/namespaces/{namespace}/secrets"), secret.as_bytes());
            (written, heard.join().expect("readers do not panic"))
        });
        written?;
        Ok(heard? - begun)
    }))
}

fn median(times: impl Iterator<Item = Result<Duration>>) -> Result<f64> {
    let mut times = times.collect::<Result<Vec<_>>>()?;
    times.sort();
    Ok(times[times.len() / 2].as_secs_f64())
}
