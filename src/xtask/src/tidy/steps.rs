//! The pure files of a reconciler (`desired`, `plan`, `status`) import nothing that reads or changes the world, and
//! nothing that reads a clock or is random.

/// The names of pure files.
pub(super) const PURE: &[&str] = &["desired.rs", "plan.rs", "status.rs"];

/// What they must not name.
const IMPURE: &[&str] = &[
    "async fn",
    ".await",
    "std::fs",
    "std::process",
    "std::net::Tcp",
    "std::net::Udp",
    "Instant::now",
    "SystemTime",
    "Timestamp::now",
    "tokio::",
    "nix::",
    "rand::",
    "kube::Api",
    "kube::Client",
    "Uuid::new_v4",
];

/// The impure things that the text of a pure file names, tests apart.
pub(super) fn impure(text: &str) -> Vec<&'static str> {
    let product = text.split("#[cfg(test)]").next().unwrap_or_default();
    let code: String =
        product.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    IMPURE.iter().copied().filter(|impure| code.contains(impure)).collect()
}

#[cfg(test)]
mod tests {
    use super::impure;

    #[test]
    fn a_plan_that_reads_a_clock_or_a_file_is_named() {
        let text =
            "//! tokio:: in prose is fine\nuse std::fs;\nfn f() { Instant::now(); }\n#[cfg(test)]\nmod t { tokio::x }";
        assert_eq!(impure(text), ["std::fs", "Instant::now"]);
    }
}
