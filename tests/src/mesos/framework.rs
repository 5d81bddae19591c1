//! A framework: what runs tasks on the agents, as Marathon does.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::container::Container;
use super::http::{Events, post};
use super::{Agent, Mesos};
use crate::poll::PATIENCE;

/// The states after which a task does nothing more.
const TERMINAL: [&str; 6] = ["TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_ERROR", "TASK_DROPPED", "TASK_GONE"];

/// How long the master says nothing when it has nothing more to say.
const QUIET: Duration = Duration::from_millis(20);

/// A subscribed framework. Mesos ends its tasks when it is dropped.
#[derive(Debug)]
pub struct Framework {
    url: String,
    stream: String,
    id: String,
    events: Events,
    offers: Vec<Value>,
    statuses: VecDeque<Value>,
    /// Ends of operations, by the ids that the framework gave.
    pub(super) operations: VecDeque<Value>,
}

impl Framework {
    /// Subscribes with the master. Its tasks outlive the process of their agent.
    pub async fn subscribe(mesos: &Mesos) -> Self {
        Self::subscribe_as(mesos, "tests").await
    }

    /// The same in another role.
    pub async fn subscribe_as(mesos: &Mesos, role: &str) -> Self {
        let url = format!("{}/api/v1/scheduler", mesos.url());
        let info = json!({"user": "root", "name": "tests", "roles": [role], "checkpoint": true, "capabilities": [
            {"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"}, {"type": "RESERVATION_REFINEMENT"}]});
        let call = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": info}});
        let answer = post(&url, &call, &[]).send().await.unwrap();
        let stream = answer.headers()["Mesos-Stream-Id"].to_str().unwrap().to_owned();
        let mut events = Events::of(answer);
        let subscribed = events.next().await.unwrap();
        let id = subscribed["subscribed"]["framework_id"]["value"].as_str().unwrap().to_owned();
        Self { url, stream, id, events, offers: Vec::new(), statuses: VecDeque::new(), operations: VecDeque::new() }
    }

    /// Runs `container` as a task of the same id on `agent`; returns when Mesos has been told to.
    pub async fn run(&mut self, agent: &Agent, container: &Container) {
        let agent = agent.id().await;
        let offer = self.offer(|offer| offer["agent_id"]["value"] == *agent).await;
        self.launch(&offer, &agent, container).await;
    }

    /// Runs `container` as a task of the same id with an offer of the agent with this id.
    pub async fn launch(&mut self, offer: &Value, agent: &str, container: &Container) {
        let launch = json!({"type": "LAUNCH", "launch": {"task_infos": [container.task(agent)]}});
        self.accept(offer, &[launch]).await;
    }

