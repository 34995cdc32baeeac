//! Owns verifying on request.

use super::MountService;
use crate::control::findings::VerifyReport;
use crate::control::{Failure, MountPath, ProgressSink};

impl MountService {
    /// Verifies the mount, or what is at or below a path.
    pub(super) async fn verify_below(
        &self,
        path: &MountPath,
        light: bool,
        sink: &ProgressSink,
    ) -> Result<VerifyReport, Failure> {
        let start = self.find(path).await?;
        self.verifier.verify(start, light, sink).await
    }
}
