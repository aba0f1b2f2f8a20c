//! Media types: which form a client wants the answer in, and which form its body has.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

use crate::failure::Failure;

/// The form of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// The object or list itself.
    Plain,
    /// Rows and columns, of `meta.k8s.io/<version>`.
    Table { version: &'static str },
    /// Only `apiVersion`, `kind` and `metadata`.
    Metadata { version: &'static str },
}

/// How an answer is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub form: Form,
    pub pretty_yaml: bool,
}

const ACCEPTED: [&str; 2] = ["application/json", "application/yaml"];

impl Wanted {
    /// The best of the client's media types that this server can answer with. Protobuf answers are not given; every
    /// client that asks for them takes JSON as well.
    pub fn negotiate(headers: &HeaderMap) -> Result<Self, Failure> {
        let plain = Self { form: Form::Plain, pretty_yaml: false };
        if headers.get_all(ACCEPT).iter().all(HeaderValue::is_empty) {
            return Ok(plain);
        }
        let accepted = accepted(headers);
        let mut is_known = false;
        for accepted in &accepted {
            let yaml = matches!(accepted.media, "application/yaml" | "text/yaml");
            if !yaml && !matches!(accepted.media, "application/json" | "*/*" | "application/*") {
                continue;
            }
            is_known = true;
            let Some(shown_as) = accepted.parameter("as") else { return Ok(Self { pretty_yaml: yaml, ..plain }) };
            let version = match accepted.parameter("v") {
                Some("v1") => "v1",
                Some("v1beta1") => "v1beta1",
                _ => continue,
            };
            if accepted.parameter("g").is_some_and(|group| group != "meta.k8s.io") {
                continue;
            }
            match shown_as {
                "Table" => return Ok(Self { form: Form::Table { version }, pretty_yaml: yaml }),
                "PartialObjectMetadata" | "PartialObjectMetadataList" => {
                    return Ok(Self { form: Form::Metadata { version }, pretty_yaml: yaml });
                }
                _ => {}
            }
        }
        Err(if is_known { Failure::not_acceptable(&ACCEPTED) } else { Failure::not_available(&ACCEPTED) })
    }
}

/// One media range of an `Accept` header.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Accepted<'a> {
    pub media: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Accepted<'a> {
    fn parse(range: &'a str) -> Self {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let parameters = parts.filter_map(|part| part.split_once('='));
        Self { media, parameters: parameters.map(|(name, value)| (name.trim(), value.trim())).collect() }
    }

    pub fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }

    /// The more exact, the lower: `a/b`, `a/*`, `*/*`.
    fn wildcards(&self) -> usize {
        self.media.matches('*').count()
    }
}

/// The media ranges that a client accepts, the one it prefers first: by `q`, then the more exact, then as it says them.
pub(crate) fn accepted(headers: &HeaderMap) -> Vec<Accepted<'_>> {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges = values.flat_map(|value| value.split(',')).filter(|range| !range.trim().is_empty());
    let quality = |range: &Accepted<'_>| range.parameter("q").and_then(|q| q.parse::<f32>().ok()).unwrap_or(1.0);
    let mut ranges: Vec<Accepted<'_>> = ranges.map(Accepted::parse).filter(|range| quality(range) > 0.0).collect();
    ranges.sort_by(|a, b| quality(b).total_cmp(&quality(a)).then(a.wildcards().cmp(&b.wildcards())));
    ranges
}

/// The form of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyForm {
    Json,
    Yaml,
    Protobuf,
}

/// The kind of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatchForm {
    Json,
    Merge,
    Strategic,
    Apply,
}

fn content_type(headers: &HeaderMap) -> &str {
    let full = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    full.split(';').next().unwrap_or_default().trim()
}

/// The form of an object in a body; protobuf only for kinds that have it.
pub(crate) fn body_form(headers: &HeaderMap, protobuf: bool) -> Result<BodyForm, Failure> {
    match content_type(headers) {
        "" | "application/json" => Ok(BodyForm::Json),
        "application/yaml" => Ok(BodyForm::Yaml),
        "application/vnd.kubernetes.protobuf" if protobuf => Ok(BodyForm::Protobuf),
        _ if protobuf => Err(Failure::unsupported_media(&[
            "application/json",
            "application/yaml",
            "application/vnd.kubernetes.protobuf",
        ])),
        _ => Err(Failure::unsupported_media(&["application/json", "application/yaml"])),
    }
}

/// The kind of a patch, by its media type; strategic only for kinds that have it.
pub(crate) fn patch_form(headers: &HeaderMap, strategic: bool) -> Result<PatchForm, Failure> {
    match content_type(headers) {
        "application/json-patch+json" => Ok(PatchForm::Json),
        "application/merge-patch+json" => Ok(PatchForm::Merge),
        "application/strategic-merge-patch+json" if strategic => Ok(PatchForm::Strategic),
        "application/apply-patch+yaml" => Ok(PatchForm::Apply),
        _ if strategic => Err(Failure::unsupported_media(&[
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/strategic-merge-patch+json",
            "application/apply-patch+yaml",
        ])),
        _ => Err(Failure::unsupported_media(&[
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/apply-patch+yaml",
        ])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(accept: &str) -> Result<Form, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        Wanted::negotiate(&headers).map(|wanted| wanted.form)
    }

    #[test]
    fn what_clients_ask_for() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(wanted(kubectl).unwrap(), Form::Table { version: "v1" });
        assert_eq!(wanted("application/vnd.kubernetes.protobuf,application/json").unwrap(), Form::Plain);
        assert_eq!(wanted("application/json, */*").unwrap(), Form::Plain);
        let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
        assert_eq!(wanted(aggregated).unwrap(), Form::Plain);
        let metadata = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        assert_eq!(wanted(metadata).unwrap(), Form::Metadata { version: "v1" });
        let preferred = "application/json;as=Table;v=v1;g=meta.k8s.io;q=0.1,application/json;q=0.9";
        assert_eq!(wanted(preferred).unwrap(), Form::Plain);
        assert_eq!(wanted("*/*,application/json;as=Table;v=v1;g=meta.k8s.io").unwrap(), Form::Table { version: "v1" });
        assert_eq!(wanted("application/json;q=0").unwrap_err().code(), 406);
        assert_eq!(wanted("text/html").unwrap_err().code(), 406);
        assert_eq!(wanted("application/json;as=Table;v=v9;g=meta.k8s.io").unwrap_err().code(), 406);
    }
}
