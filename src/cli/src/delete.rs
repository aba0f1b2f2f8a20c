//! `nubium delete`: asks for the end of objects, and waits for it.
//!
//! All are asked for first and waited for afterwards: a Volume ends only when the Server that uses it has.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{ArgAction, Args};
use http::{Request, Uri};
use kube::Client;
use serde_json::{Value, json};

use crate::Connection;
use crate::failure::printable;
use crate::manifest;
use crate::resources::{Resource, of_object, select, served};
use crate::wait::Progress;

/// What to delete.
#[derive(Debug, Args)]
pub struct Delete {
    /// A kind and names (server web-1 web-2), or each with its kind (server/web-1 volume/data)
    #[arg(value_name = "KIND NAME|KIND/NAME", required_unless_present = "files", conflicts_with = "files")]
    what: Vec<String>,
    /// Files or folders of YAML or JSON, or - for standard input: what they name is deleted, the last first
    #[arg(long = "filename", short = 'f', num_args = 1..)]
    files: Vec<PathBuf>,
    /// Take an object that is not there for deleted
    #[arg(long)]
    ignore_not_found: bool,
    /// Wait until all are gone
    #[arg(long, action = ArgAction::Set, default_value_t = true)]
    wait: bool,
}

/// The number is the exit code: 1 when one could not be deleted, which was said.
pub async fn run(connection: &Connection, delete: Delete) -> anyhow::Result<u8> {
    let Delete { what, files, ignore_not_found, wait } = delete;
    let mut objects = Vec::new();
    for file in &files {
        manifest::read(file, &mut objects)?;
    }
    if !files.is_empty() && objects.is_empty() {
        bail!("there is no object in what was given");
    }
    let Connection { client, namespace, .. } = connection;
    let served = served(client).await.context("cannot ask the cloud what it serves")?;
    let doomed = match files.is_empty() {
        true => named(&served, &what, namespace)?.into_iter().map(Ok).collect(),
        false => last_first(&served, &objects, namespace),
    };
    let all = end(client, connection.cloud(), doomed, How { ignore_not_found, wait }).await?;
    Ok(u8::from(!all))
}

/// One object that shall go.
#[derive(Debug)]
struct Doomed<'a> {
    resource: &'a Resource,
    name: String,
    path: String,
}

impl<'a> Doomed<'a> {
    fn new(resource: &'a Resource, namespace: &str, name: &str) -> anyhow::Result<Self> {
        // What is no name would lead to another object's path, or to that of all.
        for name in [name, namespace] {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
            if name.is_empty() || matches!(name, "." | "..") || !name.chars().all(plain) {
                bail!("no object can be called {name:?}");
            }
        }
        let path = resource.path(Some(namespace), Some(name));
        Ok(Self { resource, name: name.to_owned(), path })
    }
}

impl fmt::Display for Doomed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.resource.title(), self.name)
    }
}

/// What is meant by `KIND NAME…` or `KIND/NAME…`.
fn named<'a>(served: &'a [Resource], what: &[String], namespace: &str) -> anyhow::Result<Vec<Doomed<'a>>> {
    let pairs: Vec<(&str, &str)> = match what {
        [first, ..] if first.contains('/') => {
            let pairs = what
                .iter()
                .map(|word| word.split_once('/').with_context(|| format!("{word} has no kind: write KIND/{word}")));
            pairs.collect::<anyhow::Result<_>>()?
        }
        [kind] => bail!("say which {kind}: a name is missing"),
        [kind, names @ ..] => names.iter().map(|name| (kind.as_str(), name.as_str())).collect(),
        [] => bail!("say a kind and a name"),
    };
    pairs
        .into_iter()
        .map(|(kind, name)| {
            let [resource] = select(served, kind)?[..] else { bail!("{kind} names several kinds: say one") };
            Doomed::new(resource, namespace, name)
        })
        .collect()
}

/// What the objects of files name: the last first, so that what was made for others goes after them.
fn last_first<'a>(served: &'a [Resource], objects: &[Value], namespace: &str) -> Vec<anyhow::Result<Doomed<'a>>> {
    let doomed = objects.iter().rev().map(|object| {
        let metadata = &object["metadata"];
        let namespace = metadata["namespace"].as_str().unwrap_or(namespace);
        Doomed::new(of_object(served, object)?, namespace, metadata["name"].as_str().unwrap_or_default())
    });
    doomed.collect()
}

