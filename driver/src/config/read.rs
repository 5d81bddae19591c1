//! Reading the file with the place of every mistake.
//!
//! A backend's keys depend on its `type`, which may stand anywhere among them (tools that write YAML sort keys). Serde's tagged
//! enums collect the keys first and lose their places in the file, so the file is read twice: once for the types, and once with
//! them for everything else.

use std::collections::BTreeMap;
use std::fmt;

use hawser_bridge::config::BridgeConfig;
use hawser_volume::{BackendName, Error, Result};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::{BackendConfig, Config, DriverConfig};

/// The types of the backends, by name.
#[derive(Debug, Default, Deserialize)]
struct Types {
    #[serde(default)]
    backends: Option<BTreeMap<String, Typed>>,
}

#[derive(Debug, Deserialize)]
struct Typed {
    #[serde(rename = "type")]
    kind: String,
}

/// Reads the text of a configuration; `file` names it in messages.
pub fn parse(text: &str, file: &str) -> Result<Config> {
    let wrong = |error: serde_saphyr::Error| {
        let place = error.location().map_or_else(|| file.to_owned(), |at| format!("{file}:{}:{}", at.line(), at.column()));
        Error::invalid(format!("{place}: {}", sentence(&error)))
    };
    if text.trim().is_empty() {
        return Ok(Config::default());
    }
    let types: Types = serde_saphyr::from_str(text).map_err(wrong)?;
    let types = types.backends.unwrap_or_default().into_iter().map(|(name, typed)| (name, typed.kind)).collect();
    let config = serde_saphyr::with_deserializer_from_str(text, |deserializer| File { types: &types }.deserialize(deserializer))
        .map_err(wrong)?;
    let mistakes = config.mistakes();
    if mistakes.is_empty() {
        return Ok(config);
    }
    let lines: Vec<String> =
        mistakes.into_iter().map(|(key, mistake)| format!("{}: {key}: {mistake}", place_of(text, file, &key))).collect();
    Err(Error::invalid(lines.join("\n")))
}

/// The message without the place, which stands before it already, and without the excerpt of the file that follows it.
fn sentence(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.rsplit_once(" at line ").map_or(line, |(before, _)| before).to_owned()
}

/// Where the last part of a dotted key stands, found by its indentation-free text below its parents.
pub(super) fn place_of(text: &str, file: &str, key: &str) -> String {
    let mut wanted = key.split('.');
    let mut part = wanted.next();
    let mut found = None;
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(name) = part
            && line.trim_start().strip_prefix(name).is_some_and(|rest| rest.starts_with(':'))
        {
            found = Some(number);
            part = wanted.next();
        }
    }
    found.map_or_else(|| file.to_owned(), |number| format!("{file}:{number}"))
}

#[derive(Debug, Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Section {
    Driver,
    Backends,
    Bridge,
}

struct File<'t> {
    types: &'t BTreeMap<String, String>,
}

impl<'de> DeserializeSeed<'de> for File<'_> {
    type Value = Config;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Config, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for File<'_> {
    type Value = Config;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map with the keys `driver`, `backends` and `bridge`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Config, A::Error> {
        let mut config = Config::default();
        while let Some(section) = map.next_key::<Section>()? {
            match section {
                Section::Driver => config.driver = map.next_value::<Option<DriverConfig>>()?.unwrap_or_default(),
                Section::Bridge => config.bridge = map.next_value::<Option<BridgeConfig>>()?.unwrap_or_default(),
                Section::Backends => config.backends = map.next_value_seed(Backends { types: self.types })?,
            }
        }
        Ok(config)
    }
}

struct Backends<'t> {
    types: &'t BTreeMap<String, String>,
}

impl<'de> DeserializeSeed<'de> for Backends<'_> {
    type Value = BTreeMap<BackendName, BackendConfig>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Backends<'_> {
    type Value = BTreeMap<BackendName, BackendConfig>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from the name of a backend to its settings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut backends = BTreeMap::new();
        while let Some(name) = map.next_key::<BackendName>()? {
            let kind = self.types.get(name.as_str()).map(String::as_str).unwrap_or_default();
            let backend = map.next_value_seed(Backend { kind })?;
            backends.insert(name, backend);
        }
        Ok(backends)
    }
}

struct Backend<'t> {
    kind: &'t str,
}

impl<'de> DeserializeSeed<'de> for Backend<'_> {
    type Value = BackendConfig;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<BackendConfig, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Backend<'_> {
    type Value = BackendConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the settings of a backend")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<BackendConfig, A::Error> {
        let settings = MapAccessDeserializer::new(WithoutType(map));
        match self.kind {
            "ebs" => Deserialize::deserialize(settings).map(BackendConfig::Ebs),
            "local" => Deserialize::deserialize(settings).map(BackendConfig::Local),
            "nfs" => Deserialize::deserialize(settings).map(BackendConfig::Nfs),
            "scaleio" => Deserialize::deserialize(settings).map(BackendConfig::ScaleIo),
            other => {
                Err(A::Error::custom(format!("type {other:?} is unknown; it is one of {}", BackendConfig::TYPES.join(", "))))
            }
        }
    }
}

