//! Measures: see the library's `bench`. A program of its own, because nothing else of xtask speaks TLS. `cargo xtask
//! bench` builds and starts it.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(nubium) = std::env::args_os().nth(1) else {
        eprintln!("which nubium? `cargo xtask bench` says it");
        return ExitCode::FAILURE;
    };
    let parts: Vec<String> = std::env::args().skip(2).collect();
    match nubium_xtask::bench::run(Path::new(&nubium), &parts) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
