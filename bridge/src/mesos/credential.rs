//! How the bridge proves to Mesos who it is.

use std::path::{Path, PathBuf};

use hawser_volume::{Error, Result};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// Longest credential file, in bytes. A token of DC/OS has about a thousand.
const FILE_MAX: u64 = 64 << 10;

/// Where the credential of the bridge is. The file is read again before each look at Mesos, so that it can be replaced while the
/// bridge runs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Credential {
    /// A file as Mesos' own `--credential` takes it, `{"principal": "…", "secret": "…"}`: HTTP basic authentication.
    Basic(PathBuf),
    /// A file with one token: HTTP bearer authentication, as DC/OS has it.
    Bearer(PathBuf),
}

/// A credential that was read.
#[derive(Debug)]
pub(crate) enum Secret {
    Basic { principal: String, secret: SecretString },
    Bearer(SecretString),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BasicFile {
    principal: String,
    #[serde(default)]
    secret: String,
}

impl Credential {
    pub(crate) async fn read(&self) -> Result<Secret> {
        match self {
            Credential::Basic(path) => {
                let text = contents(path).await?;
                // What serde says may repeat the text; it is left out on purpose.
                let BasicFile { principal, secret } = serde_json::from_str(text.expose_secret()).map_err(|_| {
                    Error::invalid(format!(
                        "credential file {} must be {{\"principal\": \"…\", \"secret\": \"…\"}} and nothing else",
                        path.display()
                    ))
                })?;
                Ok(Secret::Basic { principal, secret: secret.into() })
            }
            Credential::Bearer(path) => {
                let text = contents(path).await?;
                let token = text.expose_secret().trim();
                if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
                    return Err(Error::invalid(format!("token file {} must hold one token and nothing else", path.display())));
                }
                Ok(Secret::Bearer(token.into()))
            }
        }
    }
}

async fn contents(path: &Path) -> Result<SecretString> {
    let failed = |error: std::io::Error| Error::unavailable(format!("read credential file {}", path.display())).caused_by(error);
    let length = tokio::fs::metadata(path).await.map_err(failed)?.len();
    if length > FILE_MAX {
        return Err(Error::invalid(format!("credential file {} has more than {FILE_MAX} bytes", path.display())));
    }
    Ok(tokio::fs::read_to_string(path).await.map_err(failed)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_credential_is_read_and_never_told() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("credential");
        std::fs::write(&file, r#"{"principal":"hawser","secret":"hunter2"}"#).unwrap();
        let secret = Credential::Basic(file.clone()).read().await.unwrap();
        assert!(matches!(&secret, Secret::Basic { principal, .. } if principal == "hawser"));
        assert!(!format!("{secret:?}").contains("hunter2"));
        std::fs::write(&file, r#"{"principal":"hawser","secret":"hunter2"#).unwrap();
        let error = Credential::Basic(file.clone()).read().await.unwrap_err();
        assert!(!error.chain().contains("hunter2"), "{}", error.chain());
        std::fs::write(&file, "hunter2\n").unwrap();
        assert!(
            matches!(Credential::Bearer(file.clone()).read().await.unwrap(), Secret::Bearer(t) if t.expose_secret() == "hunter2")
        );
        std::fs::write(&file, "hunter2 hunter3").unwrap();
        let error = Credential::Bearer(file.clone()).read().await.unwrap_err();
        assert!(!error.chain().contains("hunter"), "{}", error.chain());
        std::fs::write(&file, vec![b'a'; 100_000]).unwrap();
        assert!(Credential::Bearer(file).read().await.is_err());
        assert!(Credential::Bearer(place.path().join("none")).read().await.unwrap_err().chain().contains("No such file"));
    }
}
