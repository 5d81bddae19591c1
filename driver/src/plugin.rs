//! The parts of a plugin, built from its configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use hawser_controller::{Backends, Controller, Provisioner};
use hawser_ebs::{Ec2, Here, OsEnv};
use hawser_host::{Host, machine};
use hawser_nfs::Export;
use hawser_node::{Attacher, Node, NodeConfig};
use hawser_pool::Pool;
use hawser_volume::queue::Queue;
use hawser_volume::{Around, BackendName, Error, NodeId, Result, Surrounded};
use tokio::task::JoinSet;

use crate::config::{BackendConfig, Config};
use crate::identity::Identity;
use crate::status::{Board, Facts};
use crate::telemetry::calls::Side;
use crate::telemetry::metrics::wire::Wires;
use crate::telemetry::sample::{self, Samples};
use crate::telemetry::spans::Traced;
use crate::telemetry::{Telemetry, metrics};

/// Which services a process serves beside Identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Mode {
    /// Controller, GroupController and Node.
    #[default]
    All,
    /// Controller and GroupController; needs the storage systems, touches no device.
    Controller,
    /// Node; needs root, holds no credentials.
    Node,
}

impl Mode {
    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Mode::All => "all",
            Mode::Controller => "controller",
            Mode::Node => "node",
        }
    }
}

/// A plugin that can be served.
#[derive(Debug)]
pub struct Plugin {
    /// The Identity service.
    pub identity: Identity,
    /// The controller services.
    pub controller: Option<Controller>,
    /// The node service.
    pub node: Option<Node>,
    /// The line in which calls wait.
    pub queue: Queue,
    /// What is known of its work.
    pub board: Board,
    /// What is told of it.
    pub telemetry: Telemetry,
    provisioners: BTreeMap<BackendName, Arc<dyn Provisioner>>,
    pools: Vec<Arc<Pool>>,
}

impl Plugin {
    /// Builds the parts that `mode` needs, and only those; `telemetry` learns of all that is asked of backends. Blocks.
    pub fn build(
        config: &Config,
        mode: Mode,
        node_id: Option<NodeId>,
        host: &Arc<dyn Host>,
        telemetry: &Telemetry,
    ) -> Result<Self> {
        #[cfg(feature = "faults")]
        let host = &(Arc::new(Surrounded::<dyn Host, _>::new(Arc::clone(host), hawser_host::fault::Faults)) as Arc<dyn Host>);
        let host = &(Arc::new(Surrounded::<dyn Host, _>::new(Arc::clone(host), Traced)) as Arc<dyn Host>);
        let queue = Queue::new();
        let mut provisioners: BTreeMap<_, Arc<dyn Provisioner>> = BTreeMap::new();
        let mut attachers: BTreeMap<_, Arc<dyn Attacher>> = BTreeMap::new();
        let mut pools = Vec::new();
        let mut wires = Wires::default();
        let prefix = config.driver.name.as_str();
        let mut id = node_id.or_else(|| config.driver.node_id.clone());
        for (name, backend) in &config.backends {
            match backend {
                BackendConfig::Ebs(ebs) => {
                    // The node needs neither credentials nor the API.
                    if mode != Mode::Node {
                        let ec2 = ebs
                            .client(&OsEnv)
                            .and_then(|options| Ec2::new(&options))
                            .map_err(|error| error.while_doing(format_args!("backend {name}")))?;
                        let ec2 = Arc::new(ec2);
                        wires.clients.push((name.clone(), Arc::clone(&ec2) as _));
                        provisioners.insert(
                            name.clone(),
                            Arc::new(hawser_controller::backend::ebs::Ebs::new(name.clone(), ebs.clone(), ec2, prefix)),
                        );
                    }
                    if mode != Mode::Controller {
                        let here =
                            Here::find(ebs, id.as_ref()).map_err(|error| error.while_doing(format_args!("backend {name}")))?;
                        // EC2 attaches volumes to instances, so that is what the node is.
                        id = Some(here.instance.parse()?);
                        let attacher = hawser_node::backend::ebs::Ebs::new(name.clone(), here, Arc::clone(host), prefix);
                        attachers.insert(name.clone(), Arc::new(attacher));
                    }
                }
                BackendConfig::Local(local) => {
                    let pool = Pool::open(name.clone(), local.clone(), Arc::clone(host))
                        .map_err(|error| error.while_doing(format_args!("backend {name}")))?;
                    pool.thaw_forgotten().map_err(|error| error.while_doing(format_args!("backend {name}")))?;
                    let pool = Arc::new(pool);
                    pools.push(Arc::clone(&pool));
                    provisioners.insert(
                        name.clone(),
                        Arc::new(hawser_controller::backend::local::Local::new(name.clone(), Arc::clone(&pool), prefix)),
                    );
                    let attacher = hawser_node::backend::local::Local::new(
                        name.clone(),
                        pool,
                        Arc::clone(host),
                        prefix,
                        local.max_volumes_per_node,
                    );
                    attachers.insert(name.clone(), Arc::new(attacher));
                }
                BackendConfig::ScaleIo(scaleio) => {
                    let failed = |error: Error| error.while_doing(format_args!("backend {name}"));
                    // The node needs neither gateways nor passwords.
                    if mode != Mode::Node {
                        let backend = hawser_controller::backend::scaleio::ScaleIo::new(name.clone(), scaleio.clone());
                        let backend = backend.map_err(failed)?;
                        wires.clients.extend(backend.requests().into_iter().map(|client| (name.clone(), client)));
                        provisioners.insert(name.clone(), Arc::new(backend));
                    }
                    if mode != Mode::Controller {
                        let attacher = hawser_node::backend::scaleio::ScaleIo::new(name.clone(), scaleio, Arc::clone(host));
                        let attacher = attacher.map_err(failed)?;
                        if let (None, Some(guid)) = (&id, attacher.node_id()) {
                            id = Some(guid.parse()?);
                        }
                        attachers.insert(name.clone(), Arc::new(attacher));
                    }
                }
                BackendConfig::Nfs(nfs) => {
                    let export = Export::new(name.clone(), nfs.clone(), Arc::clone(host))
                        .map_err(|error| error.while_doing(format_args!("backend {name}")))?;
                    wires.exports.push((name.clone(), Arc::clone(&export)));
                    if mode != Mode::Node {
                        export.keep_clean();
                    }
                    provisioners.insert(
                        name.clone(),
                        Arc::new(hawser_controller::backend::nfs::Nfs::new(name.clone(), Arc::clone(&export))),
                    );
                    let attacher = hawser_node::backend::nfs::Nfs::new(name.clone(), export, Arc::clone(host));
                    attachers.insert(name.clone(), Arc::new(attacher));
                }
            }
        }
        #[cfg(feature = "faults")]
        let (provisioners, attachers) = {
            let faults = |_: &BackendName| hawser_host::fault::Faults;
            (surrounded_provisioners(provisioners, faults), surrounded_attachers(attachers, faults))
        };
        // Outermost, so that what is told is what the services see.
        let provisioners = surrounded_provisioners(provisioners, |name| telemetry.calls.watch(name, Side::Controller));
        let attachers = surrounded_attachers(attachers, |name| telemetry.calls.watch(name, Side::Node));
        telemetry.metrics.collect(wires);
        metrics::queue::follow(&telemetry.metrics, "driver", &queue);
        let places = attachers.values().any(|attacher| !attacher.place().is_empty());
        let driver = &config.driver;
        let backends = || Backends::new(provisioners.clone(), driver.default_backend.clone());
        let controller =
            (mode != Mode::Node).then(|| Controller::new(backends(), &queue, driver.csi_spec_level, driver.list_volumes));
        let mut facts = Facts { driver_name: driver.name.to_string(), role: mode.name(), node_id: None };
        let node = if mode == Mode::Controller {
            None
        } else {
            let id = match id {
                Some(id) => id,
                None => machine::hostname()?.parse()?,
            };
            facts.node_id = Some(id.clone());
            Some(Node::new(NodeConfig { id, level: driver.csi_spec_level }, attachers, Arc::clone(host), &queue)?)
        };
        let identity = Identity {
            name: config.driver.name.clone(),
            manifest: manifest(config),
            controller: controller.is_some(),
            groups: controller.as_ref().is_some_and(Controller::has_groups),
            places,
            expansions: controller.as_ref().map(Controller::expansions).unwrap_or_default(),
        };
        let provisioners = if mode == Mode::Node { BTreeMap::new() } else { provisioners };
        let board = Board::new(facts, Some(queue.clone()));
        Ok(Self { identity, controller, node, queue, board, telemetry: telemetry.clone(), provisioners, pools })
    }

