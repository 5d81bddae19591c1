//! What keeps a backend from working, system by system: the way to its gateways, then the system, the pool, and what is left in it.

use hawser_scaleio::pool::StoragePool;
use hawser_scaleio::{ScaleIoConfig, SystemConfig, examine};
use hawser_volume::checkup::Check;
use hawser_volume::{BackendName, Deadline, Error};

use super::ScaleIo;
use super::array::Array;
use super::place::ScaleIoParameters;

impl ScaleIo {
    /// Looks at everything that a new volume needs, one step after another, and changes nothing.
    pub async fn examine(name: &BackendName, config: &ScaleIoConfig) -> Vec<Check> {
        if config.systems.is_empty() {
            let why = "`systems` is empty, which is right on nodes only";
            return vec![Check::doubtful("the configuration", why, "run it with the controller's configuration")];
        }
        let mut checks = Vec::new();
        for system in &config.systems {
            let (ways, is_in) = examine::gateways(system, config.patience()).await;
            checks.extend(ways);
            if is_in {
                checks.extend(beyond(name, config, system).await);
            }
        }
        checks
    }
}

/// What is behind the gateways of one system.
async fn beyond(name: &BackendName, config: &ScaleIoConfig, system: &SystemConfig) -> Vec<Check> {
    let alone = ScaleIoConfig { systems: vec![system.clone()], ..config.clone() };
    let mut checks = Vec::new();
    let backend = match ScaleIo::new(name.clone(), alone) {
        Ok(backend) => backend,
        Err(error) => return vec![Check::wrong("the configuration", error.chain(), "correct it")],
    };
    let Some(array) = backend.arrays.first() else { return checks };
    match array.system(ScaleIo::reading()).await {
        Ok(found) => {
            let name = found.name.as_deref().unwrap_or("without a name");
            checks.push(Check::well("the system", format!("is {} ({name})", found.id)));
        }
        Err(error) => {
            checks.push(failed(
                "the system",
                &error,
                "correct `system`; where the gateway has none, see whether it reaches the MDMs",
            ));
            return checks;
        }
    }
    checks.extend(place(&backend, array, ScaleIo::reading()).await);
    checks
}

/// Where volumes whose parameters name no pool would go.
async fn place(backend: &ScaleIo, array: &Array, deadline: Deadline) -> Vec<Check> {
    let step = "the storage pool";
    let pools = match backend.pools_for(array, &ScaleIoParameters::default(), deadline).await {
        Ok(pools) => pools,
        Err(error) => return vec![failed(step, &error, "correct `storage-pool` and `protection-domain` of the system")],
    };
    let name = |pool: &StoragePool| pool.name.clone().unwrap_or_else(|| pool.id.clone());
    let mut checks = Vec::new();
    match &pools[..] {
        [] => return vec![Check::wrong(step, "the system has none", "make one; a volume has to be somewhere")],
        [pool] if !backend.is_allowed(pool, &ScaleIoParameters::default()) => checks.push(Check::wrong(
            step,
            format!("{} does not write zeros first, so a new volume would show what was there before", name(pool)),
            "turn its zero padding on, which can only be done while it has no devices; or allow it with `unpadded-pools`",
        )),
        [pool] => checks.push(Check::well(step, format!("of volumes whose parameters name none is {}", name(pool)))),
        several => checks.push(Check::doubtful(
            step,
            format!(
                "there are {}, and volumes whose parameters name none are refused",
                several.iter().map(name).collect::<Vec<_>>().join(", ")
            ),
            "set `storage-pool`, or name one in the parameters of each",
        )),
    }
    for pool in pools {
        let step = format!("what is left in {}", name(&pool));
        checks.push(match array.gateways.pool_statistics(&pool.id, deadline).await {
            Ok(told) => match (told.trouble(), told.available()) {
                (Some(trouble), _) => Check::doubtful(step, trouble, "see the array's alerts"),
                (None, Some(free)) => Check::well(step, format!("{} GiB", free.get() >> 30)),
                (None, None) => {
                    Check::doubtful(step, "the pool does not say", "GetCapacity will be refused; see the pool on the array")
                }
            },
            Err(refusal) => failed(&step, &refusal.while_doing("ask the pool"), "see the pool on the array"),
        });
    }
    checks
}

fn failed(step: &str, error: &Error, mend: &str) -> Check {
    Check::wrong(step, error.chain(), mend)
}
