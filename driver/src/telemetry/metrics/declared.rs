//! How a metric is declared, and how states are put on a page.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// The bounds of everything that takes time, in seconds: an answer from memory, a system call, a storage system, a copy.
const SECONDS: [f64; 17] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0];

/// A metric. Its full name is the name, the unit, and for a counter `_total`.
#[derive(Debug, Clone)]
pub struct Declared {
    /// Its name without unit and suffix.
    pub name: &'static str,
    /// What it tells; the full stop is added.
    pub help: &'static str,
    /// What it counts in, `_seconds` or `_bytes`; nothing for a number of things.
    pub unit: Option<Unit>,
    /// What kind it is.
    pub kind: MetricType,
    /// The names of its labels, in order.
    pub labels: &'static [&'static str],
}

impl Declared {
    /// A counter of things.
    pub const fn counter(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Self { name, help, unit: None, kind: MetricType::Counter, labels }
    }

    /// A number of things now.
    pub const fn gauge(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Self { name, help, unit: None, kind: MetricType::Gauge, labels }
    }

    /// A histogram of times.
    pub const fn times(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Self { name, help, unit: Some(Unit::Seconds), kind: MetricType::Histogram, labels }
    }

    /// A time, an age or an amount now.
    pub const fn gauge_in(unit: Unit, name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Self { name, help, unit: Some(unit), kind: MetricType::Gauge, labels }
    }

    /// The name of its samples; of a histogram, what they begin with.
    pub fn full_name(&self) -> String {
        let unit = self.unit.as_ref().map(|unit| format!("_{}", unit.as_str())).unwrap_or_default();
        let suffix = match self.kind {
            MetricType::Counter => "_total",
            MetricType::Info => "_info",
            _ => "",
        };
        format!("{}{unit}{suffix}", self.name)
    }
}

/// The values of the labels of one sample, with their names.
pub type Labels = Vec<(&'static str, String)>;

/// A histogram for each set of labels.
#[derive(Debug, Clone, Copy)]
pub struct OfTimes;

impl MetricConstructor<Histogram> for OfTimes {
    fn new_metric(&self) -> Histogram {
        Histogram::new(SECONDS)
    }
}

/// Times by labels, counted as they happen. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Times {
    declared: Declared,
    family: Family<Labels, Histogram, OfTimes>,
}

impl Times {
    /// Declares it in `registry`.
    pub fn register(registry: &mut Registry, declared: Declared) -> Self {
        let family = Family::new_with_constructor(OfTimes);
        registry.register_with_unit(declared.name, declared.help, Unit::Seconds, family.clone());
        Self { declared, family }
    }

    /// Counts one; `values` are those of the labels, in the order in which they were declared.
    pub fn observe<const N: usize>(&self, values: [&str; N], took: std::time::Duration) {
        self.family.get_or_create(&labels(&self.declared, values)).observe(took.as_secs_f64());
    }
}

fn labels<const N: usize>(declared: &Declared, values: [&str; N]) -> Labels {
    debug_assert_eq!(declared.labels.len(), N, "{}", declared.name);
    declared.labels.iter().copied().zip(values.map(str::to_owned)).collect()
}

/// The page that is being made, for states.
pub struct Page<'e>(pub DescriptorEncoder<'e>);

impl Page<'_> {
    /// Writes a metric with its samples: the values of the labels, and the number. Nothing without samples.
    pub fn put<const N: usize, S: AsRef<str>>(
        &mut self,
        declared: &Declared,
        samples: impl IntoIterator<Item = ([S; N], f64)>,
    ) -> fmt::Result {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let Declared { name, help, unit, kind, labels: _ } = declared;
        // The registry puts a full stop behind what it registers itself; this is for the same look.
        let mut metric = self.0.encode_descriptor(name, &format!("{help}."), unit.as_ref(), *kind)?;
        for (values, number) in samples {
            let labels = labels(declared, values.each_ref().map(AsRef::as_ref));
            if matches!(kind, MetricType::Info) {
                metric.encode_info(&labels)?;
                continue;
            }
            let mut sample = if N == 0 { None } else { Some(metric.encode_family(&labels)?) };
            let sample = sample.as_mut();
            match (kind, sample) {
                (MetricType::Counter, Some(sample)) => sample.encode_counter::<NoLabelSet, _, f64>(&number, None)?,
                (_, Some(sample)) => sample.encode_gauge(&number)?,
                (MetricType::Counter, None) => metric.encode_counter::<NoLabelSet, _, f64>(&number, None)?,
                (_, None) => metric.encode_gauge(&number)?,
            }
        }
        Ok(())
    }
}
