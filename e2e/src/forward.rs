//! A port of this machine that leads to a Server's, for as long as it is held.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::machine::run;

/// A running `nubium port-forward`.
pub struct Forward {
    process: Child,
    local: String,
}

impl Forward {
    /// Starts the command, and waits until it says where it listens.
    pub fn start(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().expect("nubium starts");
        let mut said = String::new();
        let out = process.stdout.take().expect("it was asked for");
        BufReader::new(out).read_line(&mut said).expect("it can be read");
        let local = said.split(' ').nth(1).unwrap_or_else(|| panic!("it does not say where it listens: {said:?}"));
        Self { local: local.to_owned(), process }
    }

    /// What a web server behind it answers.
    pub fn curl(&self, path: &str) -> String {
        let url = format!("http://{}{path}", self.local);
        let page = run("curl", &["--silent", "--show-error", "--fail", "--max-time", "10", &url]);
        page.unwrap_or_else(|error| panic!("{error:#}")).trim().to_owned()
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
