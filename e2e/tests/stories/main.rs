//! Runs the stories, one after another, on one cloud.

mod first_server;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use nubium_e2e::cloud::{Cloud, Programs};
use nubium_e2e::machine;

type Story = (&'static str, fn(&mut Cloud));

const STORIES: &[Story] = &[(
    "a first server boots and is reached by ssh, by the host, and by its console",
    first_server::boots_and_is_reached,
)];

fn main() -> ExitCode {
    let programs = match programs() {
        Ok(programs) => programs,
        Err(why) => {
            println!("skipped: {why}");
            println!("test result: ok. 0 passed; 0 failed; {} ignored", STORIES.len());
            return ExitCode::SUCCESS;
        }
    };
    match machine::inside(|| tell(programs)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What the stories need, made by `cargo xtask test`.
fn programs() -> Result<Programs, String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("stories make network namespaces and run guests: they need root".into());
    }
    let path = |variable: &str| {
        let path = std::env::var_os(variable)
            .map(PathBuf::from)
            .ok_or(format!("{variable} is not set; cargo xtask test sets it"))?;
        path.exists().then_some(path.clone()).ok_or(format!("{variable}: there is no {}", path.display()))
    };
    Ok(Programs { nubium: path("NUBIUM_BIN")?, images: path("NUBIUM_IMAGES")? })
}

fn tell(programs: Programs) -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let chosen: Vec<&Story> =
        STORIES.iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|word| name.contains(word))).collect();
    println!("\nrunning {} stories", chosen.len());
    let mut cloud = Cloud::up(programs, &machine::state());
    let mut failed = Vec::new();
    for (name, story) in &chosen {
        let start = Instant::now();
        let told = catch_unwind(AssertUnwindSafe(|| story(&mut cloud)));
        let verdict = if told.is_ok() { "ok" } else { "FAILED" };
        println!("test {name} ... {verdict} ({:.1} s)", start.elapsed().as_secs_f32());
        if told.is_err() {
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        println!("\nthe cloud's log:\n{}", std::fs::read_to_string(cloud.log()).unwrap_or_default());
    }
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    println!("\ntest result: {verdict}. {} passed; {} failed; 0 ignored", chosen.len() - failed.len(), failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
