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
    /// The next event; nothing when the agent has ended the subscription.
    pub(super) async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(record) = self.records.next()? {
                return self.format.decode(&record).map(Some);
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

async fn post(agent: &Agent, format: Format, stream: Option<&str>, call: &Call) -> Result<Response> {
    let media = format.media_type();
    let mut headers = vec![("Content-Type", media), ("Accept", media)];
    headers.extend(stream.map(|stream| (STREAM_ID, stream)));
    agent.post(API, &headers, format.encode(call)?).await
}
