//! The environment variables of mesos-module-dvdi: `DVDI_VOLUME_NAME`, `…_DRIVER`, `…_OPTS`, `…_CONTAINERPATH`, and a digit behind
//! each for up to ten volumes (`docker_volume_driver_isolator.cpp`, prepare and parseEnvVar).

use std::collections::BTreeMap;

use hawser_volume::AccessMode;
use hawser_volume::error::shown;

use super::Reading;
use super::draft::{Draft, container_path, driver_name};
use super::nearest::nearest;
use super::options::{Carrier, Entry, VolumeOptions};
use crate::claim::VolumeClaim;
use crate::declaration::Form;
use crate::finding::{Findings, Place};
use crate::policy::Create;

/// What all of them begin with.
const PREFIX: &str = "DVDI_VOLUME_";

/// The driver of a volume that names none.
const DRIVER_DEFAULT: &str = "rexray";

/// What the module allows in no value but that of a path, since it hands them to a shell (`prohibitedchars`).
const PROHIBITED: &str = "%/:;\0<>|`$'?^& {\"}[]\n\t\u{b}\u{8}\r\\";

/// A variable.
#[derive(Debug, Clone)]
pub(super) struct Variable {
    pub name: String,
    /// Nothing for one whose value is a secret.
    pub value: Option<String>,
    pub place: Place,
}

/// What a variable says of its volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    Name,
    Driver,
    Options,
    ContainerPath,
    Dvdcli,
    ExplicitCreate,
}

const FIELDS: [(&str, Field); 6] = [
    ("NAME", Field::Name),
    ("DRIVER", Field::Driver),
    ("OPTS", Field::Options),
    ("CONTAINERPATH", Field::ContainerPath),
    ("DVDCLI", Field::Dvdcli),
    ("EXPLICITCREATE", Field::ExplicitCreate),
];

/// A value with its place.
type Said = (String, Place);

/// Everything that is said, by the number of the volume.
type Volumes = BTreeMap<u8, BTreeMap<Field, Said>>;

/// Reads the variables of one command; all others are left aside. Gives the claims to `reading`.
pub(super) fn read(variables: impl IntoIterator<Item = Variable>, reading: &mut Reading) {
    let mut volumes = Volumes::new();
    for variable in variables {
        take(variable, &mut volumes, &mut reading.findings);
    }
    mend_elasticsearch(&mut volumes, &mut reading.findings);
    let mut seen: BTreeMap<(String, String), Place> = BTreeMap::new();
    for (number, said) in volumes {
        if !said.contains_key(&Field::Name) {
            for (field, (_, place)) in &said {
                let name = FIELDS.iter().find(|(_, known)| known == field).map_or("", |(name, _)| *name);
                reading
                    .findings
                    .warn(place, format!("has no effect: there is no {PREFIX}NAME{} beside {PREFIX}{name}", digit(number)));
            }
            continue;
        }
        reading.claim(|findings| {
            let claim = volume(said, findings)?;
            // The module compares without regard to case (getExternalMountId).
            let key = (claim.declared.driver.clone()?.to_lowercase(), claim.named()?.name.as_str().to_lowercase());
            let place = claim.declared.place.clone();
            if let Some(first) = seen.get(&key) {
                findings.mistake(&place, format!("is the volume of {}; name each once", first.path));
                return None;
            }
            seen.insert(key, place);
            Some(claim)
        });
    }
}

fn digit(number: u8) -> String {
    if number == 0 { String::new() } else { number.to_string() }
}

