//! The process itself.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::declared::{Declared, Page};

/// What is declared here. The names that begin with `process_` are those that Prometheus' own libraries use.
pub const DECLARED: &[Declared] = &[BUILD, START, FDS, FDS_MAX, RESIDENT];

const BUILD: Declared =
    Declared { name: "hawser_build", help: "Which Hawser this is", unit: None, kind: MetricType::Info, labels: &["version"] };

const START: Declared =
    Declared::gauge_in(Unit::Seconds, "process_start_time", "When the process was started, in seconds since 1970", &[]);

const FDS: Declared = Declared::gauge("process_open_fds", "Open file descriptors", &[]);

const FDS_MAX: Declared = Declared::gauge("process_max_fds", "How many file descriptors may be open", &[]);

const RESIDENT: Declared = Declared::gauge_in(Unit::Bytes, "process_resident_memory", "Memory that the process has in RAM", &[]);

/// Declares them.
pub(super) fn register(registry: &mut Registry) {
    let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    registry.register_collector(Box::new(Process { started }));
}

#[derive(Debug)]
struct Process {
    started: f64,
}

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        page.put(&BUILD, [([env!("CARGO_PKG_VERSION")], 1.0)])?;
        page.put::<0, &str>(&START, [([], self.started)])?;
        page.put::<0, &str>(&FDS, open_fds().map(|number| ([], number)))?;
        page.put::<0, &str>(&FDS_MAX, max_fds().map(|number| ([], number)))?;
        page.put::<0, &str>(&RESIDENT, resident().map(|number| ([], number)))
    }
}

/// Of procfs, which never asks a disk. The descriptor that reads the directory is not counted.
fn open_fds() -> Option<f64> {
    let count = std::fs::read_dir("/proc/self/fd").ok()?.count();
    u32::try_from(count.saturating_sub(1)).ok().map(f64::from)
}

fn max_fds() -> Option<f64> {
    let (soft, _) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).ok()?;
    Some(soft as f64)
}

/// The second number of statm, in pages (proc(5)).
fn resident() -> Option<f64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: f64 = statm.split(' ').nth(1)?.parse().ok()?;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    Some(pages * page as f64)
}
