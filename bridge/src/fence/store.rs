//! What a fence must remember over restarts of the bridge.

use async_trait::async_trait;
use hawser_volume::Result;

use super::limit::Takeovers;
use super::sightings::Sightings;

/// Keeps what it is given. Nothing was kept at first. What is put is on disk when the call returns, in place of what was there.
#[async_trait]
pub trait FenceStore: Send + Sync {
    /// The takeovers of late. An error here lets no fence begin.
    async fn takeovers(&self) -> Result<Takeovers>;

    /// Keeps the takeovers of late. An error lets the takeover that is being counted not happen.
    async fn put_takeovers(&self, takeovers: &Takeovers) -> Result<()>;

    /// Which agents were seen where. An error here lets no fence begin.
    async fn sightings(&self) -> Result<Sightings>;

    /// Keeps which agents were seen where. An error is logged: what is not kept is seen again, or not used.
    async fn put_sightings(&self, sightings: &Sightings) -> Result<()>;
}