    /// Looks at the backends from time to time for as long as the set is kept, if anybody reads what is found.
    pub fn keep_looking(&self) -> JoinSet<()> {
        if !self.telemetry.is_read {
            return JoinSet::new();
        }
        let samples = Samples::default();
        self.telemetry.metrics.collect(metrics::volumes::Sampled(samples.clone()));
        sample::keep_looking(&samples, &self.telemetry.calls, self.provisioners.clone(), self.node.clone())
    }

    /// Removes what killed processes left. Blocks; run beside the server.
    pub fn sweep(pools: &[Arc<Pool>]) {
        for pool in pools {
            if let Err(error) = pool.sweep() {
                tracing::warn!(root = %pool.root().display(), error = error.chain(), "could not remove everything that interrupted calls left");
            }
        }
    }

    /// The pools of the local backends.
    pub fn pools(&self) -> Vec<Arc<Pool>> {
        self.pools.clone()
    }
}

/// What the driver says of itself beside its name: a client that knows Hawser asks its backends one by one.
fn manifest(config: &Config) -> BTreeMap<String, String> {
    let names: Vec<&str> = config.backends.keys().map(BackendName::as_str).collect();
    let default = match &config.driver.default_backend {
        Some(name) => Some(name.as_str()),
        None => names.first().copied().filter(|_| names.len() == 1),
    };
    let default = default.map(|name| ("default-backend".to_owned(), name.to_owned()));
    default.into_iter().chain([("backends".to_owned(), names.join(","))]).collect()
}

/// Every backend of the controller side with something in front of it.
fn surrounded_provisioners<A: Around + 'static>(
    backends: BTreeMap<BackendName, Arc<dyn Provisioner>>,
    around: impl Fn(&BackendName) -> A,
) -> BTreeMap<BackendName, Arc<dyn Provisioner>> {
    let surround = |(name, backend)| {
        let surrounded = Surrounded::<dyn Provisioner, A>::new(backend, around(&name));
        (name, Arc::new(surrounded) as Arc<dyn Provisioner>)
    };
    backends.into_iter().map(surround).collect()
}

/// Every backend of the node side with something in front of it.
fn surrounded_attachers<A: Around + 'static>(
    backends: BTreeMap<BackendName, Arc<dyn Attacher>>,
    around: impl Fn(&BackendName) -> A,
) -> BTreeMap<BackendName, Arc<dyn Attacher>> {
    let surround = |(name, backend)| {
        let surrounded = Surrounded::<dyn Attacher, A>::new(backend, around(&name));
        (name, Arc::new(surrounded) as Arc<dyn Attacher>)
    };
    backends.into_iter().map(surround).collect()
}