/// A map without its key `type`.
struct WithoutType<A>(A);

impl<'de, A: MapAccess<'de>> MapAccess<'de> for WithoutType<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        // The key must be known before the seed sees it, and a seed can be used once.
        let Some(key) = self.0.next_key::<String>()? else { return Ok(None) };
        if key != "type" {
            return seed.deserialize(serde::de::value::StringDeserializer::new(key)).map(Some);
        }
        self.0.next_value::<IgnoredAny>()?;
        self.next_key_seed(seed)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.0.next_value_seed(seed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_mistake_has_its_place() {
        for (text, expected) in [
            ("driver:\n  nam: x\n", ["f:2", "nam"]),
            ("drivers: {}\n", ["f:1", "drivers"]),
            ("backends:\n  a:\n    root: /x\n", ["f:3", "type"]),
            ("backends:\n  a:\n    root: /x\n    type: lokal\n", ["f:", "lokal"]),
            ("backends:\n  a:\n    type: local\n    rot: /x\n", ["f:4", "rot"]),
            ("backends:\n  a:\n    root: x\n    type: local\n", ["f:3", "backends.a.root"]),
            ("backends:\n  a:\n    type: local\n    overcommit: 0.5\n", ["f:4", "overcommit"]),
            ("backends:\n  a:\n    type: local\n    capacity: ten\n", ["f:4", "not a size"]),
            ("backends:\n  'a b':\n    type: local\n", ["f:2", "backend name"]),
            ("backends:\n  a:\n    type: ebs\n    region: EU\n", ["f:4", "region"]),
            ("backends:\n  a:\n    type: scaleio\n    systems:\n      - user: u\n", ["f:4", "gateways must have"]),
            ("backends:\n  a:\n    type: scaleio\n    name-prefix: 'a b'\n", ["f:4", "name-prefix"]),
            ("backends:\n  a:\n    type: ebs\n    request-rate: 0\n", ["f:4", "request-rate"]),
            ("backends: {}\n", ["f:1", "at least one"]),
            ("driver:\n  default-backend: b\n", ["f:2", "b is not one of the backends"]),
            ("driver:\n  name: csi.hawser.1\n", ["f:2", "ending with a letter"]),
            ("a: [\n", ["f:", ""]),
        ] {
            let error = parse(text, "f").unwrap_err().to_string();
            for part in expected {
                assert!(error.contains(part), "{text:?} gave {error:?}, which has no {part:?}");
            }
        }
    }

    #[test]
    fn the_example_is_in_order() {
        let config = parse(include_str!("../../../charts/examples/hawser.yaml"), "hawser.yaml").unwrap();
        assert_eq!(config.backends.len(), 2);
    }

    /// The error for an unknown key lists the known ones; each must have its row in the documentation.
    #[test]
    fn every_key_is_documented() {
        let documentation = include_str!("../../../docs/configuration.md");
        for text in [
            "driver:\n  zzz: 1\n",
            "backends:\n  a:\n    type: local\n    zzz: 1\n",
            "backends:\n  a:\n    type: nfs\n    zzz: 1\n",
            "backends:\n  a:\n    type: scaleio\n    zzz: 1\n",
            "backends:\n  a:\n    type: scaleio\n    systems:\n      - zzz: 1\n",
            "backends:\n  a:\n    type: ebs\n    zzz: 1\n",
        ] {
            let error = parse(text, "f").unwrap_err().to_string();
            let keys: Vec<&str> = error.split_once("expected one of ").unwrap().1.split(", ").collect();
            assert!(keys.len() >= 5, "{error}");
            for key in keys {
                assert!(documentation.contains(&format!("| `{key}` |")), "docs/configuration.md has no row for {key:?}");
            }
        }
    }

    #[test]
    fn what_is_shown_reads_back_as_the_same() {
        let text = "driver:\n  csi-spec-level: '1.13'\nbackends:\n  dirs:\n    kind: directory\n    type: local\n    root: /srv\n  local:\n    type: local\n    capacity: 5GiB\n    max-volumes-per-node: 3\n";
        let config = parse(text, "f").unwrap();
        assert_eq!(parse(&config.to_yaml().unwrap(), "g").unwrap(), config);
        assert_eq!(parse("", "f").unwrap(), Config::default());
    }

    proptest! {
        #[test]
        fn any_text_is_a_configuration_or_an_error(text in any::<String>()) {
            let _ = parse(&text, "f");
        }

        #[test]
        fn any_value_is_accepted_or_refused(key in "[a-z-]{1,20}", value in "[ -~]{0,30}") {
            let _ = parse(&format!("driver:\n  {key}: {value}\n"), "f");
            let _ = parse(&format!("backends:\n  a:\n    type: local\n    {key}: {value}\n"), "f");
        }
    }
}
