//! Which SDC a node is.

use std::path::{Path, PathBuf};

use hawser_volume::error::shown;
use hawser_volume::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::sdc::is_guid;

/// What is known of the SDC of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ScaleIoNodeConfig {
    /// The GUID of the SDC. Default: what `guid-file` says, else what the driver says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guid: Option<String>,
    /// A file with the GUID, as the SDC keeps it (`/etc/emc/scaleio/ini_guid`, or a line `ini_guid` of `drv_cfg.txt`), for a plugin that is
    /// started before the driver. Default: the driver is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guid_file: Option<PathBuf>,
    /// The program that tells which volume a disk is. Default: `/opt/emc/scaleio/sdc/bin/drv_cfg`, else `/bin/emc/scaleio/drv_cfg`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drv_cfg: Option<PathBuf>,
}

impl ScaleIoNodeConfig {
    pub(crate) fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        if let Some(guid) = self.guid.as_ref().filter(|guid| !is_guid(guid)) {
            mistakes.push(format!("guid: {} is not the GUID of an SDC", shown(guid)));
        }
        if self.guid.is_some() && self.guid_file.is_some() {
            mistakes.push("guid and guid-file exclude each other".to_owned());
        }
        for (key, path) in [("guid-file", &self.guid_file), ("drv-cfg", &self.drv_cfg)] {
            if let Some(path) = path.as_ref().filter(|path| !path.is_absolute()) {
                mistakes.push(format!("{key}: {path:?} must be an absolute path"));
            }
        }
        mistakes
    }

    /// The GUID as it is configured, in capitals; nothing when the driver is to be asked. `Invalid` when the file has none.
    pub fn guid(&self) -> Result<Option<String>> {
        let guid = match (&self.guid, &self.guid_file) {
            (Some(guid), _) => Some(guid.clone()),
            (None, Some(path)) => Some(read(path)?),
            (None, None) => None,
        };
        Ok(guid.map(|guid| guid.to_ascii_uppercase()))
    }
}

fn read(path: &Path) -> Result<String> {
    let wrong = || Error::invalid(format!("node.guid-file: {} must be a file with the GUID of the SDC", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong().caused_by(error))?;
    guid_in(&text).map(str::to_owned).ok_or_else(wrong)
}

/// The first line that is a GUID, or says so.
fn guid_in(text: &str) -> Option<&str> {
    text.lines().map(|line| line.trim().trim_start_matches("ini_guid").trim_start()).find(|word| is_guid(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUID: &str = "9E56672F-2F4B-4A42-BFF4-88B6846FBFDA";

    #[test]
    fn a_file_of_either_form_is_read() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("guid");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            ScaleIoNodeConfig { guid_file: Some(path.clone()), ..ScaleIoNodeConfig::default() }.guid()
        };
        for text in [format!("{}\n", GUID.to_lowercase()), format!("mdm 10.0.0.1,10.0.0.2\nini_guid {GUID}\n")] {
            assert_eq!(read(&text).unwrap().as_deref(), Some(GUID), "{text}");
        }
        for text in ["", "mdm 10.0.0.1", "ini_guid", "ini_guid x"] {
            assert!(read(text).unwrap_err().to_string().contains("node.guid-file"), "{text}");
        }
    }

    #[test]
    fn what_is_configured_goes_first() {
        let config = ScaleIoNodeConfig { guid: Some(GUID.to_lowercase()), ..ScaleIoNodeConfig::default() };
        assert_eq!(config.guid().unwrap().as_deref(), Some(GUID));
        assert_eq!(ScaleIoNodeConfig::default().guid().unwrap(), None);
        assert!(config.mistakes().is_empty());
    }
}
