//! The v1 HTTP API that masters and agents share.

use serde_json::Value;

use crate::daemon::Daemon;
use crate::poll::{PATIENCE, until_async};

/// Calls the API of the daemon at `url`. The error is what it answered instead of being well: its status and its words.
pub async fn call(url: &str, call: &Value) -> Result<Value, String> {
    let answer =
        post(&format!("{url}/api/v1"), call, &[]).timeout(PATIENCE).send().await.map_err(|error| format!("{error:?}"))?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| format!("{error:?}"))?;
    match status.is_success() {
        // Most calls that change something are answered with nothing.
        true if text.is_empty() => Ok(Value::Null),
        true => Ok(serde_json::from_str(&text).unwrap()),
        false => Err(format!("{}: {text}", status.as_u16())),
    }
}

/// A call in JSON.
pub(super) fn post(url: &str, call: &Value, headers: &[(&str, &str)]) -> reqwest::RequestBuilder {
    let request =
        reqwest::Client::new().post(url).header("Content-Type", "application/json").header("Accept", "application/json");
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(call.to_string())
}

/// The port that a daemon says it has bound, after `words` in its log.
pub(super) async fn port_in(daemon: &Daemon, words: &str) -> u16 {
    until_async("the daemon's address in its log", async || {
        let said = daemon.said();
        // The last one: a daemon that was started again adds to its log.
        let (_, after) = said.rsplit_once(words)?;
        let (line, _) = after.split_once('\n')?;
        Some(line.trim().parse().unwrap())
    })
    .await
}

/// The events of a subscription: RecordIO, each record after its length in decimal (mesos: docs/recordio.md).
#[derive(Debug)]
pub struct Events {
    answer: reqwest::Response,
    bytes: Vec<u8>,
}

impl Events {
    /// The events in the body of `answer`.
    pub(super) fn of(answer: reqwest::Response) -> Self {
        Self { answer, bytes: Vec::new() }
    }

    /// The next one; none when the other side has closed the connection.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
                let length: usize = std::str::from_utf8(&self.bytes[..end]).unwrap().parse().unwrap();
                let record = end + 1..end + 1 + length;
                if let Some(text) = self.bytes.get(record.clone()) {
                    let event = serde_json::from_slice(text).unwrap();
                    self.bytes.drain(..record.end);
                    return Some(event);
                }
            }
            self.bytes.extend(self.answer.chunk().await.ok()??);
        }
    }
}
