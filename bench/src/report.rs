//! What was measured, as a table or as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use crate::measure::Calls;
use crate::process::Seen;

/// One run of one driver at one concurrency.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) endpoint: String,
    pub(crate) plugin: String,
    pub(crate) version: String,
    pub(crate) concurrency: usize,
    pub(crate) operations: usize,
    pub(crate) failed: usize,
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
    pub(crate) rpcs: BTreeMap<&'static str, Rpc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) process: Option<Seen>,
}

/// One RPC in a run. Latencies in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Rpc {
    pub(crate) calls: u64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
    pub(crate) errors: BTreeMap<&'static str, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) example: Option<String>,
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

impl From<Calls> for Rpc {
    fn from(calls: Calls) -> Self {
        Self {
            calls: calls.latency.len(),
            p50: milliseconds(calls.at(50.0)),
            p90: milliseconds(calls.at(90.0)),
            p99: milliseconds(calls.at(99.0)),
            max: milliseconds(calls.at(100.0)),
            errors: calls.errors,
            example: calls.example,
        }
    }
}

impl Report {
    /// The table for people.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "\n{} {} at {}: {} operations, {} at one time, in {:.2} s: {:.1}/s{}",
            self.plugin,
            self.version,
            self.endpoint,
            self.operations,
            self.concurrency,
            self.seconds,
            self.per_second,
            if self.failed > 0 { format!(", {} FAILED", self.failed) } else { String::new() }
        );
        let _ = writeln!(
            text,
            "{:<28} {:>7} {:>10} {:>10} {:>10} {:>10}  errors",
            "RPC", "calls", "p50 ms", "p90 ms", "p99 ms", "max ms"
        );
        for (name, rpc) in &self.rpcs {
            let errors: Vec<String> = rpc.errors.iter().map(|(code, count)| format!("{count} {code}")).collect();
            let _ = writeln!(
                text,
                "{name:<28} {:>7} {:>10.2} {:>10.2} {:>10.2} {:>10.2}  {}",
                rpc.calls,
                rpc.p50,
                rpc.p90,
                rpc.p99,
                rpc.max,
                errors.join(", ")
            );
            if let Some(example) = &rpc.example {
                let _ = writeln!(text, "    for example: {example}");
            }
        }
        if let Some(seen) = &self.process {
            let _ =
                writeln!(text, "memory: {:.1} MiB before, {:.1} MiB at most", mebibytes(seen.idle_kib), mebibytes(seen.peak_kib));
            let mut calls: Vec<_> = seen.syscalls.iter().collect();
            calls.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            let total: u64 = seen.syscalls.values().sum();
            if total > 0 {
                let each = |count: u64| count as f64 / self.operations.max(1) as f64;
                let most: Vec<String> =
                    calls.iter().take(8).map(|(name, count)| format!("{name} {:.1}", each(**count))).collect();
                let _ = writeln!(text, "system calls an operation: {:.1} ({})", each(total), most.join(", "));
            }
        }
        text
    }
}

fn mebibytes(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// How a second driver compares with a first one: medians over the rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    pub(crate) concurrency: usize,
    pub(crate) rounds: usize,
    /// Operations a second, second to first: more is faster.
    pub(crate) throughput: f64,
    /// p50 and p99 of each RPC that both have, second to first: less is faster.
    pub(crate) latency: BTreeMap<&'static str, [f64; 2]>,
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    match numbers.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => numbers[n / 2],
        n => (numbers[n / 2 - 1] + numbers[n / 2]) / 2.0,
    }
}

impl Comparison {
    /// Compares the runs of one concurrency, pair by pair: the machine was in the same mood for both of a pair.
    pub(crate) fn of(concurrency: usize, pairs: &[(Report, Report)]) -> Self {
        let throughput = median(pairs.iter().map(|(a, b)| b.per_second / a.per_second).collect());
        let names: Vec<&'static str> = pairs.first().map(|(a, _)| a.rpcs.keys().copied().collect()).unwrap_or_default();
        let latency = names
            .into_iter()
            .filter(|name| pairs.iter().all(|(_, b)| b.rpcs.contains_key(name)))
            .map(|name| {
                let ratio =
                    |of: fn(&Rpc) -> f64| median(pairs.iter().map(|(a, b)| of(&b.rpcs[name]) / of(&a.rpcs[name])).collect());
                (name, [ratio(|rpc| rpc.p50), ratio(|rpc| rpc.p99)])
            })
            .collect();
        Self { concurrency, rounds: pairs.len(), throughput, latency }
    }

    /// The table for people.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "\nsecond to first at {} at one time, median of {} rounds: {:.2} times the throughput",
            self.concurrency, self.rounds, self.throughput
        );
        let _ = writeln!(text, "{:<28} {:>10} {:>10}", "RPC", "p50 ratio", "p99 ratio");
        for (name, [p50, p99]) in &self.latency {
            let _ = writeln!(text, "{name:<28} {p50:>10.2} {p99:>10.2}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 100.0]), 3.0);
        assert_eq!(median(vec![1.0, 3.0]), 2.0);
    }
}