#[derive(Debug, Clone, Copy)]
struct How {
    ignore_not_found: bool,
    wait: bool,
}

/// Asks for the end of each, says how it went, and waits. False: one could not be deleted.
async fn end(client: &Client, cloud: &Uri, doomed: Vec<anyhow::Result<Doomed<'_>>>, how: How) -> anyhow::Result<bool> {
    let How { ignore_not_found, wait } = how;
    let mut going = Vec::new();
    let mut all = true;
    for doomed in doomed {
        let marked = async {
            let doomed = doomed?;
            let uid = mark(client, &doomed).await?;
            anyhow::Ok((doomed, uid))
        };
        match marked.await {
            Ok((doomed, uid)) => {
                println!("{doomed} deleted");
                going.push((doomed, uid));
            }
            Err(error) if ignore_not_found && is_not_found(&error) => {}
            Err(error) => {
                all = false;
                eprintln!("error: {:#}", printable(error, cloud));
            }
        }
    }
    if wait {
        for (doomed, uid) in &going {
            gone(client, doomed, uid).await?;
        }
    }
    Ok(all)
}

fn is_not_found(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(kube::Error::Api(status)) if status.is_not_found())
}

/// Asks for its end. Gives its UID.
async fn mark(client: &Client, doomed: &Doomed<'_>) -> anyhow::Result<Value> {
    let body = serde_json::to_vec(&json!({"propagationPolicy": "Background"}))?;
    let request = Request::delete(&doomed.path).header("Content-Type", "application/json").body(body)?;
    Ok(match client.request::<Value>(request).await? {
        // A Status when it is gone already, else the object.
        gone if gone["kind"] == "Status" => gone["details"]["uid"].clone(),
        marked => marked["metadata"]["uid"].clone(),
    })
}

