//! Other software's firewall on the host. An accept in our table does not undo a drop in another's: each base chain
//! judges for itself. So where a forwarded packet of ours would be dropped, the others' rules are changed by their own means.
//!
//! | found | means | tried |
//! |---|---|---|
//! | a `DOCKER-USER` chain | two rules at its top (Docker keeps that chain for this) | yes |
//! | iptables `FORWARD` with policy DROP or with rules of others | the same two rules at its top | yes |
//! | an nftables base chain on `forward` that ends in dropping (firewalld, hand-written) | none of ours; named, with a command for the admin | hand-written: yes; firewalld: no, only its chain's shape |
//!
//! ufw is the second row: it works through iptables' `FORWARD`, and its own chains come after our two rules. This
//! was not tried with a live ufw. After `ufw reload` the next pass puts the rules back if it took them.
//!
//! The rules carry a comment, are looked for in every pass, and are removed by teardown.

use std::{fs, process::Command};

use serde_json::Value;

use super::{
    error::{NetworkError, Result},
    nft::TABLE,
    programs,
};

/// The comment on each of our rules.
const COMMENT: &str = "nubium";

/// Which iptables holds the rules; they are two separate sets in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Backend {
    Nft,
    Legacy,
}

impl Backend {
    fn program(self) -> &'static str {
        match self {
            Backend::Nft => "iptables-nft",
            Backend::Legacy => "iptables-legacy",
        }
    }
}

/// A place in iptables where forwarded packets must be let through.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IptablesChain {
    pub backend: Backend,
    /// `DOCKER-USER` or `FORWARD`.
    pub chain: String,
}

/// What a look finds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FirewallSeen {
    /// Chains that need our two rules, and whether they are there, at the top.
    pub iptables: Vec<(IptablesChain, bool)>,
    /// nftables chains that drop what is forwarded and that we leave alone: `family table chain`.
    pub blocked_by: Vec<String>,
}

fn rules() -> [Vec<&'static str>; 2] {
    [
        vec!["-i", "nub+", "-m", "comment", "--comment", COMMENT, "-j", "ACCEPT"],
        vec![
            "-o",
            "nub+",
            "-m",
            "conntrack",
            "--ctstate",
            "RELATED,ESTABLISHED",
            "-m",
            "comment",
            "--comment",
            COMMENT,
            "-j",
            "ACCEPT",
        ],
    ]
}

/// What nftables holds, iptables' rules in it among that.
pub(super) fn look(listing: &[Value]) -> Result<FirewallSeen> {
    let mut seen = FirewallSeen::default();
    if uses_nft(listing) {
        seen.iptables.extend(look_iptables(Backend::Nft)?);
    }
    for item in listing {
        let chain = &item["chain"];
        if chain["hook"] == "forward" && closes(listing, chain) && !lets_networks_in(listing, chain) {
            let text = |key: &str| chain[key].as_str().unwrap_or_default().to_string();
            seen.blocked_by.push(format!("{} {} {}", text("family"), text("table"), text("name")));
        }
    }
    Ok(seen)
}

/// What the old iptables holds, if it is in use. Nothing notifies of a change of it.
pub(super) fn look_legacy() -> Result<Option<(IptablesChain, bool)>> {
    if uses_legacy() { look_iptables(Backend::Legacy) } else { Ok(None) }
}

fn look_iptables(backend: Backend) -> Result<Option<(IptablesChain, bool)>> {
    let listed = iptables(backend, &["-S"])?;
    Ok(needed(&listed).map(|(chain, in_place)| (IptablesChain { backend, chain: chain.to_string() }, in_place)))
}

/// Whether a base chain on `forward` ends in dropping what no rule of it let through: by its policy, or by a last
/// rule without a condition (as firewalld's). IPv4 is all that Networks send for now; what iptables holds is told.
fn closes(listing: &[Value], chain: &Value) -> bool {
    let iptables_own = chain["family"] == "ip" && chain["table"] == "filter" && chain["name"] == "FORWARD";
    if chain["table"] == TABLE || iptables_own || chain["family"] == "ip6" || chain["family"] == "bridge" {
        return false;
    }
    let last = rules_of(listing, chain).filter(|rule| rule["chain"] == chain["name"]).last();
    let unconditional = last.and_then(|rule| rule["expr"].as_array()).is_some_and(|expressions| {
        let verdict = |e: &Value| e.get("drop").is_some() || e.get("reject").is_some();
        expressions.iter().all(|e| verdict(e) || e.get("counter").is_some()) && expressions.iter().any(verdict)
    });
    chain["policy"] == "drop" || unconditional
}

/// Whether the admin has let our links through in that table: a rule on `iifname "nub*"` that does not drop.
fn lets_networks_in(listing: &[Value], chain: &Value) -> bool {
    rules_of(listing, chain).filter_map(|rule| rule["expr"].as_array()).any(|expressions| {
        let ours = |e: &Value| e["match"]["left"]["meta"]["key"] == "iifname" && e["match"]["right"] == "nub*";
        let passes = |e: &Value| ["accept", "goto", "jump"].iter().any(|verdict| e.get(*verdict).is_some());
        expressions.iter().any(ours) && expressions.iter().any(passes)
    })
}

fn rules_of<'a>(listing: &'a [Value], chain: &'a Value) -> impl Iterator<Item = &'a Value> {
    listing
        .iter()
        .map(|item| &item["rule"])
        .filter(|rule| rule["family"] == chain["family"] && rule["table"] == chain["table"])
}

