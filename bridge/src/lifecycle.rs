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
//! * **A volume that another node has is waited for**: its task may have ended a moment ago. It is taken only with leave of the
//!   [`Fence`].
//! * **A caller that was not there for the answer is no user.** It does not know that it would have to say when it is done.

mod attach;
mod census;
mod disk;
mod hold;
mod listed;
mod locks;
mod named;
mod numbered;
mod reconcile;
mod release;
mod resolve;
mod staged;
mod stale;
mod unused;
mod users;
mod witness;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hawser_volume::queue::{Calls, Queue};
use hawser_volume::{Deadline, Result};

use crate::driver::Driver;
use crate::fence::Fence;
use crate::ledger::Ledger;
use crate::mesos::Agent;
use crate::policy::Takeover;
use listed::Listed;
use locks::Locks;
use users::Life;

pub use census::Census;
pub use disk::Disk;
pub use named::Seen;
pub use reconcile::Report;
pub use staged::Request;
pub use users::Tenants;
pub use witness::Reach;

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
    /// How long a volume that another node has is waited for: its task may have ended there a moment ago.
    pub patience: Duration,
    /// When a volume may be taken from another node, where its declaration does not say.
    pub takeover: Takeover,
    /// The boot of this machine.
    pub boot: String,
    /// The Mesos agent of this machine.
    pub agent: Option<Agent>,
    /// When this machine was started, by its clock as it stands now. It is asked at each look: when the clock is set back, what is
    /// written afterwards is older than what was answered before, and would be taken for something of another boot.
    pub booted_at: fn() -> Result<SystemTime>,
}

/// The lives of this node's volumes. Cheap to clone.
#[derive(Clone)]
pub struct Lifecycle {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lifecycle").field("driver", &self.inner.driver.name).finish_non_exhaustive()
    }
}

struct Inner {
    driver: Driver,
    ledger: Ledger,
    fence: Option<Arc<Fence>>,
    tenants: Arc<dyn Tenants>,
    settings: Settings,
    queue: Queue,
    locks: Locks,
    listed: Listed,
    life: Life,
    mount: Calls<PathBuf>,
    undo: Calls<()>,
}

impl Lifecycle {
    /// The lives of the volumes in `ledger`, through `driver`. Without a `fence` no volume is ever taken from another node. `tenants`
    /// tells whether containers that an engine has forgotten still live.
    pub fn new(driver: Driver, ledger: Ledger, fence: Option<Arc<Fence>>, tenants: Arc<dyn Tenants>, settings: Settings) -> Self {
        let queue = Queue::new();
        let (mount, undo) = (Calls::new(&queue, "mount"), Calls::new(&queue, "unmount"));
        let (locks, listed, life) = (Locks::default(), Listed::default(), Life::default());
        let inner = Inner { driver, ledger, fence, tenants, settings, queue, locks, listed, life, mount, undo };
        Self { inner: Arc::new(inner) }
    }

    /// The driver.
    pub fn driver(&self) -> &Driver {
        &self.inner.driver
    }

    /// The line in which the calls of all doors wait.
    pub fn queue(&self) -> &Queue {
        &self.inner.queue
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
        self.ledger.apart(work).await
    }
}
