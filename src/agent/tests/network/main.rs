//! Networks on a real kernel: the agent's passes, netd as the process it is, real links, rules and DHCP clients.
//!
//! Every story runs in a network, a mount and a process namespace of its own (`unshare -nmp`), which stands for the host: it
//! begins with forwarding off, `FORWARD` dropping and a `DOCKER-USER` chain, as Docker leaves them. Guests are
//! namespaces behind a link with their tap's name; what is outside is a namespace `service` on the host's uplink.
//! Without root, every story is skipped, aloud.

mod cloud;
mod firewalls;
mod frames;
mod host;
mod idle;
mod repair;
mod rules;

use std::process::{Command, ExitCode};

type Story = (&'static str, fn());

const STORIES: &[Story] = &[
    ("a_guest_gets_its_address_and_reaches_the_outside", cloud::a_guest_gets_its_address_and_reaches_the_outside),
    ("without_egress_nothing_leaves", cloud::without_egress_nothing_leaves),
    ("networks_with_the_same_range_do_not_meet", cloud::networks_with_the_same_range_do_not_meet),
    ("a_changed_spec_changes_the_host", cloud::a_changed_spec_changes_the_host),
    ("settled_networks_start_no_programs", idle::settled_networks_start_no_programs),
    ("a_guest_cannot_lie", rules::a_guest_cannot_lie),
    ("the_host_is_out_of_reach", rules::the_host_is_out_of_reach),
    ("an_open_host_is_told_nothing", firewalls::an_open_host_is_told_nothing),
    ("iptables_without_docker_is_told_in_forward", firewalls::iptables_without_docker_is_told_in_forward),
    ("a_firewall_that_cannot_be_told_is_named", firewalls::a_firewall_that_cannot_be_told_is_named),
    ("whatever_breaks_is_mended_and_said", repair::whatever_breaks_is_mended_and_said),
    ("a_new_guest_at_an_old_address_is_reached_at_once", repair::a_new_guest_at_an_old_address_is_reached_at_once),
    ("a_killed_netd_wakes_and_is_restarted", repair::a_killed_netd_wakes_and_is_restarted),
    ("a_real_tap_lives_and_dies", repair::a_real_tap_lives_and_dies),
    ("a_tap_that_nobody_holds_keeps_no_network", repair::a_tap_that_nobody_holds_keeps_no_network),
    ("two_nics_of_a_server_on_one_network_both_work", rules::two_nics_of_a_server_on_one_network_both_work),
    ("a_stranger_is_left_alone", repair::a_stranger_is_left_alone),
    ("a_guest_without_its_port_goes_on", repair::a_guest_without_its_port_goes_on),
    ("deleting_waits_for_guests_and_leaves_nothing", repair::deleting_waits_for_guests_and_leaves_nothing),
    ("teardown_leaves_the_host_as_it_was", repair::teardown_leaves_the_host_as_it_was),
    ("teardown_is_not_misled_by_a_hidden_mount", repair::teardown_is_not_misled_by_a_hidden_mount),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    // What the agent starts as netd is this very program.
    if arguments.get(1).is_some_and(|a| a == "netd") {
        nubium_netd::main(arguments[3].as_ref()).expect("netd");
        return ExitCode::SUCCESS;
    }
    if arguments.get(1).is_some_and(|a| a == "fetch") {
        return if frames::fetch(&arguments[2]).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if let Ok(name) = std::env::var("NUBIUM_STORY") {
        let (_, story) = STORIES.iter().find(|(n, _)| *n == name).expect("a story of this name");
        host::prepare();
        story();
        return ExitCode::SUCCESS;
    }
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: all {} network stories need root for namespaces", STORIES.len());
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&String> = arguments[1..].iter().filter(|a| !a.starts_with('-')).collect();
    let mut failed = 0;
    for (name, _) in STORIES.iter().filter(|(n, _)| filters.is_empty() || filters.iter().any(|f| n.contains(*f))) {
        let began = std::time::Instant::now();
        let output = Command::new("unshare")
            .args(["-nmp", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", "--"])
            .arg(std::env::current_exe().expect("the path of this program"))
            .env("NUBIUM_STORY", name)
            .output()
            .expect("unshare runs");
        println!(
            "story {name} ... {} ({:.1?})",
            if output.status.success() { "ok" } else { "FAILED" },
            began.elapsed()
        );
        if !output.status.success() {
            failed += 1;
            println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        } else if arguments.iter().any(|a| a == "--nocapture") {
            println!("{}", String::from_utf8_lossy(&output.stdout));
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
