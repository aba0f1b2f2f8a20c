//! nftables through the `nft` program, in the namespace of the calling thread.
//!
//! A table of ours is replaced whole, in one transaction: there is no moment with half the rules. Afterwards it is
//! listed, and the digest of what the kernel lists is written into it as the comment of a rule that does nothing.
//! A later look compares that digest with what the kernel lists then, so it notices any change by anybody, whichever
//! version of nft prints it, and without a file that could be lost apart from the rules.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    error::{NetworkError, Result},
    names::hex,
    programs,
};

/// The name of every table of ours, in whichever family.
pub const TABLE: &str = "nubium";
/// The chain in table `inet nubium` that nothing jumps to and whose only rule carries the digests.
const ABOUT: &str = "about";

/// Rules to be in force: the text of our tables, without the `table` header's add and delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    /// Our families, each one table named [`TABLE`]; `inet` is always among them.
    pub families: &'static [&'static str],
    /// `table <family> nubium { … }`, once per family.
    pub text: String,
}

impl Ruleset {
    /// Two rulesets with the same digest are the same.
    pub fn digest(&self) -> String {
        hex(&Sha256::digest(self.text.as_bytes()), 16)
    }
}

/// What a look finds of our tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulesSeen {
    /// The [`Ruleset::digest`] they were made from.
    pub digest: String,
    /// Whether the kernel lists exactly what it listed right after they were put in.
    pub intact: bool,
}

/// Everything nft lists in this namespace.
pub(super) fn list() -> Result<Vec<Value>> {
    let output = run(&["-j", "list", "ruleset"], None)?;
    let listing: Value = serde_json::from_slice(&output).map_err(NetworkError::NftListing)?;
    Ok(match listing {
        Value::Object(mut object) => match object.remove("nftables") {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    })
}

/// Refuses to go on where a table of our name was made by somebody else.
pub(super) fn refuse_foreign() -> Result<()> {
    let listing = list()?;
    let used = listing.iter().any(|item| item["chain"]["table"] == TABLE && item["chain"]["family"] == "inet");
    if used && !is_ours(&listing) {
        return Err(NetworkError::NotOurs { what: format!("the nftables table inet {TABLE}") });
    }
    Ok(())
}

/// Whether the table `inet nubium` is one that we made: it has the chain that stays when its rules are flushed.
pub(super) fn is_ours(listing: &[Value]) -> bool {
    listing
        .iter()
        .map(|item| &item["chain"])
        .any(|chain| chain["table"] == TABLE && chain["family"] == "inet" && chain["name"] == ABOUT)
}

/// Puts `rules` in force in place of whatever our tables held. They carry our mark from the beginning.
pub(super) fn replace(rules: &Ruleset) -> Result<()> {
    let about = |listed: &str| {
        format!("add rule inet {TABLE} {ABOUT} accept comment \"nubium.dev made {} listed {listed}\"\n", rules.digest())
    };
    let mut script = String::new();
    for family in rules.families {
        // Adding first makes the deletion succeed when there is none.
        script.push_str(&format!("add table {family} {TABLE}\ndelete table {family} {TABLE}\n"));
    }
    script.push_str(&rules.text);
    script.push_str(&format!("\nadd chain inet {TABLE} {ABOUT}\n{}", about("nothing")));
    run(&["-f", "-"], Some(&script))?;
    let listed = digest_of(&list()?);
    run(&["-f", "-"], Some(&format!("flush chain inet {TABLE} {ABOUT}\n{}", about(&listed)))).map(drop)
}

/// Removes our tables of these families; absent ones are fine.
pub(super) fn remove(families: &[&str]) -> Result<()> {
    let script: String =
        families.iter().map(|f| format!("add table {f} {TABLE}\ndelete table {f} {TABLE}\n")).collect();
    run(&["-f", "-"], Some(&script)).map(drop)
}

/// What is there of our tables, from a listing; `None` when they are not there or were never finished.
pub(super) fn seen(listing: &[Value]) -> Option<RulesSeen> {
    let comment = listing.iter().find_map(|item| {
        let rule = &item["rule"];
        (rule["table"] == TABLE && rule["family"] == "inet" && rule["chain"] == ABOUT)
            .then(|| rule["comment"].as_str())
            .flatten()
    })?;
    let mut words = comment.strip_prefix("nubium.dev made ")?.split(" listed ");
    let (digest, listed) = (words.next()?, words.next()?);
    Some(RulesSeen { digest: digest.to_string(), intact: digest_of(listing) == listed })
}

/// The elements of one of our sets, as nft lists them.
pub(super) fn elements<'a>(listing: &'a [Value], family: &str, set: &str) -> Vec<&'a Value> {
    listing
        .iter()
        .map(|item| &item["set"])
        .filter(|s| s["table"] == TABLE && s["family"] == family && s["name"] == set)
        .filter_map(|s| s["elem"].as_array())
        .flatten()
        .collect()
}

