//! From a claim to a mounted path, and back: the one life of a volume, whichever door its task came through.
//!
//! ```text
//!   declared ──resolve──▶ made ──attach──▶ attached ──stage──▶ staged ──publish──▶ published at a path
//!                          │                                                          │
//!                          └◀──detach────── attached ◀─unstage── staged ◀──unpublish──┘
//! ```
//!
//! * **Every step is a CSI call, and repeating it is harmless.** So a call that was cut off, by a deadline or by a crash, is
//!   finished by the same call, and undone by its opposite; nothing needs to be known of how far it came.
//! * **The ledger is written before the step.** What this node holds is never more than the ledger says.
//! * **A caller that gives up does not stop the work.** dvdcli is killed after 120 s and a CSI call of Mesos ends after 60 s; a
//!   volume that attaches slowly is there when they ask again. What nobody comes back for is released by [`Lifecycle::reconcile`].
//! * **Calls for one volume wait for each other**, calls for different ones never.
//! * **A volume that another node has is taken only with leave of the [`Fence`].**

mod attach;
mod hold;
mod locks;
mod named;
mod reconcile;
mod release;
mod resolve;
mod staged;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hawser_volume::queue::{Calls, Queue};
use hawser_volume::{Deadline, Error, Result};

use crate::driver::Driver;
use crate::ledger::Ledger;
use crate::policy::Takeover;
use locks::Locks;

pub use named::Seen;
pub use reconcile::Report;
pub use staged::Request;

/// How the bridge does its work.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The directory in which volumes of doors that name no path are mounted. Mounts in it must be seen by containers.
    pub mounts: PathBuf,
    /// The directory in each volume that tasks are shown, such as REX-Ray's `data`. The volume itself without one.
    pub root_path: Option<PathBuf>,
    /// How long the work of one call may take, whether or not its caller still waits.
    pub work: Duration,
    /// How long a volume that nobody uses is kept attached before it is released: time for a caller that gave up to come back.
    pub grace: Duration,
    /// The boot of this machine.
    pub boot: String,
}

/// The judge of whether a volume may be taken from the node that has it.
#[async_trait]
pub trait Fence: Send + Sync + fmt::Debug {
    /// Leave to take `volume` from `holder`, or `Precondition` with who has it and what would free it.
    async fn judge(
        &self,
        volume: &str,
        holder: &str,
        taker: &str,
        policy: Option<Takeover>,
        deadline: Deadline,
    ) -> Result<Box<dyn Leave>>;
}

/// Leave to take a volume from one node, for a short time.
#[async_trait]
pub trait Leave: Send + Sync + fmt::Debug {
    /// Proves once more that the holder is gone, and writes down what is about to be done. Called right before it is done.
    async fn confirm(&self) -> Result<()>;

    /// Writes down what came of it.
    async fn close(&self, outcome: &Result<()>) -> Result<()>;
}

/// A fence that lets nothing be taken.
#[derive(Debug, Clone, Copy)]
pub struct Closed;

#[async_trait]
impl Fence for Closed {
    async fn judge(&self, volume: &str, holder: &str, _: &str, _: Option<Takeover>, _: Deadline) -> Result<Box<dyn Leave>> {
        Err(Error::precondition(format!(
            "volume {volume} is held by node {holder}; it is free when its task there has ended and the volume was unmounted"
        )))
    }
}

/// The lives of this node's volumes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    driver: Driver,
    ledger: Ledger,
    fence: Arc<dyn Fence>,
    settings: Settings,
    queue: Queue,
    locks: Locks,
    mount: Calls<PathBuf>,
    undo: Calls<()>,
}

impl Lifecycle {
    /// The lives of the volumes in `ledger`, through `driver`.
    pub fn new(driver: Driver, ledger: Ledger, fence: Arc<dyn Fence>, settings: Settings) -> Self {
        let queue = Queue::new();
        let (mount, undo) = (Calls::new(&queue, "mount"), Calls::new(&queue, "unmount"));
        let inner = Inner { driver, ledger, fence, settings, queue, locks: Locks::default(), mount, undo };
        Self { inner: Arc::new(inner) }
    }

    /// The driver.
    pub fn driver(&self) -> &Driver {
        &self.inner.driver
    }

    /// Waits until no call is under way.
    pub async fn drain(&self) {
        self.inner.queue.drain().await;
    }
}

impl Inner {
    /// When work that begins now must have ended.
    fn deadline(&self) -> Deadline {
        Deadline::after(self.settings.work)
    }

    /// Asks the ledger, or writes in it, where a flush may block.
    async fn ledger<T: Send + 'static>(&self, work: impl FnOnce(&Ledger) -> Result<T> + Send + 'static) -> Result<T> {
        let ledger = self.ledger.clone();
        match tokio::task::spawn_blocking(move || work(&ledger)).await {
            Ok(result) => result,
            Err(error) => Err(Error::internal("the ledger's thread panicked; see the log").caused_by(error)),
        }
    }
}