    /// An offer that is `wanted`. Others are given back, so that what they have is offered together with what comes free.
    pub(super) async fn offer(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            // What the master has taken back meanwhile is no offer any more.
            while let Ok(event) = tokio::time::timeout(QUIET, self.events.next()).await {
                self.take(event).await;
            }
            if let Some(position) = self.offers.iter().position(&wanted) {
                return self.offers.remove(position);
            }
            assert!(begun.elapsed() < 2 * PATIENCE, "no such offer among {:#?}", self.offers);
            // A disk alone is never offered (master flag `min_allocatable_resources`): it waits for the rest of its agent.
            for offer in std::mem::take(&mut self.offers) {
                self.decline(&offer).await;
            }
            self.event().await;
        }
    }

    /// Uses an offer.
    pub(super) async fn accept(&mut self, offer: &Value, operations: &[Value]) {
        let filters = json!({"refuse_seconds": 0});
        self.call("ACCEPT", &json!({"offer_ids": [offer["id"]], "operations": operations, "filters": filters})).await;
    }

    /// Gives an offer back.
    pub async fn decline(&mut self, offer: &Value) {
        let filters = json!({"refuse_seconds": 0});
        self.call("DECLINE", &json!({"offer_ids": [offer["id"]], "filters": filters})).await;
    }

    /// The first status of the task that has this state; panics when the task is over in another one.
    pub async fn until(&mut self, task: &str, state: &str) -> Value {
        loop {
            let status = self.next_of(task).await;
            if status["state"] == state {
                return status;
            }
            assert!(!TERMINAL.contains(&status["state"].as_str().unwrap()), "not {state}: {status}");
        }
    }

    /// The status with which the task runs, or with which it ends without having run.
    pub async fn starts_or_ends(&mut self, task: &str) -> Value {
        loop {
            let status = self.next_of(task).await;
            let state = status["state"].as_str().unwrap();
            if state == "TASK_RUNNING" || TERMINAL.contains(&state) {
                return status;
            }
        }
    }

    /// The status with which the task ends.
    pub async fn end(&mut self, task: &str) -> Value {
        loop {
            let status = self.next_of(task).await;
            if TERMINAL.contains(&status["state"].as_str().unwrap()) {
                return status;
            }
        }
    }

    /// The next status of the task. Those of others are kept for whoever asks for them.
    async fn next_of(&mut self, task: &str) -> Value {
        let begun = Instant::now();
        loop {
            if let Some(at) = self.statuses.iter().position(|status| status["task_id"]["value"] == task) {
                return self.statuses.remove(at).unwrap();
            }
            // The master says that it is there, also when it has nothing to say.
            assert!(begun.elapsed() < 2 * PATIENCE, "nothing is heard of task {task}; of others: {:?}", self.statuses);
            self.event().await;
        }
    }

    /// Ends a task.
    pub async fn kill(&self, task: &str) {
        self.call("KILL", &json!({"task_id": {"value": task}})).await;
    }

    /// Waits for an event.
    pub(super) async fn event(&mut self) {
        let event = tokio::time::timeout(PATIENCE, self.events.next()).await.expect("the master says nothing");
        self.take(event).await;
    }

    async fn take(&mut self, event: Option<Value>) {
        let mut event = event.expect("the master ended the subscription");
        match event["type"].as_str() {
            Some("OFFERS") => {
                if let Value::Array(offers) = event["offers"]["offers"].take() {
                    self.offers.extend(offers);
                }
            }
            Some("RESCIND") => self.offers.retain(|offer| offer["id"] != event["rescind"]["offer_id"]),
            Some("UPDATE") => {
                let status = event["update"]["status"].take();
                // Those that the master itself makes up have no uuid and want no answer.
                if status["uuid"].is_string() {
                    let which = json!({"agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": status["uuid"]});
                    self.call("ACKNOWLEDGE", &which).await;
                }
                self.statuses.push_back(status);
            }
            Some("UPDATE_OPERATION_STATUS") => {
                let status = event["update_operation_status"]["status"].take();
                // What the master says by itself has no uuid and wants no answer.
                if status["uuid"]["value"].is_string() {
                    let which = json!({"agent_id": status["agent_id"], "resource_provider_id": status["resource_provider_id"],
                        "uuid": status["uuid"]["value"], "operation_id": status["operation_id"]});
                    self.call("ACKNOWLEDGE_OPERATION_STATUS", &which).await;
                }
                self.operations.push_back(status);
            }
            Some("ERROR") => panic!("the master refuses the framework: {event}"),
            _ => {}
        }
    }

    /// A call whose body is named as its type is.
    pub(super) async fn call(&self, kind: &str, body: &Value) {
        let mut call = json!({"type": kind, "framework_id": {"value": self.id}});
        call[kind.to_lowercase()] = body.clone();
        let answer = post(&self.url, &call, &[("Mesos-Stream-Id", &self.stream)]).timeout(PATIENCE).send().await.unwrap();
        let status = answer.status();
        assert!(status.is_success(), "{call}: {status} {}", answer.text().await.unwrap_or_default());
    }
}
