//! One call a step.

use nubium_host::storage::VolumeError;
use nubium_host::storage::image::Images;
use tracing::info;

use super::desired::Desired;
use super::imports::Imports;
use super::plan::Step;

pub(super) async fn apply<I: Images + Clone + 'static>(
    step: Step,
    want: &Desired,
    pool: &str,
    images: &I,
    imports: &Imports,
) -> Result<(), VolumeError> {
    match step {
        Step::Start => imports.start(pool, want, images.clone()),
        Step::Stop => imports.stop(pool, &want.file).await,
        Step::Delete => {
            images.delete(&want.file).await?;
            imports.stop(pool, &want.file).await;
            info!(image = %want.file, "deleted an image");
        }
    }
    Ok(())
}
