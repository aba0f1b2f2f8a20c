//! What a new cloud begins with: the definitions of our kinds, and, once, a few objects.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use nubium_cli::seed;

/// The mark of a cloud that was given its first objects.
const MARK: &str = "nubium-seeded";

/// Applies the definitions of our kinds, and waits until they are served.
pub async fn definitions(client: &Client) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for crd in nubium_api::crds() {
        let name = crd["metadata"]["name"].as_str().context("a definition has a name")?.to_owned();
        let applied = api.patch(&name, &PatchParams::apply("nubium").force(), &Patch::Apply(&crd)).await;
        applied.with_context(|| format!("cannot define {name}"))?;
    }
    for _ in 0..200 {
        let served = api.list(&Default::default()).await?;
        let established = |crd: &CustomResourceDefinition| {
            let conditions = crd.status.as_ref().and_then(|status| status.conditions.as_ref());
            conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Established" && one.status == "True"))
        };
        if served.iter().filter(|crd| crd.name_any().ends_with(nubium_api::GROUP)).all(established) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("the definitions of Nubium's kinds are not served after 10 s")
}

/// Creates the first objects of a new cloud; never again, so that what people change or delete stays so.
pub async fn first_objects(client: &Client, keys: &[(String, String)]) -> Result<()> {
    let marks: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-system");
    if marks.get_opt(MARK).await?.is_some() {
        return Ok(());
    }
    seed::create(client, &seed::objects(keys)).await?;
    let mark =
        ConfigMap { metadata: ObjectMeta { name: Some(MARK.into()), ..Default::default() }, ..Default::default() };
    marks.create(&PostParams::default(), &mark).await.context("cannot mark the cloud as made")?;
    Ok(())
}
