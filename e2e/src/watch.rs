//! What somebody sees who watches a kind.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A running `nubium get --watch`.
pub struct Watch {
    process: Child,
    lines: Receiver<String>,
}

impl Watch {
    /// Starts the command, and waits until it has shown what is there.
    pub fn start(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("nubium starts");
        let out = BufReader::new(process.stdout.take().expect("it was asked for"));
        let (tell, lines) = channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let watch = Self { process, lines };
        watch.lines.recv_timeout(Duration::from_secs(30)).expect("it begins with the titles");
        watch
    }

    /// Waits for so many changes of the object of that name, or for as long as `limit`; gives how many there were.
    pub fn changes(&self, name: &str, count: u64, limit: Duration) -> u64 {
        let end = Instant::now() + limit;
        let mut seen = 0;
        while seen < count {
            let rest = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(rest) {
                Ok(line) if line.split_whitespace().next() == Some(name) => seen += 1,
                Ok(_) => {}
                Err(_) => break,
            }
        }
        seen
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended with the cloud.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