/// Waits until it is gone, and says what for.
async fn gone(client: &Client, doomed: &Doomed<'_>, uid: &Value) -> anyhow::Result<()> {
    let mut progress = Progress::default();
    loop {
        let object = match client.request::<Value>(Request::get(&doomed.path).body(Vec::new())?).await {
            Ok(object) if object["metadata"]["uid"] == *uid => object,
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        if let Some(ready) = conditions.iter().find(|condition| condition["type"] == "Ready") {
            let why = ready["message"].as_str().unwrap_or_default();
            progress.say(format!("waiting for the end of {doomed} ({why})"));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource;
    use kube::Api;
    use kube::api::{Patch, PatchParams, PostParams};
    use nubium_apiserver::{ApiServer, Config, Identity};
    use nubium_store::{AnyStore, SqliteStore};

    use super::*;

    fn resource(group: &str, kind: &str, short: &str) -> Resource {
        let api = APIResource {
            name: format!("{}s", kind.to_lowercase()),
            singular_name: kind.to_lowercase(),
            kind: kind.to_owned(),
            short_names: Some(vec![short.to_owned()]),
            categories: Some(vec!["nubium".to_owned()]),
            namespaced: true,
            ..APIResource::default()
        };
        Resource { group: group.to_owned(), version: "v1".to_owned(), api }
    }

    fn kinds() -> [Resource; 2] {
        [resource(nubium_api::GROUP, "Server", "srv"), resource(nubium_api::GROUP, "Volume", "vol")]
    }

    /// What is meant by words: each as it was given, or the refusal.
    fn meant(words: &str) -> Result<Vec<String>, String> {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let served = kinds();
        match named(&served, &words, "shop") {
            Ok(doomed) => Ok(doomed.iter().map(Doomed::to_string).collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn several_are_named_after_their_kind_or_each_with_it() {
        let server = |name: &str| format!("server.nubium.dev {name:?}");
        assert_eq!(meant("srv web-1"), Ok(vec![server("web-1")]));
        assert_eq!(meant("server web-1 web-2"), Ok(vec![server("web-1"), server("web-2")]));
        let both = vec![server("web-1"), "volume.nubium.dev \"data\"".to_owned()];
        assert_eq!(meant("srv/web-1 volumes.nubium.dev/data"), Ok(both));
        let served = kinds();
        let doomed = named(&served, &["srv/web-1".to_owned()], "shop").unwrap();
        assert_eq!(doomed[0].path, "/apis/nubium.dev/v1/namespaces/shop/servers/web-1");
    }

    #[test]
    fn what_names_no_object_is_refused_before_anything_is_deleted() {
        for (words, why) in [
            ("srv", "say which srv: a name is missing"),
            ("srv/web-1 web-2", "web-2 has no kind: write KIND/web-2"),
            ("srv web-1 vol/data", "no object can be called \"vol/data\""),
            ("nubium web-1", "nubium names several kinds: say one"),
            ("srv/", "no object can be called \"\""),
            ("srv web-1?dryRun=All", "no object can be called \"web-1?dryRun=All\""),
            ("srv ..", "no object can be called \"..\""),
        ] {
            assert_eq!(meant(words), Err(why.to_owned()), "{words}");
        }
        assert!(meant("disk a").unwrap_err().contains("serves no kind called"));
    }

    #[test]
    fn of_a_file_the_last_goes_first() {
        let object =
            |kind: &str, metadata: Value| json!({"apiVersion": "nubium.dev/v1", "kind": kind, "metadata": metadata});
        let objects = [
            object("Volume", json!({"name": "data", "namespace": "lab"})),
            object("Disk", json!({"name": "none"})),
            object("Server", json!({"name": "web-1"})),
        ];
        let served = kinds();
        let path = |doomed: anyhow::Result<Doomed<'_>>| doomed.map_or_else(|why| why.to_string(), |doomed| doomed.path);
        let paths: Vec<String> = last_first(&served, &objects, "shop").into_iter().map(path).collect();
        assert_eq!(
            paths,
            [
                "/apis/nubium.dev/v1/namespaces/shop/servers/web-1",
                "the cloud does not serve nubium.dev/v1 Disk",
                "/apis/nubium.dev/v1/namespaces/lab/volumes/data",
            ]
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn those_that_are_there_go_whatever_is_not_and_the_answer_says_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let store = AnyStore::new(SqliteStore::open(&folder.path().join("store.db")).unwrap());
        let server = ApiServer::start(store, Config::default()).await.unwrap();
        let client = Client::new(server.router_service().acting_as(Identity::admin("test")), "default");
        let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
        let make = async |name: &str, held: bool| {
            let mut map = ConfigMap::default();
            map.metadata.name = Some(name.to_owned());
            map.metadata.finalizers = held.then(|| vec!["nubium.dev/test".to_owned()]);
            maps.create(&PostParams::default(), &map).await.unwrap();
        };
        let served = served(&client).await.unwrap();
        let delete = async |words: &str, how: How| {
            let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
            let doomed = named(&served, &words, "default").unwrap().into_iter().map(Ok).collect();
            end(&client, &Uri::default(), doomed, how).await.unwrap()
        };
        let plain = How { ignore_not_found: false, wait: true };
        let lenient = How { ignore_not_found: true, wait: true };

        make("a", false).await;
        make("b", false).await;
        assert!(!delete("cm a missing b", plain).await, "one was not there");
        assert_eq!(maps.list(&Default::default()).await.unwrap().items.len(), 0, "the others went all the same");
        assert!(!delete("cm a", plain).await);
        make("b", false).await;
        assert!(delete("cm/a cm/b", lenient).await);
        assert_eq!(maps.list(&Default::default()).await.unwrap().items.len(), 0);

        // One that is held: it is marked, and waited for until whoever holds it lets it go.
        let marked = async || maps.get("held").await.unwrap().metadata.deletion_timestamp.is_some();
        make("held", true).await;
        assert!(delete("cm held", How { wait: false, ..plain }).await);
        assert!(marked().await);
        let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        maps.patch("held", &PatchParams::default(), &free).await.unwrap();
        make("held", true).await;
        let let_go = async {
            while !marked().await {
                tokio::task::yield_now().await;
            }
            maps.patch("held", &PatchParams::default(), &free).await.unwrap();
        };
        let (all, ()) = tokio::join!(delete("cm held", plain), let_go);
        assert!(all);
        assert!(maps.get_opt("held").await.unwrap().is_none());
    }
}
