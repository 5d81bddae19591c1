//! What the user allows to be done with a volume: made, taken from another node, deleted.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use hawser_volume::{Error, Result};
use serde::{Deserialize, Serialize};

/// Whether a volume is made that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Create {
    /// Made on first use, as REX-Ray and Docker do.
    #[default]
    IfAbsent,
    /// A volume that is not there is an error: somebody else makes it.
    Never,
}

/// What happens to a volume when its task has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retain {
    /// It stays, with its data, for the next task that names it. A task that ends may be one that is about to be restarted
    /// elsewhere, and Mesos does not say which; so nothing else can be the default.
    #[default]
    Keep,
    /// It is deleted, if Hawser made it: scratch space that nobody reads again.
    DeleteWithTask,
}

/// What must be known about the node that has a volume before the volume is taken from it. Each kind of evidence is weaker than
/// the one before; the node is never known to be alive in any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Takeover {
    /// Nothing is enough: a person detaches the volume.
    Never,
    /// The storage system says that the node is down: an instance that is stopped, a client that is disconnected.
    BackendDead,
    /// Mesos has given the agent up for good: an operator marked it gone, or it was removed.
    AgentGone,
    /// The master has not reached the agent for so long. The agent may still run, and its task with it, so the storage system
    /// must be able to shut it out.
    UnreachableAfter(Duration),
}

impl Create {
    /// The names, as options give them.
    pub const NAMES: [(&'static str, Create); 2] = [("if-absent", Create::IfAbsent), ("never", Create::Never)];
}

impl Retain {
    /// The names, as options give them.
    pub const NAMES: [(&'static str, Retain); 2] = [("keep", Retain::Keep), ("delete-with-task", Retain::DeleteWithTask)];
}

/// Reading and writing by a table of names, in any case.
macro_rules! by_name {
    ($type:ident, $what:literal) => {
        impl FromStr for $type {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                match Self::NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text.trim())) {
                    Some((_, value)) => Ok(*value),
                    None => {
                        let names: Vec<&str> = Self::NAMES.iter().map(|(name, _)| *name).collect();
                        Err(Error::invalid(format!(
                            "{} is no policy for {}; it is {}",
                            hawser_volume::error::shown(text),
                            $what,
                            names.join(" or ")
                        )))
                    }
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(Self::NAMES.iter().find(|(_, value)| value == self).map_or("", |(name, _)| *name))
            }
        }
    };
}

by_name!(Create, "making a volume");
by_name!(Retain, "keeping a volume");

/// Before the duration of [`Takeover::UnreachableAfter`].
const UNREACHABLE: &str = "unreachable-after";

impl FromStr for Takeover {
    type Err = Error;

    /// Reads `never`, `backend-dead`, `agent-gone` or `unreachable-after-10m`. Between the last two parts a space, a colon or an
    /// equals sign is as good as the hyphen, which alone is allowed in DVDI_VOLUME_OPTS.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::invalid(format!(
                "{} is no policy for taking a volume over; it is never, backend-dead, agent-gone or unreachable-after-10m (a \
                 number and s, m, h or d)",
                hawser_volume::error::shown(text)
            ))
        };
        let lower = text.trim().to_ascii_lowercase();
        match lower.as_str() {
            "never" => return Ok(Self::Never),
            "backend-dead" => return Ok(Self::BackendDead),
            "agent-gone" => return Ok(Self::AgentGone),
            _ => {}
        }
        let duration =
            lower.strip_prefix(UNREACHABLE).and_then(|rest| rest.strip_prefix(['-', ' ', ':', '='])).ok_or_else(wrong)?;
        let duration = humantime::parse_duration(duration.trim()).map_err(|_| wrong())?;
        if duration.subsec_nanos() != 0 || duration.is_zero() {
            return Err(Error::invalid(format!("{UNREACHABLE} must be whole seconds, at least one")));
        }
        Ok(Self::UnreachableAfter(duration))
    }
}

impl fmt::Display for Takeover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Takeover::Never => f.write_str("never"),
            Takeover::BackendDead => f.write_str("backend-dead"),
            Takeover::AgentGone => f.write_str("agent-gone"),
            Takeover::UnreachableAfter(duration) => write!(f, "{UNREACHABLE}-{}s", duration.as_secs()),
        }
    }
}

impl TryFrom<String> for Takeover {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Takeover> for String {
    fn from(takeover: Takeover) -> Self {
        takeover.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_duration_may_be_written_in_every_way_that_its_carrier_allows() {
        let ten = Takeover::UnreachableAfter(Duration::from_secs(600));
        for text in ["unreachable-after-10m", "unreachable-after 10m", "Unreachable-After:600s", "unreachable-after=10min"] {
            assert_eq!(text.parse::<Takeover>().unwrap(), ten, "{text}");
        }
        for text in [
            "",
            "always",
            "unreachable-after",
            "unreachable-after-",
            "unreachable-after10m",
            "unreachable-after-10",
            "unreachable-after-0s",
            "unreachable-after-1ms",
            "unreachable-after-99999999999999999999d",
        ] {
            assert!(text.parse::<Takeover>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_wrong_policy_is_answered_with_the_right_ones() {
        assert!("yes".parse::<Create>().unwrap_err().to_string().contains("if-absent or never"));
        assert!("delete".parse::<Retain>().unwrap_err().to_string().contains("keep or delete-with-task"));
        assert_eq!("Never".parse::<Create>().unwrap(), Create::Never);
    }

    proptest! {
        #[test]
        fn a_policy_survives_its_text(seconds in 1u64..u64::from(u32::MAX)) {
            for takeover in [Takeover::Never, Takeover::BackendDead, Takeover::AgentGone, Takeover::UnreachableAfter(Duration::from_secs(seconds))] {
                prop_assert_eq!(takeover.to_string().parse::<Takeover>().unwrap(), takeover);
            }
        }

        #[test]
        fn any_text_is_a_policy_or_an_error(text in any::<String>()) {
            let _ = (text.parse::<Takeover>(), text.parse::<Create>(), text.parse::<Retain>());
        }
    }
}