/// The chain that needs our rules, by what `iptables -S` prints, and whether they are first in it.
fn needed(listed: &str) -> Option<(&'static str, bool)> {
    let docker = listed.lines().any(|line| line == "-N DOCKER-USER");
    let chain = if docker { "DOCKER-USER" } else { "FORWARD" };
    let prefix = format!("-A {chain} ");
    let of_chain: Vec<&str> = listed.lines().filter(|line| line.starts_with(&prefix)).collect();
    let ours = |line: &&str| {
        line.contains(&format!("--comment {COMMENT} ")) || line.contains(&format!("--comment \"{COMMENT}\" "))
    };
    let dropping = !listed.lines().any(|line| line == "-P FORWARD ACCEPT") || of_chain.iter().any(|line| !ours(line));
    let in_place =
        of_chain.len() >= 2 && of_chain[..2].iter().all(ours) && of_chain.iter().filter(|l| ours(l)).count() == 2;
    let there = of_chain.iter().any(ours);
    (docker || dropping || there).then_some((chain, in_place))
}

/// Puts our two rules at the top of the chain, in place of any of ours further down.
pub(super) fn allow(chain: &IptablesChain) -> Result<()> {
    remove_from(chain.backend, &chain.chain)?;
    for rule in rules().iter().rev() {
        let mut arguments = vec!["-I", chain.chain.as_str(), "1"];
        arguments.extend(rule);
        iptables(chain.backend, &arguments)?;
    }
    Ok(())
}

/// Takes our rules out of every chain.
pub(super) fn remove(listing: &[Value]) -> Result<()> {
    for backend in backends(listing) {
        let listed = iptables(backend, &["-S"])?;
        for chain in ["DOCKER-USER", "FORWARD"] {
            if listed.lines().any(|l| l.starts_with(&format!("-A {chain} ")) && l.contains(COMMENT)) {
                remove_from(backend, chain)?;
            }
        }
    }
    Ok(())
}

fn remove_from(backend: Backend, chain: &str) -> Result<()> {
    for rule in rules() {
        let with = |verb| {
            let mut arguments = vec![verb, chain];
            arguments.extend(&rule);
            arguments
        };
        while iptables(backend, &with("-C")).is_ok() {
            iptables(backend, &with("-D"))?;
        }
    }
    Ok(())
}

/// The iptables that are in use here. Asking one that is not would load it, and leave its tables behind.
fn backends(listing: &[Value]) -> Vec<Backend> {
    let both = [(Backend::Nft, uses_nft(listing)), (Backend::Legacy, uses_legacy())];
    both.into_iter().filter(|(_, used)| *used).map(|(backend, _)| backend).collect()
}

fn uses_nft(listing: &[Value]) -> bool {
    listing.iter().any(|item| item["table"]["family"] == "ip" && item["table"]["name"] == "filter")
}

/// Of the namespace of the thread that asks.
fn uses_legacy() -> bool {
    fs::read_to_string("/proc/thread-self/net/ip_tables_names")
        .is_ok_and(|names| names.lines().any(|name| name == "filter"))
}

fn iptables(backend: Backend, arguments: &[&str]) -> Result<String> {
    programs::count_one();
    let program = backend.program();
    let output = Command::new(program)
        .args(["-w", "5"])
        .args(arguments)
        .output()
        .map_err(|source| NetworkError::Run { program: program.into(), source })?;
    if !output.status.success() {
        return Err(NetworkError::Command {
            command: format!("{program} {}", arguments.join(" ")),
            output: String::from_utf8_lossy(&output.stderr).trim().to_string(),
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: [&str; 2] = [
        "-i nub+ -m comment --comment nubium -j ACCEPT",
        "-o nub+ -m conntrack --ctstate RELATED,ESTABLISHED -m comment --comment nubium -j ACCEPT",
    ];

    fn listing(policy: &str, chain: &str, rules: &[&str]) -> String {
        let mut text = format!("-P INPUT ACCEPT\n-P FORWARD {policy}\n-P OUTPUT ACCEPT\n");
        if chain != "FORWARD" {
            text.push_str(&format!("-N {chain}\n-A FORWARD -j {chain}\n"));
        }
        for rule in rules {
            text.push_str(&format!("-A {chain} {rule}\n"));
        }
        text
    }

    #[test]
    fn an_open_host_needs_nothing() {
        assert_eq!(needed(&listing("ACCEPT", "FORWARD", &[])), None);
    }

    #[test]
    fn docker_has_a_chain_for_it() {
        assert_eq!(needed(&listing("DROP", "DOCKER-USER", &["-j RETURN"])), Some(("DOCKER-USER", false)));
        assert_eq!(
            needed(&listing("DROP", "DOCKER-USER", &[OURS[0], OURS[1], "-j RETURN"])),
            Some(("DOCKER-USER", true))
        );
        assert_eq!(
            needed(&listing("DROP", "DOCKER-USER", &["-j RETURN", OURS[0], OURS[1]])),
            Some(("DOCKER-USER", false))
        );
        assert_eq!(needed(&listing("DROP", "DOCKER-USER", &[OURS[0], "-j RETURN"])), Some(("DOCKER-USER", false)));
    }

    #[test]
    fn without_docker_it_is_forward_if_anything_there_may_drop() {
        assert_eq!(needed(&listing("DROP", "FORWARD", &[])), Some(("FORWARD", false)));
        assert_eq!(
            needed(&listing("ACCEPT", "FORWARD", &["-j REJECT --reject-with icmp-host-prohibited"])),
            Some(("FORWARD", false))
        );
        assert_eq!(needed(&listing("DROP", "FORWARD", &OURS)), Some(("FORWARD", true)));
    }
}
