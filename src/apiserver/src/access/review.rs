//! The reviews by which somebody asks who they are and what they may do: `kubectl auth whoami`, `kubectl auth can-i`.
//!
//! They are posted and answered, never stored.

use http::StatusCode;
use nubium_schema::FieldError;
use serde_json::{Value, json};

use super::authorize::{self, Action, Authorizer};
use super::identity::Identity;
use crate::failure::Failure;

/// Makes a review's status of its spec.
type Answer = fn(&dyn Authorizer, &Identity, &Value) -> Result<Value, Refusal>;

/// Why a review is not answered.
enum Refusal {
    Invalid(FieldError),
    BadRequest(&'static str),
}

impl Refusal {
    /// As Kubernetes, which has forgotten by then of which kind the review is.
    fn about(self, group: &str) -> Failure {
        match self {
            Self::Invalid(error) => Failure::invalid(group, "", "", &[error]),
            Self::BadRequest(why) => Failure::bad_request(why),
        }
    }
}

/// The one version of all of them.
pub(crate) const VERSION: &str = "v1";

/// One kind of review.
pub(crate) struct Review {
    pub group: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub singular: &'static str,
    /// The protobuf message that a body may be.
    pub message: &'static str,
    /// Its OpenAPI component.
    pub schema: &'static str,
    answer: Answer,
}

pub(crate) const ALL: [Review; 3] = [
    Review {
        group: "authentication.k8s.io",
        kind: "SelfSubjectReview",
        plural: "selfsubjectreviews",
        singular: "selfsubjectreview",
        message: "k8s.io.api.authentication.v1.SelfSubjectReview",
        schema: "io.k8s.api.authentication.v1.SelfSubjectReview",
        answer: who,
    },
    Review {
        group: "authorization.k8s.io",
        kind: "SelfSubjectAccessReview",
        plural: "selfsubjectaccessreviews",
        singular: "selfsubjectaccessreview",
        message: "k8s.io.api.authorization.v1.SelfSubjectAccessReview",
        schema: "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
        answer: access,
    },
    Review {
        group: "authorization.k8s.io",
        kind: "SelfSubjectRulesReview",
        plural: "selfsubjectrulesreviews",
        singular: "selfsubjectrulesreview",
        message: "k8s.io.api.authorization.v1.SelfSubjectRulesReview",
        schema: "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
        answer: rules,
    },
];

/// The reviews of a group and version.
pub(crate) fn of(group: &str, version: &str) -> impl Iterator<Item = &'static Review> {
    let served = version == VERSION;
    let group = group.to_owned();
    ALL.iter().filter(move |review| served && review.group == group)
}

/// The review at a path.
pub(crate) fn find(group: &str, version: &str, plural: &str) -> Option<&'static Review> {
    of(group, version).find(|review| review.plural == plural)
}

impl Review {
    /// Answers what was posted: the same object with its status.
    pub fn answer(
        &self,
        authorizer: &dyn Authorizer,
        identity: &Identity,
        posted: &Value,
    ) -> Result<(StatusCode, Value), Failure> {
        let action = Action {
            verb: "create",
            group: self.group,
            resource: self.plural,
            subresource: "",
            namespace: "",
            name: Some(""),
        };
        if identity.is_anonymous() {
            authorize::check(authorizer, identity, &action)?;
        }
        let api_version = format!("{}/{VERSION}", self.group);
        for (field, want) in [("apiVersion", api_version.as_str()), ("kind", self.kind)] {
            let found = posted[field].as_str().unwrap_or_default();
            if !found.is_empty() && found != want {
                return Err(Failure::bad_request(format!("the body's {field} is {found:?}, it must be {want:?}")));
            }
        }
        let status =
            (self.answer)(authorizer, identity, &posted["spec"]).map_err(|refusal| refusal.about(self.group))?;
        let mut object = json!({"kind": self.kind, "apiVersion": api_version, "metadata": {}, "status": status});
        if posted["spec"].is_object() {
            object["spec"] = posted["spec"].clone();
        }
        Ok((StatusCode::CREATED, object))
    }
}

fn who(_: &dyn Authorizer, identity: &Identity, _: &Value) -> Result<Value, Refusal> {
    Ok(json!({"userInfo": {"username": identity.name, "groups": identity.groups}}))
}

