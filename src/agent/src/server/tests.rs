//! A Server on a simulated host: every input from every world, against an oracle that knows nothing of the planner.

mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nubium_api::{Condition, ConditionStatus, Network, Port, Server, Volume};
use nubium_host::libvirt::{DomainRecord, DomainState, Domains, Off, Pause, Stop};
use nubium_host::seed::Seed;
use nubium_testkit::domains::DomainVerb;
use serde_json::json;
use uuid::Uuid;
use world::{World, uid};

use super::*;

fn condition<'a>(report: &'a Report, type_: &str) -> Option<&'a Condition> {
    nubium_api::condition(&report.conditions, type_)
}

fn says(report: &Report, type_: &str) -> (ConditionStatus, String) {
    let found = condition(report, type_).unwrap_or_else(|| panic!("no {type_} in {:?}", report.conditions));
    (found.status, found.reason.clone())
}

const TRUE: ConditionStatus = ConditionStatus::True;
const FALSE: ConditionStatus = ConditionStatus::False;

#[tokio::test]
async fn a_server_starts_and_a_settled_pass_does_nothing() {
    let mut world = World::new();
    let report = world.pass().await;
    assert_eq!(says(&report, "Running"), (TRUE, "Running".into()));
    assert_eq!(says(&report, "NetworkReady"), (TRUE, "NetworkReady".into()));
    assert_eq!(says(&report, "VolumesReady"), (TRUE, "VolumesReady".into()));
    assert_eq!(condition(&report, "RestartRequired"), None);
    assert_eq!(report.attached, [uid(10), uid(11)]);
    assert_eq!(report.again, None);
    assert!(report.news.is_empty(), "a first start is no news");
    let slots: Vec<(String, i32)> =
        report.devices.unwrap().into_iter().map(|device| (device.name, device.slot)).collect();
    assert_eq!(slots, [("disk-root".into(), 0), ("disk-data".into(), 1), ("nic-eth0".into(), 2)]);
    let report = world.pass().await;
    assert_eq!(report.done, []);
    assert_eq!(world.starts(), 1);
}

#[tokio::test]
async fn the_guest_runs_only_when_its_tap_is_in_its_network() {
    let mut world = World::new();
    let report = world.pass().await;
    let names: Vec<&str> = report.done.iter().map(world::kind).collect();
    assert_eq!(names, ["PutSeed", "Define", "CreateTap", "StartPaused", "MoveTap", "Resume"]);
}

#[tokio::test]
async fn a_guest_paused_by_a_full_pool_goes_on_when_there_is_room_and_not_before() {
    let mut world = World::new();
    world.pass().await;
    world.domains.set_state(world.want.uid, DomainState::Paused(Pause::IoError));
    world.disks.available.store(4096, Ordering::Relaxed);
    for _ in 0..3 {
        let report = world.pass().await;
        assert_eq!(says(&report, "Running"), (FALSE, "PausedByFullPool".into()));
        let message = &condition(&report, "Running").unwrap().message;
        assert!(message.contains("StoragePool default is full"), "{message}");
        assert_eq!(report.done, [], "it would only stop again");
        assert!(report.again.is_some(), "it looks for room");
    }
    world.disks.available.store(1 << 30, Ordering::Relaxed);
    let report = world.pass().await;
    assert_eq!(says(&report, "Running"), (TRUE, "Running".into()));
    assert_eq!(world.starts(), 1, "it went on, and was not started again");
}

/// A domain's state and its record; `None`: no domain.
type Start = Option<(DomainState, Option<Stop>)>;

/// The worlds a pass may find, made without the planner.
fn worlds() -> Vec<(String, Start)> {
    let mut worlds = vec![("nothing".to_owned(), None)];
    let states = [
        DomainState::Running,
        DomainState::Stopping,
        DomainState::Crashed,
        DomainState::Paused(Pause::Asked),
        DomainState::Paused(Pause::IoError),
        DomainState::Off(Off::Guest),
        DomainState::Off(Off::Host),
        DomainState::Off(Off::Destroyed),
        DomainState::Off(Off::Crashed),
        DomainState::Off(Off::Failed),
        DomainState::Off(Off::Unknown),
    ];
    for state in states {
        let asked = |at, pressed| Some(Stop::Asked { at, pressed });
        let mut stops = vec![None, asked(1000, 1000), asked(985, 990), asked(10, 35)];
        if let DomainState::Off(_) = state {
            stops.extend([Some(Stop::Desired), Some(Stop::Guest)]);
        }
        for stop in stops {
            worlds.push((format!("{state:?} {stop:?}"), Some((state, stop))));
        }
    }
    worlds
}

