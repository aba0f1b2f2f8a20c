//! What a request's path and query name.

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// `GET /metrics`
    Metrics,
    /// `GET /healthz`
    Health,
    /// `GET /v1/namespaces/NS/servers/NAME/console-log`
    ConsoleLog { namespace: &'a str, server: &'a str },
    /// `POST /v1/namespaces/NS/servers/NAME/connect?port=22`, with an upgrade
    Connect { namespace: &'a str, server: &'a str, port: u16 },
}

impl<'a> Target<'a> {
    /// `None` when no such path is served.
    pub fn parse(path: &'a str, query: Option<&str>) -> Option<Self> {
        match path {
            "/metrics" => return Some(Self::Metrics),
            "/healthz" => return Some(Self::Health),
            _ => {}
        }
        let mut parts = path.strip_prefix("/v1/namespaces/")?.split('/');
        let (namespace, kind, server, verb) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if kind != "servers" || parts.next().is_some() || !label(namespace) || !label(server) {
            return None;
        }
        match verb {
            "console-log" => Some(Self::ConsoleLog { namespace, server }),
            "connect" => {
                let port = query?.split('&').find_map(|pair| pair.strip_prefix("port="))?.parse().ok()?;
                Some(Self::Connect { namespace, server, port })
            }
            _ => None,
        }
    }
}

/// A name as Kubernetes allows it; nothing else may reach a path on the host.
fn label(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_a_log_or_a_port() {
        assert_eq!(Target::parse("/metrics", None), Some(Target::Metrics));
        assert_eq!(
            Target::parse("/v1/namespaces/shop/servers/web-1/console-log", None),
            Some(Target::ConsoleLog { namespace: "shop", server: "web-1" })
        );
        assert_eq!(
            Target::parse("/v1/namespaces/shop/servers/web-1/connect", Some("port=22")),
            Some(Target::Connect { namespace: "shop", server: "web-1", port: 22 })
        );
    }

    #[test]
    fn what_is_no_name_reaches_nothing() {
        for path in [
            "/v1/namespaces/../servers/web-1/console-log",
            "/v1/namespaces/a/servers//console-log",
            "/",
            "/v1/namespaces/a/servers/b/c/d",
        ] {
            assert_eq!(Target::parse(path, None), None, "{path}");
        }
        assert_eq!(Target::parse("/v1/namespaces/a/servers/b/connect", Some("port=99999")), None);
    }
}