fn take(variable: Variable, volumes: &mut Volumes, findings: &mut Findings) {
    let Some(rest) = variable.name.strip_prefix(PREFIX) else { return };
    let place = &variable.place;
    let Some((suffix, field)) = FIELDS.iter().find_map(|(name, field)| Some((rest.strip_prefix(name)?, *field))) else {
        let word = rest.trim_end_matches(|c: char| c.is_ascii_digit());
        let hint = nearest(word, FIELDS.map(|(name, _)| name)).map(|near| format!("; did you mean {PREFIX}{near}?"));
        findings.warn(place, format!("is no variable of mesos-module-dvdi, so it has no effect{}", hint.unwrap_or_default()));
        return;
    };
    let number = match suffix.as_bytes() {
        [] => 0,
        [digit @ b'0'..=b'9'] => digit - b'0',
        _ => {
            findings.mistake(place, "may have one digit behind it and nothing else; mesos-module-dvdi refuses the task");
            return;
        }
    };
    let Some(value) = variable.value else {
        findings.mistake(place, "is a secret; volumes cannot be named by secrets");
        return;
    };
    let is_path = matches!(field, Field::ContainerPath | Field::Dvdcli);
    if let Some(bad) = value.chars().find(|c| PROHIBITED.contains(*c)).filter(|_| !is_path) {
        findings.mistake(place, format!("has {bad:?}, which mesos-module-dvdi refuses in names, drivers and options"));
        return;
    }
    let said = volumes.entry(number).or_default();
    if let Some((other, first)) = said.get(&field) {
        // DVDI_VOLUME_NAME and DVDI_VOLUME_NAME0 are the same.
        if *other != value {
            findings.mistake(place, format!("says other than {}, for the same volume", first.path));
        }
        return;
    }
    // To the module an empty value is as good as none.
    if !value.is_empty() {
        said.insert(field, (value, variable.place));
    }
}

/// mesos/elasticsearch writes `DVDI_VOLUME_NAME1`, `…DRIVER1` and `…OPTS1`, but `DVDI_VOLUME_CONTAINERPATH` without the 1
/// (ExecutorEnvironmentalVariables.java), so the module mounts volume 1 and applies the path to a volume 0 that there is not. A
/// path that nobody claims, beside one volume that has none, is that volume's.
fn mend_elasticsearch(volumes: &mut Volumes, findings: &mut Findings) {
    let lone_path = volumes.get(&0).is_some_and(|said| said.keys().eq([&Field::ContainerPath]));
    let named: Vec<u8> = volumes.iter().filter(|(_, said)| said.contains_key(&Field::Name)).map(|(number, _)| *number).collect();
    let [number] = named.as_slice() else { return };
    if !lone_path || volumes.get(number).is_none_or(|said| said.contains_key(&Field::ContainerPath)) {
        return;
    }
    let Some((path, place)) = volumes.remove(&0).and_then(|mut said| said.remove(&Field::ContainerPath)) else { return };
    findings.warn(
        &place,
        format!("has no digit, and the only volume is number {number}; it is taken as {PREFIX}CONTAINERPATH{number}, which mesos-module-dvdi does not do"),
    );
    volumes.entry(*number).or_default().insert(Field::ContainerPath, (path, place));
}

fn volume(mut said: BTreeMap<Field, Said>, findings: &mut Findings) -> Option<VolumeClaim> {
    let (name, place) = said.remove(&Field::Name)?;
    let mut draft = Draft::new(Form::DvdiEnvironment, place.clone());
    draft.driver = match said.remove(&Field::Driver) {
        Some((driver, place)) => driver_name(driver, &place, findings),
        None => Some(DRIVER_DEFAULT.to_owned()),
    };
    if let Some((path, place)) = said.remove(&Field::ContainerPath) {
        check_container_path(&path, &place, findings);
        draft.container_path = container_path(path, &place, findings);
    }
    if let Some((_, place)) = said.get(&Field::Dvdcli) {
        findings.warn(place, "names the program that mesos-module-dvdi runs; Hawser's is `hawser dvdcli`");
    }
    let entries = said.remove(&Field::Options).map(|said| options(said, findings)).unwrap_or_default();
    let mut options = VolumeOptions::read(&entries, Carrier::DockerDriver, findings);
    if let Some((explicit, place)) = said.remove(&Field::ExplicitCreate)
        && explicit.trim().eq_ignore_ascii_case("true")
    {
        if options.create == Some(Create::IfAbsent) {
            findings.mistake(&place, "is true, so the volume must exist, and the options say create=if-absent");
        }
        options.create = Some(Create::Never);
    }
    draft.named((&name, &place), options, AccessMode::SingleNodeWriter, findings)
}

