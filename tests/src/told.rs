//! What a process tells of itself over HTTP.

use std::collections::{BTreeMap, BTreeSet};

use crate::binary::workspace_root;
use crate::poll::until;

/// The HTTP listener of a process.
#[derive(Debug, Clone)]
pub struct Told {
    address: String,
    client: reqwest::Client,
}

/// A sample of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its name, with `_total`, `_bucket` and such.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Told {
    /// The one of the process whose log `said` gives; waits until it is there. Of several starts, the last one's.
    pub fn of(said: impl Fn() -> String) -> Self {
        let address = until("an HTTP listener", || {
            let said = said();
            let line = said.lines().rfind(|line| line.contains("serving HTTP address="))?;
            Some(line.split_once("address=")?.1.trim().to_owned())
        });
        Self { address, client: reqwest::Client::new() }
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Status and body.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.client.get(format!("http://{}{path}", self.address)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// The content type of a page.
    pub async fn content_type(&self, path: &str) -> String {
        let answer = self.client.get(format!("http://{}{path}", self.address)).send().await.unwrap();
        answer.headers()["content-type"].to_str().unwrap().to_owned()
    }

    /// The samples of `/metrics`.
    pub async fn samples(&self) -> Vec<Sample> {
        let (status, page) = self.get("/metrics").await;
        assert_eq!(status, 200, "{page}");
        assert!(page.ends_with("# EOF\n"), "{page}");
        page.lines().filter(|line| !line.starts_with('#')).map(Sample::parse).collect()
    }

    /// The sum of the samples called `name` with these labels among theirs; nothing when there is none.
    pub async fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let found: Vec<f64> =
            self.samples().await.iter().filter(|sample| sample.is(name, labels)).map(|sample| sample.value).collect();
        (!found.is_empty()).then(|| found.iter().sum())
    }
}

impl Sample {
    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        // No value of ours has a quote or a comma in it.
        let labels = labels.strip_suffix('}').unwrap().split(',').filter(|label| !label.is_empty());
        let pair = |label: &str| {
            let (key, value) = label.split_once('=').unwrap();
            (key.to_owned(), value.trim_matches('"').to_owned())
        };
        Self { name: name.to_owned(), labels: labels.map(pair).collect(), value: value.parse().unwrap() }
    }

    /// Whether it is one of `name` with these labels.
    pub fn is(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.name == name && labels.iter().all(|(key, value)| self.labels.get(*key).is_some_and(|is| is == value))
    }

    /// The name of the metric that it belongs to, and its labels without the bound of a bucket.
    pub fn metric(&self) -> (String, BTreeSet<String>) {
        let suffix = ["_bucket", "_sum", "_count"].into_iter().find_map(|suffix| self.name.strip_suffix(suffix));
        let name = suffix.unwrap_or(&self.name).to_owned();
        (name, self.labels.keys().filter(|label| *label != "le").cloned().collect())
    }
}

/// What docs/metrics.md names: the labels of each metric. A test of the driver holds that page to what is declared.
pub fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let page = std::fs::read_to_string(workspace_root().join("docs/metrics.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `hawser_") || line.starts_with("| `process_"));
    let found: BTreeMap<_, _> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let labels = cells[3].split(',').map(|label| label.trim().trim_matches('`').to_owned());
            (cells[1].trim_matches('`').to_owned(), labels.filter(|label| !label.is_empty()).collect())
        })
        .collect();
    assert!(found.len() > 20, "{found:?}");
    found
}
