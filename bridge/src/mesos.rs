//! What Mesos says, asked over HTTP or read from the files of the agent on this machine.
//!
//! [`Master`] asks the leading master which agents there are and what became of the others; [`Agent`] asks one agent what runs on
//! it and which volumes that declared; [`checkpoint`] reads what the agent's isolators wrote down for themselves. Nothing here
//! decides anything.
//!
//! Every question has a deadline and every answer a size limit. An answer is read strictly where something depends on it: a field
//! that is missing is an error that names it, never a default. Fields that are not needed are not looked at, so that other
//! releases of Mesos can be asked too. The shapes were recorded from Mesos 1.11.0 (`tests/fencing/fixtures/`).

pub mod agent;
pub mod checkpoint;
pub mod credential;
pub mod endpoint;
pub mod http;
pub mod identity;
pub mod in_use;
pub mod master;
pub mod task;
mod wire;

pub use agent::{Agent, AgentView};
pub use credential::Credential;
pub use endpoint::{Endpoint, Masters};
pub use http::{Http, HttpOptions};
pub use identity::{AgentId, AgentInfo};
pub use in_use::InUse;
pub use master::{Master, MasterView, Standing};
pub use task::{DeclaredVolume, Task, Use};