fn access(authorizer: &dyn Authorizer, identity: &Identity, spec: &Value) -> Result<Value, Refusal> {
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let text = |of: &Value, field: &str| of[field].as_str().unwrap_or_default().to_owned();
    let reason = match (resource.is_object(), path.is_object()) {
        (true, true) => {
            let why = "cannot be specified in combination with resourceAttributes";
            return Err(Refusal::Invalid(FieldError::invalid("spec.nonResourceAttributes", path.clone(), why)));
        }
        (false, false) => {
            let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            return Err(Refusal::Invalid(FieldError::invalid("spec.resourceAttributes", Value::Null, why)));
        }
        (true, false) => {
            let fields = ["verb", "group", "resource", "subresource", "namespace", "name"];
            let [verb, group, resource, subresource, namespace, name] = fields.map(|field| text(resource, field));
            authorizer.reason(
                identity,
                &Action {
                    verb: &verb,
                    group: &group,
                    resource: &resource,
                    subresource: &subresource,
                    namespace: &namespace,
                    name: Some(&name),
                },
            )
        }
        (false, true) => authorize::page_reason(identity, &text(path, "verb"), &text(path, "path")),
    };
    Ok(match reason {
        Some(reason) => json!({"allowed": true, "reason": reason}),
        None => json!({"allowed": false}),
    })
}

fn rules(authorizer: &dyn Authorizer, identity: &Identity, spec: &Value) -> Result<Value, Refusal> {
    let namespace = spec["namespace"].as_str().unwrap_or_default();
    if namespace.is_empty() {
        return Err(Refusal::BadRequest("no namespace on request"));
    }
    Ok(authorizer.rules(identity, namespace))
}

#[cfg(test)]
mod tests {
    use super::super::authorize::HostRoles;
    use super::*;

    fn ask(identity: &Identity, kind: &str, spec: &Value) -> Result<Value, Failure> {
        let policy = crate::Policy::of(&nubium_api::contract::host_policy()).unwrap();
        let roles = HostRoles(policy.rules);
        let review = ALL.iter().find(|review| review.kind == kind).unwrap();
        review.answer(&roles, identity, &json!({"spec": spec})).map(|(_, mut object)| object["status"].take())
    }

    #[test]
    fn every_review_is_known_to_openapi() {
        for review in &ALL {
            assert!(crate::kind::components().contains_key(review.schema), "{}", review.schema);
        }
    }

    #[test]
    fn who_may_do_what_is_what_the_rules_say() {
        let (admin, host) = (Identity::admin("a"), Identity::host("rack-1"));
        for (identity, attributes, allowed) in [
            (&admin, json!({"verb": "*", "group": "*", "resource": "*"}), true),
            (&host, json!({"verb": "get", "group": "nubium.dev", "resource": "servers", "namespace": "shop"}), true),
            (&host, json!({"verb": "get", "resource": "secrets", "namespace": "shop", "name": "s"}), false),
            (&host, json!({"verb": "*", "group": "nubium.dev", "resource": "servers"}), false),
        ] {
            let status = ask(identity, "SelfSubjectAccessReview", &json!({"resourceAttributes": attributes})).unwrap();
            assert_eq!(status["allowed"], allowed, "{} {attributes}", identity.name);
        }
        let path = json!({"nonResourceAttributes": {"verb": "get", "path": "/metrics"}});
        assert_eq!(ask(&admin, "SelfSubjectAccessReview", &path).unwrap()["allowed"], true);
        assert_eq!(ask(&host, "SelfSubjectAccessReview", &path).unwrap()["allowed"], false);
        assert_eq!(ask(&host, "SelfSubjectAccessReview", &json!({})).unwrap_err().code(), 422);
    }

    #[test]
    fn the_list_of_rules_allows_what_a_check_allows() {
        let host = Identity::host("rack-1");
        let status = ask(&host, "SelfSubjectRulesReview", &json!({"namespace": "nubium-hosts"})).unwrap();
        let rules = status["resourceRules"].as_array().unwrap();
        let leases = rules.iter().find(|rule| rule["resources"] == json!(["leases"])).unwrap();
        assert_eq!(leases["resourceNames"], json!(["rack-1"]));
        let elsewhere = ask(&host, "SelfSubjectRulesReview", &json!({"namespace": "shop"})).unwrap();
        assert!(!elsewhere.to_string().contains("leases"), "{elsewhere}");
        assert_eq!(ask(&host, "SelfSubjectReview", &Value::Null).unwrap()["userInfo"]["username"], "rack-1");
        assert_eq!(ask(&Identity::anonymous(), "SelfSubjectReview", &Value::Null).unwrap_err().code(), 403);
    }
}