/// `k=v,k=v`; empty parts are skipped, as the module does (formatOptions).
fn options((text, place): Said, findings: &mut Findings) -> Vec<Entry> {
    let mut entries = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            Some((key, value)) => entries.push(Entry { key: key.to_owned(), value: value.to_owned(), place: place.clone() }),
            None => findings
                .mistake(&place, format!("{} is no option; write key=value, with commas between options only", shown(part))),
        }
    }
    entries
}

fn check_container_path(path: &str, place: &Place, findings: &mut Findings) {
    if !path.starts_with('/') {
        findings.mistake(place, "must be an absolute path; mesos-module-dvdi refuses the task");
    } else if !path.starts_with("/tmp/") {
        findings.warn(place, "must exist on every agent: mesos-module-dvdi makes directories below /tmp/ only");
    }
}

#[cfg(test)]
mod tests {
    use hawser_volume::{Bytes, Filesystem};
    use proptest::prelude::*;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Reading {
        let variables = variables.iter().map(|(name, value)| Variable {
            name: (*name).to_owned(),
            value: Some((*value).to_owned()),
            place: Place::named("env").member(name),
        });
        let mut reading = Reading::default();
        super::read(variables, &mut reading);
        reading
    }

    #[test]
    fn the_example_of_the_module_is_read() {
        let reading = read(&[
            ("PATH", "/bin"),
            ("DVDI_VOLUME_NAME", "testing"),
            ("DVDI_VOLUME_DRIVER", "platform1"),
            ("DVDI_VOLUME_OPTS", "size=5,iops=150,volumetype=io1,newfstype=ext4,overwritefs=false"),
            ("DVDI_VOLUME_CONTAINERPATH", "/tmp/ebs-auto"),
            ("DVDI_VOLUME_NAME1", "testing2"),
            ("DVDI_VOLUME_OPTS1", ",size=6,,newfstype=xfs"),
            ("DVDI_VOLUME_EXPLICITCREATE1", "False"),
        ]);
        assert_eq!(reading.findings, Findings::default());
        let [first, second] = reading.claims.as_slice() else { panic!("{reading:?}") };
        let said = |claim: &VolumeClaim| {
            let named = claim.named().unwrap();
            (
                named.name.as_str().to_owned(),
                claim.declared.driver.clone().unwrap(),
                named.size,
                claim.access.mount().unwrap().filesystem,
            )
        };
        assert_eq!(said(first), ("testing".into(), "platform1".into(), Some(Bytes::gib(5)), Some(Filesystem::Ext4)));
        assert_eq!(said(second), ("testing2".into(), "rexray".into(), Some(Bytes::gib(6)), Some(Filesystem::Xfs)));
        assert_eq!(first.declared.container_path.as_deref(), Some("/tmp/ebs-auto"));
    }

    #[test]
    fn the_slip_of_mesos_elasticsearch_is_understood_and_told() {
        let written = [
            ("ELASTICSEARCH_NODE_ID", "2"),
            ("DVDI_VOLUME_DRIVER1", "rexray"),
            ("DVDI_VOLUME_NAME1", "elasticsearch2data"),
            ("DVDI_VOLUME_OPTS1", "size=10"),
            ("DVDI_VOLUME_CONTAINERPATH", "/tmp/data"),
        ];
        let reading = read(&written);
        assert_eq!(reading.findings.mistakes, []);
        assert!(reading.findings.warnings[0].text.contains("CONTAINERPATH1"), "{:?}", reading.findings);
        assert_eq!(reading.claims[0].declared.container_path.as_deref(), Some("/tmp/data"));
        // With a second volume nobody can say whose path it is.
        let reading = read(&[&written[..], &[("DVDI_VOLUME_NAME2", "x"), ("DVDI_VOLUME_OPTS2", "size=1")]].concat());
        assert!(reading.findings.warnings[0].text.contains("no effect"), "{:?}", reading.findings);
        assert!(reading.claims.iter().all(|claim| claim.declared.container_path.is_none()));
        // A path of its own is kept.
        let reading = read(&[&written[..], &[("DVDI_VOLUME_CONTAINERPATH1", "/tmp/own")]].concat());
        assert_eq!(reading.claims[0].declared.container_path.as_deref(), Some("/tmp/own"));
    }