/// The digest of our tables in a listing: without handles, which count up, and without the rule that carries it.
fn digest_of(listing: &[Value]) -> String {
    let mut digest = Sha256::new();
    for item in listing {
        let Some((kind, body)) = item.as_object().and_then(|o| o.iter().next()) else { continue };
        let ours = if kind == "table" { body["name"] == TABLE } else { body["table"] == TABLE };
        if !ours || (kind == "rule" && body["chain"] == ABOUT) {
            continue;
        }
        let mut body = body.clone();
        if let Some(body) = body.as_object_mut() {
            body.remove("handle");
            if let Some(Value::Array(elements)) = body.get_mut("elem") {
                elements.sort_by_key(Value::to_string);
            }
        }
        digest.update(kind.as_bytes());
        digest.update(body.to_string().as_bytes());
    }
    hex(&digest.finalize(), 16)
}

fn run(arguments: &[&str], input: Option<&str>) -> Result<Vec<u8>> {
    let program = || NetworkError::Run { program: "nft".into(), source: std::io::Error::last_os_error() };
    programs::count_one();
    let mut child = Command::new("nft")
        .args(arguments)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| NetworkError::Run { program: "nft".into(), source })?;
    if let Some(input) = input {
        // nft reads all of its input before it prints anything, so this cannot block on its output.
        child
            .stdin
            .take()
            .ok_or_else(program)?
            .write_all(input.as_bytes())
            .map_err(|source| NetworkError::Run { program: "nft".into(), source })?;
    }
    let output = child.wait_with_output().map_err(|source| NetworkError::Run { program: "nft".into(), source })?;
    if !output.status.success() {
        return Err(NetworkError::Command {
            command: format!("nft {}", arguments.join(" ")),
            output: String::from_utf8_lossy(&output.stderr).trim().to_string(),
        });
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn listing(handle: u64, policy: &str) -> Vec<Value> {
        vec![
            json!({"metainfo": {"version": "1"}}),
            json!({"table": {"family": "inet", "name": "nubium", "handle": handle}}),
            json!({"chain": {"family": "inet", "table": "nubium", "name": "input", "handle": handle, "policy": policy}}),
            json!({"table": {"family": "ip", "name": "filter", "handle": 1}}),
        ]
    }

    fn about(listed: &str) -> Value {
        json!({"rule": {"family": "inet", "table": "nubium", "chain": "about", "handle": 9,
            "comment": format!("nubium.dev made abc listed {listed}"), "expr": [{"accept": null}]}})
    }

    #[test]
    fn a_change_is_seen_and_another_handle_is_none() {
        let then = digest_of(&listing(1, "drop"));
        let look = |mut now: Vec<Value>| {
            now.push(about(&then));
            seen(&now).unwrap()
        };
        assert_eq!(look(listing(7, "drop")), RulesSeen { digest: "abc".into(), intact: true });
        assert!(!look(listing(7, "accept")).intact);
        assert!(!look(vec![]).intact);
        assert_eq!(seen(&listing(1, "drop")), None, "never finished");
    }
}
