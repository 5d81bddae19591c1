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
use hawser_volume::{Error, NodeId, Result};

use crate::config::{BackendConfig, Config};
use crate::identity::Identity;

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
    pools: Vec<Arc<Pool>>,
}

impl Plugin {
    /// Builds the parts that `mode` needs, and only those. Blocks.
    pub fn build(config: &Config, mode: Mode, node_id: Option<NodeId>, host: &Arc<dyn Host>) -> Result<Self> {
        #[cfg(feature = "faults")]
        let host = &(Arc::new(hawser_host::fault::Faulty::<dyn Host>(Arc::clone(host))) as Arc<dyn Host>);
        let queue = Queue::new();
        let mut provisioners: BTreeMap<_, Arc<dyn Provisioner>> = BTreeMap::new();
        let mut attachers: BTreeMap<_, Arc<dyn Attacher>> = BTreeMap::new();
        let mut pools = Vec::new();
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
                        provisioners.insert(
                            name.clone(),
                            Arc::new(hawser_controller::backend::ebs::Ebs::new(name.clone(), ebs.clone(), Arc::new(ec2), prefix)),
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
                        provisioners.insert(name.clone(), Arc::new(backend.map_err(failed)?));
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
            use hawser_host::fault::Faulty;
            let strike = |backend| Arc::new(Faulty::<dyn Provisioner>(backend)) as Arc<dyn Provisioner>;
            let provisioners = provisioners.into_iter().map(|(name, backend)| (name, strike(backend))).collect();
            let strike = |backend| Arc::new(Faulty::<dyn Attacher>(backend)) as Arc<dyn Attacher>;
            let attachers: BTreeMap<_, _> = attachers.into_iter().map(|(name, backend)| (name, strike(backend))).collect();
            (provisioners, attachers)
        };
        let places = attachers.values().any(|attacher| !attacher.place().is_empty());
        let driver = &config.driver;
        let backends = || Backends::new(provisioners, driver.default_backend.clone());
        let controller =
            (mode != Mode::Node).then(|| Controller::new(backends(), &queue, driver.csi_spec_level, driver.list_volumes));
        let node = if mode == Mode::Controller {
            None
        } else {
            let id = match id {
                Some(id) => id,
                None => machine::hostname()?.parse()?,
            };
            Some(Node::new(NodeConfig { id, level: driver.csi_spec_level }, attachers, Arc::clone(host), &queue)?)
        };
        let identity = Identity {
            name: config.driver.name.clone(),
            manifest: BTreeMap::from([(
                "backends".to_owned(),
                config.backends.keys().map(|name| name.as_str()).collect::<Vec<_>>().join(","),
            )]),
            controller: controller.is_some(),
            groups: controller.as_ref().is_some_and(Controller::has_groups),
            places,
            expansions: controller.as_ref().map(Controller::expansions).unwrap_or_default(),
        };
        Ok(Self { identity, controller, node, queue, pools })
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
