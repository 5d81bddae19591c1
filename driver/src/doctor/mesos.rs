//! The Mesos side: what the bridge's crate finds, and the sockets at which the bridge and the agent meet.

use hawser_bridge::door::operator;
use hawser_bridge::examine::{self, Examined, Found};
use hawser_host::examine::propagation;
use hawser_host::machine;
use hawser_volume::checkup::{Check, Step};

use super::node::served;
use super::{LOOK, Patient, apart};

/// Examines the agent, the master and the bridge's own sockets.
pub(super) async fn examine(patient: &Patient) -> Vec<Check> {
    let bridge = &patient.config.bridge;
    let node = patient.node.clone().or_else(|| machine::hostname().ok()?.parse().ok());
    let examined = Examined { bridge, plugin: patient.config.driver.name.as_str(), node: node.as_ref() };
    let sockets = [
        Some(("dockerd, podman and dvdcli", bridge.docker_socket.clone())),
        bridge.isolator_socket.clone().map(|path| ("the isolator volume/csi", path)),
        bridge.provider.is_some().then(|| ("operators", operator::socket(&bridge.state))),
    ];
    let steps = sockets.into_iter().flatten().map(|(whom, path)| {
        let step = format!("the bridge's socket for {whom}, {}", path.display());
        Step::new(step.clone(), move || {
            if !path.exists() {
                let why = "it is not there: no bridge runs, or it has another configuration";
                return vec![Check::doubtful(step, why, "start the bridge (`systemctl status hawser-bridge`)")];
            }
            served(&step, &path, 0o600).0
        })
    });
    let (found, sockets) = tokio::join!(examine::mesos(&examined), apart(steps.collect(), LOOK));
    let Found { mut checks, work_dir } = found;
    checks.extend(sockets);
    if let Some(work_dir) = work_dir {
        let step = Step::new("the agent's work_dir", move || propagation(&[work_dir]));
        checks.extend(apart(vec![step], LOOK).await);
    }
    checks
}
