//! What can be run, and how often each.

use std::str::FromStr;

use hawser_volume::{Error, Result};

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// A volume is made, attached, staged, published, looked at, and all of it undone.
    Lifecycle,
    /// A volume is made and removed.
    Volume,
    /// A snapshot of an idle volume is made and removed.
    Snapshot,
    /// All volumes are listed.
    List,
    /// The capacity is asked for.
    Capacity,
    /// The plugin's name is asked for.
    Info,
    /// The plugin is probed.
    Probe,
}

impl Operation {
    const ALL: [(&'static str, Operation); 7] = [
        ("lifecycle", Operation::Lifecycle),
        ("volume", Operation::Volume),
        ("snapshot", Operation::Snapshot),
        ("list", Operation::List),
        ("capacity", Operation::Capacity),
        ("info", Operation::Info),
        ("probe", Operation::Probe),
    ];
}

/// Operations with their weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mix(Vec<(Operation, usize)>);

impl Mix {
    /// The operation for the `number`th turn: each as often as its weight says, spread evenly.
    pub(crate) fn operation(&self, number: usize) -> Operation {
        let total: usize = self.0.iter().map(|(_, weight)| weight).sum();
        let mut left = number % total.max(1);
        for (operation, weight) in &self.0 {
            if left < *weight {
                return *operation;
            }
            left -= weight;
        }
        Operation::Lifecycle
    }

    pub(crate) fn has(&self, wanted: Operation) -> bool {
        self.0.iter().any(|(operation, _)| *operation == wanted)
    }
}

impl FromStr for Mix {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let names = || Operation::ALL.map(|(name, _)| name).join(", ");
        let mut mix = Vec::new();
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let operation = Operation::ALL.iter().find(|(known, _)| *known == name.trim()).map(|(_, operation)| *operation);
            let operation =
                operation.ok_or_else(|| Error::invalid(format!("there is no operation {name:?}; there are {}", names())))?;
            let weight: usize = weight
                .trim()
                .parse()
                .ok()
                .filter(|weight| (1..=10_000).contains(weight))
                .ok_or_else(|| Error::invalid(format!("the weight {weight:?} of {name} must be a number from 1 to 10000")))?;
            mix.push((operation, weight));
        }
        Ok(Self(mix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_gets_its_share() {
        let mix: Mix = "lifecycle=1, probe=3".parse().unwrap();
        let probes = (0..400).filter(|number| mix.operation(*number) == Operation::Probe).count();
        assert_eq!(probes, 300);
        for bad in ["", "lifecycle=0", "nonsense", "probe=x"] {
            assert!(bad.parse::<Mix>().is_err(), "{bad}");
        }
    }
}
