//! What went wrong, in one sentence: an error and its causes, without what the libraries below say twice or for themselves.

use anyhow::anyhow;
use http::Uri;

use crate::escape;

/// The same error, as it is to be printed.
pub(crate) fn printable(error: anyhow::Error, cloud: &Uri) -> anyhow::Error {
    let mut said: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = match cause.downcast_ref::<kube::Error>() {
            Some(kube::Error::Api(status)) => Some(status.message.clone()),
            Some(error) => refusal(error).map(|why| {
                format!("the cloud at {cloud} cannot be reached ({why}): is it up, and is this its kubeconfig?")
            }),
            None => None,
        };
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            said.push(text);
            break;
        }
        let text = cause.to_string();
        // Some say their cause themselves.
        if !said.last().is_some_and(|last| last.contains(&text)) {
            said.push(text);
        }
    }
    anyhow!("{}", escape::lines(&said.join(": ")))
}

/// The operating system's or TLS's own words, if nothing was heard from the other side.
fn refusal(error: &kube::Error) -> Option<String> {
    let (kube::Error::Service(_) | kube::Error::HyperError(_)) = error else { return None };
    let mut last: &dyn std::error::Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    let text = last.to_string();
    Some(text.split(" (os error").next().unwrap_or(&text).to_lowercase())
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use kube::{Api, Client, Config};
    use nubium_api::Server;

    use super::*;

    #[test]
    fn what_the_api_server_says_stands_alone() {
        let status = kube::core::Status::failure("servers.nubium.dev \"web\" not found", "NotFound").with_code(404);
        let error = anyhow::Error::from(kube::Error::Api(status.boxed()));
        assert_eq!(printable(error, &Uri::default()).to_string(), "servers.nubium.dev \"web\" not found");
    }

    #[test]
    fn what_is_said_already_is_not_said_again() {
        let error = std::io::Error::other("no such file");
        let error = anyhow::Error::from(error).context("cannot read: no such file").context("cannot begin");
        assert_eq!(printable(error, &Uri::default()).to_string(), "cannot begin: cannot read: no such file");
    }

    #[tokio::test]
    async fn a_cloud_that_is_down_is_said_to_be() {
        // A port that was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let cloud: Uri = format!("http://127.0.0.1:{port}").parse().unwrap();
        let api: Api<Server> = Api::all(Client::try_from(Config::new(cloud.clone())).unwrap());
        let error = api.get("web").await.context("cannot ask the cloud").unwrap_err();
        assert_eq!(
            printable(error, &cloud).to_string(),
            format!(
                "cannot ask the cloud: the cloud at {cloud} cannot be reached (connection refused): is it up, and is this its kubeconfig?"
            )
        );
    }
}
