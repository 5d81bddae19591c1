//! What keeps the SDC of this machine from having volumes: its driver, its identity, its program, and whom it knows.

use std::path::Path;

use hawser_host::{Sdc, sdc};
use hawser_scaleio::ScaleIoConfig;
use hawser_scaleio::config::NodeIds;
use hawser_volume::NodeId;
use hawser_volume::checkup::Check;

const INSTALL: &str = "install the SDC of this kernel (`systemctl status scini`, `modprobe scini`)";

/// Looks at the SDC. `node` is the id of the node, where it is set. Blocks.
pub fn examine(config: &ScaleIoConfig, node: Option<&NodeId>) -> Vec<Check> {
    let mut checks = vec![driver()];
    let guid = match config.node.guid() {
        Ok(Some(guid)) => Ok((guid, "the configuration")),
        Ok(None) => sdc::guid().map(|guid| (guid, "the driver")),
        Err(error) => Err(error),
    };
    match &guid {
        Ok((guid, whom)) => {
            checks.push(Check::well("the SDC", format!("is {guid}, as {whom} says")));
            if config.node_ids == NodeIds::SdcGuid
                && let Some(node) = node.filter(|node| !node.as_str().eq_ignore_ascii_case(guid))
            {
                checks.push(Check::wrong(
                    "the node's id",
                    format!("it is {node}, and with `node-ids: sdc-guid` it must be {guid}"),
                    "leave `driver.node-id` out",
                ));
            }
        }
        Err(error) => {
            let mend = format!("{INSTALL}; or set `node.guid` or `node.guid-file` of the backend");
            checks.push(Check::wrong("the SDC", error.chain(), mend));
        }
    }
    let program = match Sdc::new(config.node.drv_cfg.as_deref()) {
        Ok(program) => program,
        Err(error) => {
            checks.push(Check::wrong("drv_cfg", error.chain(), INSTALL));
            return checks;
        }
    };
    checks.push(Check::well("drv_cfg", program.path().display().to_string()));
    checks.push(match program.managers() {
        Ok(0) => Check::wrong(
            "the MDMs",
            "the SDC knows no system, so no volume can be mapped to it",
            "tell it the MDMs of the system: `drv_cfg --add_mdm --ip IP,IP`",
        ),
        Ok(count) => Check::well("the MDMs", format!("the SDC knows those of {count} systems")),
        Err(error) => Check::doubtful("the MDMs", error.chain(), "`drv_cfg --query_mdm` as root shows what it says"),
    });
    checks
}

fn driver() -> Check {
    if Path::new("/sys/module/scini").is_dir() || Path::new(sdc::CONTROL).exists() {
        return Check::well("the driver scini", "is loaded");
    }
    Check::wrong("the driver scini", "it is not loaded, so no volume can come to this machine", INSTALL)
}
