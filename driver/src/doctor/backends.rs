//! Each storage system, from this machine; all at the same time.

use std::sync::Arc;

use futures_util::future::join_all;
use hawser_controller::backend::scaleio::ScaleIo;
use hawser_ebs::OsEnv;
use hawser_host::{Host, Linux};
use hawser_volume::BackendName;
use hawser_volume::checkup::{Check, Step};

use super::{BACKEND, Patient, Report, apart};
use crate::config::BackendConfig;
use crate::plugin::Mode;

/// Examines all, or the one that is wanted.
pub(super) async fn all(patient: &Patient, only: Option<&BackendName>) -> Vec<Report> {
    let wanted = patient.config.backends.iter().filter(|(name, _)| only.is_none_or(|only| only == *name));
    join_all(wanted.map(|(name, backend)| one(patient, name, backend))).await
}

async fn one(patient: &Patient, name: &BackendName, backend: &BackendConfig) -> Report {
    let checks = match tokio::time::timeout(BACKEND, examined(patient, name, backend)).await {
        Ok(checks) => checks,
        Err(_) => vec![Check::wrong(
            "the storage system",
            format!("it was not examined to the end within {} s: it answers each question late", BACKEND.as_secs()),
            "see its load, and the way to it",
        )],
    };
    let r#type = match backend {
        BackendConfig::Ebs(_) => "ebs",
        BackendConfig::Local(_) => "local",
        BackendConfig::Nfs(_) => "nfs",
        BackendConfig::ScaleIo(_) => "scaleio",
    };
    Report { part: "backend", backend: Some(name.clone()), r#type: Some(r#type), checks }
}

async fn examined(patient: &Patient, name: &BackendName, backend: &BackendConfig) -> Vec<Check> {
    let (controller, node) = (patient.mode != Mode::Node, patient.mode != Mode::Controller);
    let id = patient.node.clone();
    match backend {
        BackendConfig::Local(local) => {
            let local = local.clone();
            apart(vec![Step::new("the root", move || hawser_pool::examine::examine(&local))], BACKEND).await
        }
        BackendConfig::Nfs(nfs) => {
            let nfs = nfs.clone();
            let host: Arc<dyn Host> = Arc::new(Linux);
            apart(vec![Step::new("the server", move || hawser_nfs::examine::examine(&nfs, &host))], BACKEND).await
        }
        BackendConfig::Ebs(ebs) => {
            let config = ebs.clone();
            let step = Step::new("the instance", move || hawser_ebs::examine::node(&config, id.as_ref()));
            let here = async { if node { apart(vec![step], BACKEND).await } else { Vec::new() } };
            let there = async { if controller { hawser_ebs::examine::controller(ebs, OsEnv).await } else { Vec::new() } };
            let (here, there) = tokio::join!(here, there);
            [here, there].concat()
        }
        BackendConfig::ScaleIo(scaleio) => {
            let config = scaleio.clone();
            let step = Step::new("the SDC", move || hawser_node::backend::scaleio::examine::examine(&config, id.as_ref()));
            let here = async { if node { apart(vec![step], BACKEND).await } else { Vec::new() } };
            // A node's configuration has no gateways.
            let has_gateways = controller && !(node && scaleio.systems.is_empty());
            let there = async { if has_gateways { ScaleIo::examine(name, scaleio).await } else { Vec::new() } };
            let (here, there) = tokio::join!(here, there);
            [here, there].concat()
        }
    }
}
