//! Runs the stories, one after another, on one cloud.

mod again;
mod bad_luck;
mod chaos;
mod debian;
mod down;
mod first_server;
mod full_pool;
mod helm;
mod hostile;
mod images;
mod in_use;
mod killed;
mod kubectl;
mod lost_store;
mod networks;
mod power;
mod refusals;
mod yaml;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use nubium_e2e::cloud::Cloud;
use nubium_e2e::machine;
use nubium_e2e::programs::Programs;

type Story = (&'static str, fn(&mut Cloud));

const STORIES: &[Story] = &[
    (
        "a first server boots, is reached by ssh, by the host and by its console, and leaves nothing",
        first_server::boots_and_is_reached,
    ),
    ("a real distribution takes its keys and its user data", debian::takes_its_keys_and_user_data),
    ("power is a state, and a volume outlives its server", power::is_a_state),
    ("networks carry what they should and nothing else", networks::carry_what_they_should_and_nothing_else),
    ("the same YAML applied again changes nothing", again::changes_nothing),
    ("kubectl does everything", kubectl::does_everything),
    ("helm waits for servers", helm::waits_for_servers),
    ("refusals say what is wrong", refusals::say_what_is_wrong),
    ("missing references are waited for", refusals::wait_for_what_is_missing),
    ("images are inspected before anything opens them", images::are_inspected_before_anything_opens_them),
    ("images are fetched only from where they may", images::are_fetched_only_from_where_they_may),
    ("what is in use waits, and says for whom", in_use::waits_and_says_for_whom),
    ("a namespace ends with all it holds", in_use::a_namespace_ends_with_all_it_holds),
    ("what a guest writes is never taken for a format", hostile::what_a_guest_writes_is_never_taken_for_a_format),
    ("a full pool pauses a guest and loses nothing", full_pool::a_full_pool_pauses_a_guest_and_loses_nothing),
    ("bad luck is mended", bad_luck::is_mended),
    ("killed at any moment, it converges and loses nothing", killed::converges_and_loses_nothing),
    ("random actions and faults end in what was asked for", chaos::ends_in_what_was_asked_for),
    ("down and up again, it says of servers what was seen since", down::and_up_again_says_what_was_seen_since),
    ("a lost store leaves guests and disks as they are", lost_store::leaves_guests_and_disks_as_they_are),
];

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
