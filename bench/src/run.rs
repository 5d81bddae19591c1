//! Running operations at a concurrency, and reporting.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use hawser_proto::csi;
use hawser_volume::{Error, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio_util::sync::CancellationToken;

use crate::driver::Driver;
use crate::lifecycle::{Runner, Volume, Wishes};
use crate::measure::Measure;
use crate::operation::Operation;
use crate::options::Options;
use crate::process::Watch;
use crate::report::{Comparison, Report};

/// How often a volume that could not be taken down is tried again.
const TAKE_DOWN_TRIES: u32 = 5;

/// Measures what `options` say until done, or until `stop` is cancelled. The report goes to standard output.
pub async fn run(options: Options, stop: CancellationToken) -> Result<()> {
    let timeout = Duration::from_secs(options.timeout.max(1));
    let mut drivers = vec![Driver::connect(&options.endpoint, timeout).await?];
    if let Some(other) = &options.compare {
        drivers.push(Driver::connect(other, timeout).await?);
    }
    for driver in &drivers {
        check(&options, driver)?;
    }
    let temporary = tempfile::Builder::new()
        .prefix("hawser-bench-")
        .tempdir()
        .map_err(|e| Error::unavailable("make a temporary directory").caused_by(e))?;
    let wishes = Wishes {
        size: options.size,
        fs_type: options.fs_type.clone(),
        block: options.block,
        parameters: options.parameters.iter().cloned().collect(),
        secrets: options.read_secrets()?,
        mount_dir: options.mount_dir.clone().unwrap_or_else(|| temporary.path().to_owned()),
    };
    let mut failed = 0;
    for concurrency in options.concurrency.iter().copied().filter(|c| *c > 0) {
        let rounds = if drivers.len() > 1 { options.rounds.max(1) } else { 1 };
        let mut pairs = Vec::new();
        for _ in 0..rounds {
            let mut reports = Vec::new();
            for driver in &drivers {
                let report = measure(&options, driver, &wishes, concurrency, &stop).await?;
                failed += report.failed;
                print(&options, &report, report.table())?;
                reports.push(report);
            }
            let mut reports = reports.into_iter();
            if let (Some(first), Some(second)) = (reports.next(), reports.next()) {
                pairs.push((first, second));
            }
            if stop.is_cancelled() {
                return Err(Error::precondition("interrupted; every volume that was made has been removed"));
            }
        }
        if !pairs.is_empty() {
            let comparison = Comparison::of(concurrency, &pairs);
            print(&options, &comparison, comparison.table())?;
        }
    }
    if failed > 0 { Err(Error::internal(format!("{failed} operations failed; see the report"))) } else { Ok(()) }
}

fn check(options: &Options, driver: &Driver) -> Result<()> {
    let lacks = [
        (Operation::Snapshot, driver.can.snapshots, "snapshots (CREATE_DELETE_SNAPSHOT)"),
        (Operation::List, driver.can.list, "lists of volumes (LIST_VOLUMES)"),
        (Operation::Capacity, driver.can.capacity, "capacity (GET_CAPACITY)"),
    ];
    match lacks.into_iter().find(|(operation, can, _)| options.mix.has(*operation) && !can) {
        Some((_, _, what)) => Err(Error::unsupported(format!("{} has no {what}; take it out of --mix", driver.can.name))),
        None => Ok(()),
    }
}

fn print(options: &Options, report: &impl serde::Serialize, table: String) -> Result<()> {
    let text = if options.json {
        serde_json::to_string(report).map_err(|e| Error::internal("write the report as JSON").caused_by(e))? + "\n"
    } else {
        table
    };
    std::io::stdout().lock().write_all(text.as_bytes()).map_err(|e| Error::internal("write the report").caused_by(e))
}

fn progress(options: &Options, driver: &Driver, concurrency: usize) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let count = u64::try_from(options.count).unwrap_or(u64::MAX);
    let style = ProgressStyle::with_template("{prefix} {bar:40} {pos}/{len} {per_sec} eta {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(count), target)
        .with_style(style)
        .with_prefix(format!("{} ×{concurrency}", driver.can.name))
}

async fn measure(
    options: &Options,
    driver: &Driver,
    wishes: &Wishes,
    concurrency: usize,
    stop: &CancellationToken,
) -> Result<Report> {
    let measure = Arc::new(Measure::default());
    let setup = Measure::default();
    let unique = format!("{:x}", SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos());
    let aside = Runner { driver, wishes, measure: &setup };
    let mut idle =
        if options.mix.has(Operation::Snapshot) { Some(aside.create(&format!("bench-{unique}-idle")).await?) } else { None };
    let watch = options.pid.map(|pid| Watch::begin(pid, options.syscalls)).transpose()?;
    let bar = progress(options, driver, concurrency);
    let (next, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let begun = Instant::now();
    {
        let runner = Runner { driver, wishes, measure: &measure };
        let worker = async |_: usize| {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= options.count || stop.is_cancelled() {
                    break;
                }
                let name = format!("bench-{unique}-{number}");
                if operate(runner, options.mix.operation(number), &name, idle.as_ref()).await.is_err() {
                    failed.fetch_add(1, Ordering::Relaxed);
                }
                bar.inc(1);
            }
        };
        all((0..concurrency).map(worker)).await;
    }
    let seconds = begun.elapsed().as_secs_f64();
    bar.finish_and_clear();
    let process = match watch {
        Some(watch) => Some(watch.end().await?),
        None => None,
    };
    if let Some(volume) = idle.as_mut() {
        aside.take_down(volume).await?;
    }
    let operations = next.load(Ordering::Relaxed).min(options.count);
    let failed = failed.load(Ordering::Relaxed);
    let measure = Arc::into_inner(measure).ok_or_else(|| Error::internal("a worker is still measuring"))?;
    Ok(Report {
        endpoint: driver.endpoint.clone(),
        plugin: driver.can.name.clone(),
        version: driver.can.version.clone(),
        concurrency,
        operations,
        failed,
        seconds,
        per_second: (operations - failed.min(operations)) as f64 / seconds,
        rpcs: measure.finish().into_iter().map(|(name, calls)| (name, calls.into())).collect(),
        process,
    })
}

/// Runs all futures at one time, in this task: the generator must not take the driver's processor.
async fn all(futures: impl Iterator<Item = impl Future<Output = ()>>) {
    futures_util::future::join_all(futures).await;
}

async fn operate(runner: Runner<'_>, operation: Operation, name: &str, idle: Option<&Volume>) -> Result<()> {
    let driver = runner.driver;
    match operation {
        Operation::Lifecycle => {
            let mut volume = runner.create(name).await?;
            let up = runner.bring_up(&mut volume).await;
            let down = take_down(runner, &mut volume).await;
            up.and(down)
        }
        Operation::Volume => {
            let mut volume = runner.create(name).await?;
            take_down(runner, &mut volume).await
        }
        Operation::Snapshot => match idle {
            Some(volume) => runner.snapshot(volume, name).await,
            None => Err(Error::internal("there is no idle volume to snapshot")),
        },
        Operation::List => {
            let request = driver.request(csi::ListVolumesRequest::default());
            runner.measure.call("ListVolumes", driver.controller().list_volumes(request)).await.map(drop)
        }
        Operation::Capacity => {
            let request = csi::GetCapacityRequest {
                volume_capabilities: vec![runner.wishes.capability()],
                parameters: runner.wishes.parameters.clone(),
                ..Default::default()
            };
            let request = driver.request(request);
            runner.measure.call("GetCapacity", driver.controller().get_capacity(request)).await.map(drop)
        }
        Operation::Info => {
            let request = driver.request(csi::GetPluginInfoRequest {});
            runner.measure.call("GetPluginInfo", driver.identity().get_plugin_info(request)).await.map(drop)
        }
        Operation::Probe => {
            let request = driver.request(csi::ProbeRequest {});
            runner.measure.call("Probe", driver.identity().probe(request)).await.map(drop)
        }
    }
}

/// Takes a volume down, trying again: a benchmark must not leave volumes because one call timed out.
async fn take_down(runner: Runner<'_>, volume: &mut Volume) -> Result<()> {
    let mut first = Ok(());
    for attempt in 0..TAKE_DOWN_TRIES {
        match runner.take_down(volume).await {
            Ok(()) => return first,
            Err(error) if attempt == 0 => first = Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
    first
}