    #[test]
    fn explicit_creation_means_that_somebody_else_makes_it() {
        let reading = read(&[("DVDI_VOLUME_NAME", "v"), ("DVDI_VOLUME_EXPLICITCREATE", "TRUE")]);
        assert_eq!(reading.findings, Findings::default());
        assert_eq!(reading.claims[0].named().unwrap().create, Create::Never);
    }

    #[test]
    fn what_the_module_refuses_is_a_mistake() {
        for (name, value, said) in [
            ("DVDI_VOLUME_NAME10", "v", "one digit behind it"),
            ("DVDI_VOLUME_NAMES", "v", "one digit behind it"),
            ("DVDI_VOLUME_OPTSX", "v", "one digit behind it"),
            ("DVDI_VOLUME_NAME", "a b", "' '"),
            ("DVDI_VOLUME_NAME", "{slot}", "'{'"),
            ("DVDI_VOLUME_OPTS", "size=1;rm", "';'"),
            ("DVDI_VOLUME_OPTS", "a\0b", "'\\0'"),
            ("DVDI_VOLUME_OPTS", "size=1,mountFlags=noatime,nodev", "\"nodev\" is no option"),
            ("DVDI_VOLUME_OPTS", "size=0", "no room"),
            ("DVDI_VOLUME_CONTAINERPATH", "data", "absolute"),
            ("DVDI_VOLUME_DRIVER0", "other", "says other than env.DVDI_VOLUME_DRIVER,"),
            ("DVDI_VOLUME_NAME3", "V", "is the volume of env.DVDI_VOLUME_NAME;"),
        ] {
            let mut variables = vec![("DVDI_VOLUME_NAME", "v"), ("DVDI_VOLUME_DRIVER", "rexray")];
            variables.retain(|(known, _)| *known != name);
            variables.push((name, value));
            let reading = read(&variables);
            let mistakes = &reading.findings.mistakes;
            assert!(mistakes.iter().any(|mistake| mistake.text.contains(said)), "{name}={value}: {mistakes:?}");
        }
        let reading = read(&[("DVDI_VOLUME_NAM", "v"), ("DVDI_VOLUME_OPTS4", "size=1")]);
        assert_eq!(reading.findings.mistakes, []);
        assert!(reading.findings.warnings[0].text.contains("did you mean DVDI_VOLUME_NAME?"));
        assert!(reading.findings.warnings[1].text.contains("no DVDI_VOLUME_NAME4"));
    }

    proptest! {
        #[test]
        fn any_environment_is_read_or_told(
            variables in prop::collection::vec(("(DVDI_VOLUME_(NAME|DRIVER|OPTS|CONTAINERPATH|EXPLICITCREATE|DVDCLI|X)[0-9]?)|.*", "([a-z=,0-9/]*)|.*"), 0..12)
        ) {
            let pairs: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let reading = read(&pairs);
            for claim in &reading.claims {
                let named = claim.named().unwrap();
                let said = |(name, value): &(&str, &str)| name.starts_with("DVDI_VOLUME_NAME") && *value == named.name.as_str();
                prop_assert!(pairs.iter().any(said));
                let path = claim.declared.container_path.as_deref();
                prop_assert!(path.is_none_or(|path| pairs.iter().any(|(name, value)| name.contains("CONTAINERPATH") && *value == path)));
            }
            for finding in reading.findings.mistakes.iter().chain(&reading.findings.warnings) {
                prop_assert!(finding.place.path.starts_with("env"), "{}", finding);
            }
        }
    }
}
