//! The conversation with an agent: one answer that does not end, with the events, and a request for each call.

use std::time::Duration;

use hawser_proto::mesos::v1::resource_provider::{Call, Event, call};
use hawser_proto::mesos::v1::{ResourceProviderId, ResourceProviderInfo};
use hawser_volume::{Error, Result};
use reqwest::Response;

use super::format::Format;
use super::record::Records;
use crate::mesos::Agent;

/// The part of an agent's API.
const API: &str = "resource_provider";

/// Says which subscription a call belongs to.
const STREAM_ID: &str = "Mesos-Stream-Id";

/// How long an agent may take to say who we are. One that does not know the id that we say we have closes the connection or says
/// nothing at all (`ResourceProviderManagerProcess::subscribe`, src/resource_provider/manager.cpp).
const WELCOME: Duration = Duration::from_secs(10);

/// The events of a subscription. Dropping it ends the subscription.
#[derive(Debug)]
pub(super) struct Events {
    answer: Response,
    records: Records,
    format: Format,
}

/// How calls of a subscription are made.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    agent: Agent,
    format: Format,
    stream: String,
    id: ResourceProviderId,
}

/// Subscribes with `agent`; returns the id that the provider has with it.
///
/// `NotFound` when the agent does not take the id that `info` has.
pub(super) async fn subscribe(agent: &Agent, info: ResourceProviderInfo, format: Format) -> Result<(Caller, Events)> {
    let had_id = info.id.is_some();
    let subscribe = call::Subscribe { resource_provider_info: info };
    let call = Call { r#type: Some(call::Type::Subscribe.into()), subscribe: Some(subscribe), ..Call::default() };
    let answer = post(agent, format, None, &call).await?;
    let stream = answer.headers().get(STREAM_ID).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let stream = stream.ok_or_else(|| Error::unavailable(format!("{} subscribes us without a {STREAM_ID}", agent.server())))?;
    let mut events = Events { answer, records: Records::default(), format };
    let first = tokio::time::timeout(WELCOME, events.next()).await.unwrap_or(Ok(None))?;
    match first.and_then(|event| event.subscribed) {
        Some(subscribed) => {
            let caller = Caller { agent: agent.clone(), format, stream, id: subscribed.provider_id };
            Ok((caller, events))
        }
        None if had_id => {
            Err(Error::not_found(format!("{} does not take this provider under the id that it had", agent.server())))
        }
        None => Err(Error::unavailable(format!("{} ended the subscription before it began", agent.server()))),
    }
}

impl Events {
    /// The next event, if all of it has arrived already.
    pub(super) fn arrived(&mut self) -> Result<Option<Event>> {
        self.records.next()?.map(|record| self.format.decode(&record)).transpose()
    }

    /// The next event; nothing when the agent has ended the subscription.
    pub(super) async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.arrived()? {
                return Ok(Some(event));
            }
            let piece = self.answer.chunk().await;
            match piece.map_err(|error| Error::unavailable("hear the agent").caused_by(error.without_url()))? {
                Some(piece) => self.records.push(&piece),
                None if self.records.is_whole() => return Ok(None),
                None => return Err(Error::unavailable("hear the agent: it ended within a record")),
            }
        }
    }
}

impl Caller {
    /// The id that the provider has with this agent.
    pub(super) fn id(&self) -> &ResourceProviderId {
        &self.id
    }

    /// Makes a call. Success says that the agent has it, and no more.
    pub(super) async fn call(&self, call: Call) -> Result<()> {
        let call = Call { resource_provider_id: Some(self.id.clone()), ..call };
        post(&self.agent, self.format, Some(&self.stream), &call).await.map(drop)
    }
}

/// Makes a call, or subscribes.
async fn post(agent: &Agent, format: Format, stream: Option<&str>, call: &Call) -> Result<Response> {
    let media = format.media_type();
    let mut headers = vec![("Content-Type", media), ("Accept", media)];
    headers.extend(stream.map(|stream| (STREAM_ID, stream)));
    agent.post(API, &headers, format.encode(call)?).await
}

#[cfg(test)]
mod tests {
    use hawser_proto::mesos::v1::resource_provider::event;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::mesos::{Http, HttpOptions};

    /// What an agent says that welcomes a provider and gives it up.
    fn whole() -> Vec<u8> {
        let mut bytes = b"HTTP/1.1 200 OK\r\nMesos-Stream-Id: s\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for event in [r#"{"type":"SUBSCRIBED","subscribed":{"provider_id":{"value":"P1"}}}"#, r#"{"type":"TEARDOWN"}"#] {
            let record = format!("{}\n{event}", event.len());
            bytes.extend(format!("{:x}\r\n{record}\r\n", record.len()).into_bytes());
        }
        bytes.extend(b"0\r\n\r\n");
        bytes
    }

    /// The types of the events of an agent that says `bytes` and closes the connection, and whether it ended well.
    async fn heard(bytes: &[u8]) -> (Vec<event::Type>, bool) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let bytes = bytes.to_vec();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"}}}") {
                request.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(&bytes).await.unwrap();
        });
        let agent = Agent::new(Http::new(HttpOptions::default()).unwrap(), address, Duration::from_secs(60));
        let info = ResourceProviderInfo { r#type: "t".to_owned(), name: "n".to_owned(), ..ResourceProviderInfo::default() };
        let mut types = Vec::new();
        let end = async {
            let (_, mut events) = subscribe(&agent, info, Format::Json).await?;
            types.push(event::Type::Subscribed);
            while let Some(event) = events.next().await? {
                types.push(event.r#type());
            }
            Ok::<_, Error>(())
        };
        let end = tokio::time::timeout(Duration::from_secs(60), end).await.expect("it hangs");
        server.await.unwrap();
        (types, end.is_ok())
    }

    #[tokio::test]
    async fn a_connection_that_ends_at_any_byte_is_a_part_of_what_was_said() {
        let whole = whole();
        assert_eq!(heard(&whole).await, (vec![event::Type::Subscribed, event::Type::Teardown], true));
        for end in 0..whole.len() {
            let (types, is_well) = heard(&whole[..end]).await;
            assert!([event::Type::Subscribed, event::Type::Teardown].starts_with(&types), "cut at {end}: {types:?}");
            assert!(!is_well, "cut at {end}: the end is not the end");
        }
    }
}