#[tokio::test]
async fn reaches_the_desired_state_from_every_state() {
    for input in ["running", "restarted", "stopped", "absent"] {
        for deaf in [false, true] {
            for (name, start) in worlds() {
                let can_hear = matches!(start, None | Some((DomainState::Running | DomainState::Stopping, _)));
                if deaf && !can_hear {
                    continue;
                }
                let mut world = World::new();
                world.domains.set_deaf(deaf);
                if let Some((state, stop)) = &start {
                    world.pass().await;
                    let owner = world.owner().await;
                    world.domains.set_owner(DomainRecord { stop: stop.clone(), ..owner }).await.unwrap();
                    world.domains.set_state(world.want.uid, *state);
                    world.qemu_let_go_if_off().await;
                }
                world.now = 1000;
                match input {
                    "restarted" => world.want.restarted_at = Some("2026-11-21T02:00:00Z".into()),
                    "stopped" => world.want.running = false,
                    "absent" => world.mark(),
                    _ => {}
                }
                let before = world.starts();
                let case = format!("{input} from {name}, deaf {deaf}");
                let report = world.settle(&case).await;
                // The oracle.
                let now = world.domains.look(world.want.uid).await.unwrap();
                let state = now.as_ref().map(|domain| domain.state);
                let by_guest = matches!(
                    &start,
                    Some((DomainState::Off(_), Some(Stop::Guest))) | Some((DomainState::Off(Off::Guest), None))
                );
                match input {
                    "running" if by_guest => {
                        assert!(matches!(state, Some(DomainState::Off(_))), "{case}: {state:?}");
                        assert_eq!(now.unwrap().owner.unwrap().stop, Some(Stop::Guest), "{case}");
                        assert_eq!(says(&report, "Running"), (FALSE, "GuestPoweredOff".into()), "{case}");
                        assert_eq!(world.starts(), before, "{case}");
                    }
                    "running" if matches!(start, Some((DomainState::Stopping, _))) => {
                        assert_eq!(state, Some(DomainState::Stopping), "{case}: it is waited for");
                    }
                    "running" | "restarted" => {
                        assert_eq!(state, Some(DomainState::Running), "{case}");
                        assert!(world.tap_is_in(), "{case}");
                        assert_eq!(says(&report, "Running"), (TRUE, "Running".into()), "{case}");
                        let ran = matches!(start, Some((DomainState::Running | DomainState::Paused(_), _)));
                        let expected = if ran && input == "running" { before } else { before + 1 };
                        assert_eq!(world.starts(), expected, "{case}");
                        assert_eq!(now.unwrap().owner.unwrap().restarted_at, world.want.restarted_at, "{case}");
                    }
                    "stopped" => {
                        assert!(matches!(state, None | Some(DomainState::Off(_))), "{case}: {state:?}");
                        assert_eq!(says(&report, "Running"), (FALSE, "Stopped".into()), "{case}");
                        assert_eq!(world.starts(), before, "{case}");
                        assert!(!world.tap_is_in(), "{case}");
                    }
                    _ => {
                        assert_eq!(state, None, "{case}");
                        assert_eq!(says(&report, "Released"), (TRUE, "Released".into()), "{case}");
                        assert!(world.is_empty(), "{case}: {:?}", world.left());
                        assert_eq!(report.conditions.len(), 1, "{case}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_failed_step_is_reported_and_the_next_pass_finishes() {
    use DomainVerb as V;
    for input in ["running", "stopped", "absent"] {
        for verb in
            [V::Look, V::Named, V::Define, V::Start, V::Resume, V::Shutdown, V::Destroy, V::Undefine, V::SetOwner]
        {
            for deaf in [false, true] {
                let mut world = World::new();
                world.domains.set_deaf(deaf);
                if input != "running" {
                    world.pass().await;
                    world.want.running = input != "stopped";
                }
                if input == "absent" {
                    world.mark();
                }
                world.domains.fail(verb);
                let case = format!("{input}, {verb:?} fails, deaf {deaf}");
                let mut said = false;
                let report = loop {
                    let report = world.pass().await;
                    said |= report
                        .conditions
                        .iter()
                        .any(|condition| ["StepFailed", "CannotLook"].contains(&condition.reason.as_str()));
                    if report.done.is_empty() && report.again.is_none() {
                        break report;
                    }
                    world.now += 10;
                    assert!(world.now < 10_000, "{case} never settles: {report:?}");
                };
                let (type_, reason) = match input {
                    "running" => ("Running", "Running"),
                    "stopped" => ("Running", "Stopped"),
                    _ => ("Released", "Released"),
                };
                assert_eq!(says(&report, type_).1, reason, "{case}");
                let used = match verb {
                    V::Look => true,
                    V::Named => input != "stopped",
                    V::Define | V::Start | V::Resume => input == "running",
                    V::Shutdown | V::SetOwner => input != "running",
                    V::Destroy => input != "running" && deaf,
                    V::Undefine => input == "absent",
                    V::List => false,
                };
                assert_eq!(said, used, "{case}: a failure is told, and only then");
            }
        }
    }
}

#[tokio::test]
async fn a_guest_that_powers_itself_off_stays_off_also_over_libvirtd_s_restart() {
    let mut world = World::new();
    world.pass().await;
    world.domains.set_state(world.want.uid, DomainState::Off(Off::Guest));
    world.pass().await;
    world.domains.restart_libvirtd();
    let report = world.settle("after the restart").await;
    assert_eq!(says(&report, "Running"), (FALSE, "GuestPoweredOff".into()));
    assert_eq!(world.starts(), 1);
    world.want.restarted_at = Some("2026-11-21T02:00:00Z".into());
    world.want.generation += 1;
    let report = world.settle("restartedAt").await;
    assert_eq!(says(&report, "Running"), (TRUE, "Running".into()));
    assert_eq!(world.starts(), 2);
    world.settle("the same restartedAt again").await;
    assert_eq!(world.starts(), 2);
}

#[tokio::test]
async fn a_power_state_that_changed_starts_it_again() {
    let mut world = World::new();
    world.pass().await;
    world.domains.set_state(world.want.uid, DomainState::Off(Off::Guest));
    world.settle("off").await;
    world.want.running = false;
    world.settle("to be stopped").await;
    world.want.running = true;
    let report = world.settle("to run again").await;
    assert_eq!(says(&report, "Running"), (TRUE, "Running".into()));
}

#[tokio::test]
async fn a_qemu_that_died_is_started_again_and_that_is_news() {
    for (off, word) in [(Off::Destroyed, "destroyed"), (Off::Crashed, "died"), (Off::Unknown, "libvirt was restarted")]
    {
        let mut world = World::new();
        world.pass().await;
        world.domains.set_state(world.want.uid, DomainState::Off(off));
        let report = world.pass().await;
        assert_eq!(says(&report, "Running"), (TRUE, "Running".into()));
        let [(reason, text)] = report.news.as_slice() else { panic!("{:?}", report.news) };
        assert_eq!(*reason, "StartedAgain");
        assert!(text.contains(word), "{text}");
        assert_eq!(world.pass().await.news, []);
    }
}

#[tokio::test]
async fn a_stop_is_graceful_until_its_deadline() {
    let mut world = World::new();
    world.pass().await;
    world.domains.set_deaf(true);
    world.want.running = false;
    world.now = 100;
    let report = world.pass().await;
    assert_eq!(report.done.iter().map(world::kind).collect::<Vec<_>>(), ["Remember", "Press"]);
    assert_eq!(says(&report, "Running"), (TRUE, "Stopping".into()));
    assert!(report.again.is_some_and(|again| again <= Duration::from_secs(5)));
    world.now = 129;
    let report = world.pass().await;
    let done: Vec<&str> = report.done.iter().map(world::kind).collect();
    assert_eq!(done, ["Remember", "Press"], "pressed again, not yet turned off");
    assert_eq!(report.again, Some(Duration::from_secs(1)), "the deadline is next");
    world.now = 130;
    let report = world.pass().await;
    assert_eq!(report.done.iter().map(world::kind).collect::<Vec<_>>(), ["Kill"]);
    assert_eq!(report.news.first().map(|(reason, _)| *reason), Some("TurnedOff"));
    world.settle("stopped").await;
}

#[tokio::test]
async fn however_often_a_pass_is_woken_the_button_is_pressed_once_in_five_seconds() {
    for input in ["stopped", "restarted", "absent"] {
        let mut world = World::new();
        world.pass().await;
        world.domains.set_deaf(true);
        match input {
            "stopped" => world.want.running = false,
            "restarted" => world.want.restarted_at = Some("2026-11-21T02:00:00Z".into()),
            _ => world.mark(),
        }
        let mut pressed = Vec::new();
        for now in 100..130 {
            world.now = now;
            // Each is a pass of an agent that remembers nothing: what it knows is on the domain's record.
            for _ in 0..3 {
                let report = world.pass().await;
                let presses = report.done.iter().filter(|step| matches!(step, Step::Press { .. }));
                pressed.extend(presses.map(|_| now));
                assert!(report.again.is_some_and(|again| (1..=5).contains(&again.as_secs())), "{input}: {report:?}");
                let (type_, reason) =
                    if input == "absent" { ("Released", "Releasing") } else { ("Running", "Stopping") };
                assert_eq!(says(&report, type_).1, reason, "{input} at {now}");
            }
        }
        assert_eq!(pressed, [100, 105, 110, 115, 120, 125], "{input}");
        assert_eq!(world.owner().await.stop, Some(Stop::Asked { at: 100, pressed: 125 }), "{input}");
        world.now = 130;
        let report = world.pass().await;
        assert!(report.done.iter().any(|step| matches!(step, Step::Kill { .. })), "{input}: {report:?}");
    }
}

/// A record of another boot, or of a release that wrote wall-clock times.
#[tokio::test]
async fn a_time_that_is_still_to_come_turns_no_guest_off() {
    for (at, pressed) in [(1_800_000_000, 1_800_000_000), (101, 101), (90, 101), (101, 90)] {
        let mut world = World::new();
        world.pass().await;
        world.domains.set_deaf(true);
        world.want.running = false;
        world.now = 100;
        let owner = world.owner().await;
        let stop = Some(Stop::Asked { at, pressed });
        world.domains.set_owner(DomainRecord { stop, ..owner }).await.unwrap();
        let report = world.pass().await;
        assert_eq!(report.done.iter().map(world::kind).collect::<Vec<_>>(), ["Remember", "Press"], "{at} {pressed}");
        assert_eq!(world.owner().await.stop, Some(Stop::Asked { at: 100, pressed: 100 }), "{at} {pressed}");
        world.now = 129;
        assert!(!world.pass().await.done.iter().any(|step| matches!(step, Step::Kill { .. })), "{at} {pressed}");
        world.now = 130;
        assert!(world.pass().await.done.iter().any(|step| matches!(step, Step::Kill { .. })), "{at} {pressed}");
    }
}

#[tokio::test]
async fn nothing_is_touched_without_proof_or_by_an_older_spec() {
    let mut world = World::new();
    world.want.generation = 5;
    world.pass().await;
    world.want.generation = 4;
    world.want.running = false;
    let report = world.pass().await;
    assert_eq!(report.done, []);
    assert_eq!(says(&report, "Running").1, "OlderGeneration");
    assert_eq!(world.state().await, Some(DomainState::Running));
}

#[tokio::test]
async fn a_stranger_s_domain_is_left_alone() {
    let mut world = World::new();
    world.pass().await;
    let stranger = world.want.uid;
    world.want.uid = uid(2);
    let report = world.pass().await;
    assert_eq!(report.done, []);
    assert_eq!(says(&report, "Running"), (FALSE, "HeldByStranger".into()));
    assert_eq!(world.domains.look(stranger).await.unwrap().unwrap().state, DomainState::Running);
    world.mark();
    let report = world.pass().await;
    assert_eq!(says(&report, "Released"), (TRUE, "Released".into()));
    assert_eq!(world.domains.look(stranger).await.unwrap().unwrap().state, DomainState::Running);
}

#[tokio::test]
async fn what_is_not_there_yet_is_waited_for() {
    let mut world = World::new();
    let (volume, guests) = (world.disks.take("root"), world.taps.forget_guests());
    let report = world.pass().await;
    assert_eq!(report.done, []);
    assert_eq!(says(&report, "VolumesReady"), (FALSE, "WaitingForVolumes".into()));
    assert_eq!(says(&report, "NetworkReady"), (FALSE, "WaitingForNetwork".into()));
    assert_eq!(says(&report, "Running"), (FALSE, "WaitingForVolumes".into()));
    world.disks.give("root", volume);
    world.taps.know_guests(guests);
    world.want.seed = None;
    assert_eq!(says(&world.pass().await, "Running").1, "WaitingForSeed");
    world.want.seed = Some(Seed::default());
    assert_eq!(says(&world.pass().await, "Running"), (TRUE, "Running".into()));
    world.disks.take("root");
    world.want.seed = None;
    assert_eq!(world.pass().await.done, [], "a running guest does not stop for what is missing");
    world.want.restarted_at = Some("2026-11-21T02:00:00Z".into());
    let report = world.pass().await;
    assert_eq!(report.done, [], "and is not stopped where it could not start again");
    assert_eq!(condition(&report, "RestartRequired"), None, "what is not known is no difference");
}

#[tokio::test]
async fn only_an_admitted_server_is_started_and_none_that_runs_is_stopped_for_it() {
    let mut world = World::new();
    world.want.admitted = false;
    let report = world.pass().await;
    assert_eq!(says(&report, "Running"), (FALSE, "WaitingForRoom".into()));
    assert_eq!((report.done, report.waits, world.starts()), (vec![], true, 0));
    world.want.admitted = true;
    world.settle("admitted").await;
    world.want.admitted = false;
    world.want.restarted_at = Some("2026-01-01T00:00:00Z".into());
    let report = world.pass().await;
    assert_eq!((report.done, world.state().await), (vec![], Some(DomainState::Running)), "it could not come up again");
    world.want.running = false;
    let report = world.settle("stopped").await;
    assert_eq!(says(&report, "Running"), (FALSE, "Stopped".into()));
    world.want.running = true;
    let report = world.pass().await;
    assert_eq!(says(&report, "Running"), (FALSE, "WaitingForRoom".into()));
    world.want.admitted = true;
    world.settle("admitted again").await;
    assert_eq!(world.starts(), 2);
}

#[tokio::test]
async fn a_look_that_fails_is_unknown_and_nothing_is_done() {
    let mut world = World::new();
    world.pass().await;
    world.mark();
    world.domains.fail(DomainVerb::Look);
    let report = world.pass().await;
    assert_eq!(report.done, []);
    assert_eq!(says(&report, "Running"), (ConditionStatus::Unknown, "CannotLook".into()));
    assert!(report.again.is_some());
    assert_eq!(world.state().await, Some(DomainState::Running));
}

#[tokio::test]
async fn a_lost_tap_is_told_and_the_guest_is_left_running() {
    let mut world = World::new();
    world.pass().await;
    world.taps.lose();
    let report = world.pass().await;
    assert_eq!(report.done, []);
    assert_eq!(says(&report, "Running"), (TRUE, "Running".into()));
    assert_eq!(says(&report, "NetworkReady"), (FALSE, "TapLost".into()));
    assert_eq!(says(&report, "RestartRequired").0, TRUE);
    world.want.restarted_at = Some("2026-11-21T02:00:00Z".into());
    let report = world.settle("restarted").await;
    assert_eq!(says(&report, "NetworkReady"), (TRUE, "NetworkReady".into()));
    assert_eq!(condition(&report, "RestartRequired"), None);
}

#[tokio::test]
async fn a_guest_that_stood_still_goes_on_without_its_lost_tap() {
    let mut world = World::new();
    world.pass().await;
    world.domains.set_state(world.want.uid, DomainState::Paused(Pause::Asked));
    world.taps.lose();
    let report = world.settle("resumed").await;
    assert_eq!(says(&report, "Running"), (TRUE, "Running".into()));
    assert_eq!(says(&report, "NetworkReady"), (FALSE, "TapLost".into()));
    assert_eq!(world.starts(), 1);
}

#[tokio::test]
async fn a_change_waits_for_the_restart_and_moves_no_other_device() {
    let mut world = World::new();
    let before = world.pass().await.devices.unwrap();
    world.want.disks.remove(1);
    world.want.vcpus = 4;
    world.want.generation = 2;
    let report = world.settle("changed").await;
    let message = condition(&report, "RestartRequired").unwrap().message.clone();
    assert!(message.contains("1 CPUs instead of 4") && message.contains("still attached"), "{message}");
    assert_eq!(world.starts(), 1);
    world.want.restarted_at = Some("2026-11-21T02:00:00Z".into());
    let report = world.settle("restarted").await;
    assert_eq!(condition(&report, "RestartRequired"), None);
    let after = report.devices.unwrap();
    assert_eq!(after, [before[0].clone(), before[2].clone()]);
    assert_eq!(report.attached, [uid(10)]);
}

#[tokio::test]
async fn slots_on_record_are_kept_when_the_domain_is_lost() {
    let mut world = World::new();
    let devices = world.pass().await.devices.unwrap();
    world.want.disks.remove(1);
    world.want.recorded = devices.clone();
    world.domains.destroy(world.want.uid).await.unwrap();
    world.domains.undefine(world.want.uid).await.unwrap();
    let report = world.settle("made anew").await;
    assert_eq!(report.devices.unwrap(), [devices[0].clone(), devices[2].clone()]);
}

#[tokio::test(start_paused = true)]
async fn down_stops_all_of_ours_and_up_starts_them_again() {
    for deaf in [false, true] {
        let mut world = World::new();
        world.pass().await;
        world.domains.set_deaf(deaf);
        let stopped = stop_all(&world.domains, Duration::from_secs(30), world.now).await.unwrap();
        let name = vec!["nubium.shop.web-1".to_owned()];
        let (gracefully, hard) = if deaf { (vec![], name) } else { (name, vec![]) };
        assert_eq!(stopped, Stopped { gracefully, hard });
        assert!(matches!(world.state().await, Some(DomainState::Off(_))));
        assert_eq!(stop_all(&world.domains, Duration::ZERO, world.now).await.unwrap(), Stopped::default());
        let report = world.settle("up again").await;
        assert_eq!(says(&report, "Running"), (TRUE, "Running".into()));
        assert!(undefine_all(&world.domains).await.is_ok());
        assert_eq!(world.state().await, Some(DomainState::Running), "what runs is not forgotten");
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_of_one_guest_keeps_down_from_no_other() {
    use DomainVerb as V;
    for (verb, times) in [(V::SetOwner, 3), (V::Shutdown, 3), (V::Destroy, 3)] {
        for deaf in [false, true] {
            let mut world = World::new();
            world.pass().await;
            world.domains.set_deaf(deaf);
            for _ in 0..times {
                world.domains.fail(verb);
            }
            let stopped = stop_all(&world.domains, Duration::from_secs(30), world.now).await.unwrap();
            assert_eq!(stopped.gracefully.len() + stopped.hard.len(), 1, "{verb:?}");
            assert!(matches!(world.state().await, Some(DomainState::Off(_))), "{verb:?}");
        }
    }
    let mut world = World::new();
    world.pass().await;
    world.domains.spoil(world.want.uid);
    let stopped = stop_all(&world.domains, Duration::from_secs(30), world.now).await.unwrap();
    assert_eq!(stopped.gracefully, ["nubium.shop.web-1"], "what nobody can read is stopped all the same");
    undefine_all(&world.domains).await.unwrap();
    assert!(world.domains.list().await.unwrap().unreadable.is_empty());
}

#[tokio::test]
async fn a_guest_whose_domain_was_undefined_is_still_stopped_restarted_and_deleted() {
    for input in ["running", "restarted", "stopped", "absent"] {
        for deaf in [false, true] {
            let mut world = World::new();
            world.pass().await;
            world.domains.set_deaf(deaf);
            world.domains.undefine_behind_our_back(world.want.uid);
            match input {
                "restarted" => world.want.restarted_at = Some("2026-11-21T02:00:00Z".into()),
                "stopped" => world.want.running = false,
                "absent" => world.mark(),
                _ => {}
            }
            let report = world.pass().await;
            assert_eq!(report.done.first().map(world::kind), Some("DefineAgain"), "{input}");
            assert_eq!(report.news.first().map(|(reason, _)| *reason), Some("DefinedAgain"), "{input}");
            let report = world.settle(input).await;
            let (starts, said) = match input {
                "running" => (1, ("Running", "Running")),
                "restarted" => (2, ("Running", "Running")),
                "stopped" => (1, ("Running", "Stopped")),
                _ => (0, ("Released", "Released")),
            };
            assert_eq!(says(&report, said.0).1, said.1, "{input}");
            assert_eq!(world.starts(), starts, "{input}");
            assert_eq!(world.tap_is_in(), matches!(input, "running" | "restarted"), "{input}");
        }
    }
}

#[tokio::test]
async fn a_guest_that_the_host_ended_is_started_again_and_that_is_reported() {
    let mut world = World::new();
    world.pass().await;
    world.domains.set_state(world.want.uid, DomainState::Off(Off::Host));
    let report = world.pass().await;
    assert_eq!(report.news.first().map(|(reason, _)| *reason), Some("StartedAgain"));
    assert_eq!((says(&report, "Running"), world.starts()), ((TRUE, "Running".into()), 2));
}

/// A user's Port moves from a Server that is off to another one, and the other way round.
#[tokio::test]
async fn a_tap_that_is_another_s_now_is_left_alone() {
    for (by_port, input) in
        [(true, "stopped"), (false, "stopped"), (true, "absent"), (false, "absent"), (true, "running")]
    {
        let mut world = World::new();
        world.pass().await;
        world.domains.set_state(world.want.uid, DomainState::Off(Off::Destroyed));
        let nic = world.want.nics.pop().unwrap();
        match by_port {
            true => drop(world.want.others_taps.insert(nic.tap.clone())),
            false => drop(world.taps.held.lock().unwrap().insert(nic.tap.clone())),
        }
        match input {
            "stopped" => world.want.running = false,
            "absent" => world.mark(),
            _ => {}
        }
        world.settle(input).await;
        assert!(world.tap_is_in(), "{input}, by the Port {by_port}: it is the other guest's");
    }
}

#[tokio::test]
async fn a_port_that_another_guest_has_is_waited_for() {
    let mut world = World::new();
    world.pass().await;
    world.domains.set_state(world.want.uid, DomainState::Off(Off::Destroyed));
    let tap = world.want.nics[0].tap.clone();
    world.taps.held.lock().unwrap().insert(tap.clone());
    let report = world.pass().await;
    assert_eq!((says(&report, "Running").1.as_str(), world.starts()), ("WaitingForNetwork", 1));
    let message = &condition(&report, "Running").unwrap().message;
    assert!(message.contains("another Server"), "{message}");
    world.taps.held.lock().unwrap().clear();
    let report = world.settle("free").await;
    assert_eq!(says(&report, "Running"), (TRUE, "Running".into()));
}

#[tokio::test]
async fn a_nic_that_is_still_in_the_guest_stays_on_record() {
    let mut world = World::new();
    let before = world.pass().await.devices.unwrap();
    world.want.recorded = before.clone();
    world.want.nics.clear();
    let report = world.settle("still there").await;
    assert_eq!(report.devices.unwrap(), before, "its Port is not free");
    world.want.restarted_at = Some("2026-11-21T02:00:00Z".into());
    let report = world.settle("restarted").await;
    assert_eq!(report.devices.unwrap(), before[..2]);
}

/// A start that fails after the tap was made, and the NIC is then taken from the spec.
#[tokio::test]
async fn a_tap_of_a_failed_start_goes_when_its_nic_does() {
    let mut world = World::new();
    world.domains.fail(DomainVerb::Start);
    world.pass().await;
    assert_eq!(world.taps.outside.lock().unwrap().len(), 1);
    world.want.nics.clear();
    let report = world.settle("without it").await;
    assert_eq!(says(&report, "Running"), (TRUE, "Running".into()));
    assert!(world.taps.outside.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_console_that_is_no_longer_logged_wants_a_restart() {
    let mut world = World::new();
    world.pass().await;
    world.domains.lose_consoles();
    let report = world.settle("lost").await;
    assert_eq!(says(&report, "RestartRequired"), (TRUE, "ConsoleNotLogged".into()));
    world.want.restarted_at = Some("2026-11-21T02:00:00Z".into());
    let report = world.settle("restarted").await;
    assert_eq!(condition(&report, "RestartRequired"), None);
}

#[test]
fn a_desired_state_is_read_from_the_objects() {
    let settings = world::settings();
    let meta = |name: &str, uid: u128| json!({"namespace": "shop", "name": name, "uid": Uuid::from_u128(uid).to_string(), "generation": 3});
    let made_for = |uid: u128| json!({"server": "web-1", "uid": Uuid::from_u128(uid).to_string()});
    let read = |server: serde_json::Value, marked: Option<&SeenMarked>| {
        let server = serde_json::from_value(server).unwrap();
        let volume = serde_json::from_value(json!({
            "metadata": meta("web-1-root", 10), "spec": {"image": "debian", "madeFor": made_for(1)}, "status": {"host": "host-a"}
        }));
        let port = serde_json::from_value(json!({
            "metadata": meta("web-1-eth0", 20), "spec": {"network": "blue", "madeFor": made_for(1)},
            "status": {"macAddress": "52:54:00:00:00:01", "addresses": [{"name": "v4", "address": "10.0.0.2"}]}
        }));
        let network = serde_json::from_value(json!({
            "metadata": meta("blue", 30), "spec": {"subnets": [{"name": "v4", "cidr": "10.0.0.0/24"}]}, "status": {"mtu": 1400}
        }));
        let input = Input {
            server: &server,
            volumes: &[volume.unwrap()],
            ports: &[port.unwrap()],
            networks: &[network.unwrap()],
            seed: None,
            marked,
        };
        Desired::new(input, &settings)
    };
    let mut server = json!({
        "metadata": meta("web-1", 1),
        "spec": {"flavor": "small", "disks": [{"name": "root", "image": "debian"}, {"name": "data", "volume": "db"}],
                 "nics": [{"name": "eth0", "network": "blue"}], "restartedAt": "2026-11-21T02:00:00+00:00"},
        "status": {"host": "host-a", "resources": {"cpu": 2, "memory": "1Gi"},
                   "devices": [{"name": "disk-root", "slot": 0, "uid": "x"}]}
    });
    let want = read(server.clone(), None).unwrap();
    assert_eq!((want.vcpus, want.memory_bytes, want.running), (2, 1 << 30, true));
    assert_eq!(want.restarted_at.as_deref(), Some("2026-11-21T02:00:00Z"));
    assert_eq!(want.disks[0].file.name(), "web-1-root");
    assert_eq!(want.waiting_disks, BTreeMap::from([("data".to_owned(), "Volume db does not exist".to_owned())]));
    assert_eq!((want.nics[0].mtu, want.nics[0].netns.as_str()), (1400, "nubium.shop.blue"));
    server["metadata"]["deletionTimestamp"] = json!("2026-11-21T02:00:00Z");
    assert!(matches!(read(server.clone(), None), Err(Invalid::Unproven)));
    let other = SeenMarked::for_test(uid(7));
    assert!(matches!(read(server.clone(), Some(&other)), Err(Invalid::OtherProof)));
    let marked = SeenMarked::for_test(uid(1));
    assert_eq!(read(server.clone(), Some(&marked)).unwrap().presence, Presence::Absent(marked));
    server["metadata"]["deletionTimestamp"] = json!(null);
    server["status"]["host"] = json!("host-b");
    assert!(matches!(read(server, None), Err(Invalid::Elsewhere { .. })));
}

/// `a-b` with a disk `c` and `a` with a disk `b-c` both make the Volume `a-b-c`; an earlier Server of the same name may
/// have left its own behind; and two Servers may name one Port.
#[test]
fn what_was_made_for_another_or_is_another_s_is_never_taken() {
    let uid = |number| Uuid::from_u128(number).to_string();
    let meta = |name: &str, number| json!({"namespace": "shop", "name": name, "uid": uid(number), "generation": 1});
    let server: Server = serde_json::from_value(json!({
        "metadata": meta("a", 1),
        "spec": {"flavor": "small", "disks": [{"name": "b-c", "blank": {}}, {"name": "data", "volume": "db"}],
                 "nics": [{"name": "eth0", "network": "blue"}, {"name": "eth1", "port": "mine"}]},
        "status": {"host": "host-a", "resources": {"cpu": 1, "memory": "1Gi"}}
    }))
    .unwrap();
    let network: Network = serde_json::from_value(json!({
        "metadata": meta("blue", 30), "spec": {"subnets": [{"name": "v4", "cidr": "10.0.0.0/24"}]}
    }))
    .unwrap();
    let read = |mark: serde_json::Value, user: Option<&str>| {
        let volume = |name, number, mark| json!({"metadata": meta(name, number), "spec": {"size": "1Gi", "madeFor": mark}, "status": {"host": "host-a"}});
        let port = |name, number, mark, user| {
            json!({
                "metadata": meta(name, number), "spec": {"network": "blue", "madeFor": mark},
                "status": {"macAddress": "52:54:00:00:00:01", "addresses": [{"name": "v4", "address": "10.0.0.2"}], "server": user}
            })
        };
        let volumes = [volume("a-b-c", 10, mark.clone()), volume("db", 11, json!(null))];
        let ports = [port("a-eth0", 20, mark, Some("a")), port("mine", 21, json!(null), user)];
        let volumes: Vec<Volume> = volumes.map(|volume| serde_json::from_value(volume).unwrap()).into();
        let ports: Vec<Arc<Port>> = ports.map(|port| serde_json::from_value(port).unwrap()).into();
        let networks = std::slice::from_ref(&network);
        let input = Input { server: &server, volumes: &volumes, ports: &ports, networks, seed: None, marked: None };
        let want = Desired::new(input, &world::settings()).unwrap();
        want.waiting_disks.into_values().chain(want.waiting_nics.into_values()).collect::<Vec<_>>()
    };
    let mark = |server: &str, number| json!({"server": server, "uid": uid(number)});
    assert_eq!(read(mark("a", 1), Some("a")), [""; 0]);
    for other in [mark("a-b", 2), mark("a", 2), json!(null)] {
        let strange = ["Volume a-b-c was not made for this Server", "Port a-eth0 was not made for this Server"];
        assert_eq!(read(other, Some("a")), strange);
    }
    assert_eq!(read(mark("a", 1), Some("z")), ["Port mine is used by Server z"]);
    assert_eq!(read(mark("a", 1), None), ["Port mine is not given to this Server yet"]);
}

#[test]
fn a_volume_that_another_guest_has_or_that_is_to_go_is_not_used() {
    let uid = |number| Uuid::from_u128(number).to_string();
    let meta = |name: &str, number| json!({"namespace": "shop", "name": name, "uid": uid(number), "generation": 1});
    let server: Server = serde_json::from_value(json!({
        "metadata": meta("a", 1),
        "spec": {"flavor": "small", "disks": [{"name": "data", "volume": "db"}]},
        "status": {"host": "host-a", "resources": {"cpu": 1, "memory": "1Gi"}}
    }))
    .unwrap();
    let read = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut volume = json!({"metadata": meta("db", 11), "spec": {"size": "1Gi"}, "status": {"host": "host-a"}});
        change(&mut volume);
        let volumes = [serde_json::from_value(volume).unwrap()];
        let input = Input { server: &server, volumes: &volumes, ports: &[], networks: &[], seed: None, marked: None };
        Desired::new(input, &world::settings()).unwrap().waiting_disks.into_values().collect::<Vec<_>>()
    };
    let in_use = |status: &str| json!([{"type": "InUse", "status": status, "reason": "x", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    assert_eq!(read(&|_| ()), [""; 0]);
    let attached = |to: u128| {
        move |volume: &mut serde_json::Value| {
            volume["status"]["attachedTo"] = json!({"server": "b", "uid": uid(to)});
        }
    };
    assert_eq!(read(&attached(1)), [""; 0]);
    assert_eq!(read(&attached(2)), ["Volume db is still attached to the guest of Server b"]);
    for (status, marked, refused) in [("False", true, true), ("True", true, false), ("False", false, false)] {
        let waiting = read(&|volume| {
            volume["status"]["conditions"] = in_use(status);
            if marked {
                volume["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            }
        });
        assert_eq!(!waiting.is_empty(), refused, "{status} {marked}: {waiting:?}");
    }
}
