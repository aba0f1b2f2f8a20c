//! One call a step.

use nubium_host::storage::{VolumeError, Volumes};
use tracing::info;

use super::desired::Desired;
use super::plan::Step;

pub(super) async fn apply(step: &Step, want: &Desired, volumes: &impl Volumes) -> Result<(), VolumeError> {
    match step {
        Step::CreateBlank { size } => {
            volumes.create_blank(&want.file, *size).await?;
            info!(volume = %want.file, size, "made a volume");
        }
        Step::CreateClone { image, size } => {
            volumes.create_clone(&want.file, image, *size).await?;
            info!(volume = %want.file, %image, size, "cloned a volume");
        }
        Step::Delete => {
            volumes.delete(&want.file).await?;
            info!(volume = %want.file, "deleted a volume");
        }
    }
    Ok(())
}
