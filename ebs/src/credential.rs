//! What requests are signed with, and where it comes from.
//!
//! The sources are asked in the order of AWS' own SDKs: environment, web identity (IRSA), profile, process, container (ECS, EKS
//! Pod Identity), instance. The first that is set up decides. One that is set up and fails is an error: what comes after it would
//! be another identity, with other rights. For the same reason the search ends at a profile that is named, here or by
//! `AWS_PROFILE`.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hawser_volume::{Error, Kind, Result};
use reqsign_aws_v4::{
    AssumeRoleWithWebIdentityCredentialProvider, Credential, ECSCredentialProvider, EnvCredentialProvider,
    IMDSv2CredentialProvider, ProcessCredentialProvider, ProfileCredentialProvider, RequestSigner,
};
use reqsign_core::{Context, Env, FileRead, HttpSend, ProvideCredential, ProvideCredentialDyn, Signer};

use crate::endpoint::Region;
use crate::wire::Ways;

/// How long one question to a source of credentials may take. Where there is no instance metadata, its address is silent.
const ASK_MAX: Duration = Duration::from_secs(5);

/// Largest answer of a source, in bytes.
const ANSWER_MAX: usize = 1 << 20;

/// The service that a signature is for.
const SERVICE: &str = "ec2";

type Source = Box<dyn ProvideCredentialDyn<Credential = Credential>>;

/// Signs requests, and gets new credentials in time. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Credentials {
    signer: Arc<Signer<Credential>>,
    used: Used,
}

/// The source that the credentials came from last.
type Used = Arc<Mutex<Option<&'static str>>>;

impl Credentials {
    /// Credentials from the sources that `env` sets up, for requests to `region`; `profile` before `AWS_PROFILE`.
    pub(crate) fn new(region: &Region, profile: Option<&str>, env: impl Env, ways: Ways) -> Self {
        let named = env.var("AWS_PROFILE").is_some_and(|name| !name.is_empty());
        let context =
            Context::new().with_file_read(Files).with_http_send(Sender(ways)).with_env(env).with_command_execute(Commands);
        let profiles = ProfileCredentialProvider::new();
        let processes = ProcessCredentialProvider::new();
        let (profiles, processes) = match profile {
            Some(profile) => (profiles.with_profile(profile), processes.with_profile(profile)),
            None => (profiles, processes),
        };
        // Named outright, a profile is meant even where the environment has something else.
        let mut chain: Vec<(&'static str, Source)> =
            vec![("profile", Box::new(profiles)), ("process of the profile", Box::new(processes))];
        let around: [(&'static str, Source); 4] = [
            ("environment", Box::new(EnvCredentialProvider::new())),
            ("web identity", Box::new(AssumeRoleWithWebIdentityCredentialProvider::new())),
            ("container", Box::new(ECSCredentialProvider::new())),
            ("instance metadata", Box::new(IMDSv2CredentialProvider::new())),
        ];
        if profile.is_none() {
            let [environment, web, container, instance] = around;
            chain.splice(0..0, [environment, web]);
            if !named {
                chain.extend([container, instance]);
            }
        }
        let used = Used::default();
        let chain = Chain { sources: chain, used: Arc::clone(&used) };
        Self { signer: Arc::new(Signer::new(context, chain, RequestSigner::new(SERVICE, region.as_str()))), used }
    }

    /// Where the credentials came from that something was signed with last.
    pub(crate) fn source(&self) -> Option<&'static str> {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the signature to the head of a request whose body has the digest that the header `x-amz-content-sha256` says.
    /// `Unauthenticated` when there are no credentials, `Unavailable` when their source cannot be asked at the moment.
    pub(crate) async fn sign(&self, head: &mut http::request::Parts) -> Result<()> {
        self.signer.sign(head, None).await.map_err(|error| {
            let kind = if error.is_retryable() { Kind::Unavailable } else { Kind::Unauthenticated };
            Error::new(kind, "sign the request").caused_by(Told(error))
        })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// An error of the signer, as one sentence.
#[derive(Debug)]
struct Told(reqsign_core::Error);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl std::error::Error for Told {}

/// An error with its causes: which file, which address.
fn with_causes(error: &reqsign_core::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The first source that is set up.
struct Chain {
    sources: Vec<(&'static str, Source)>,
    used: Used,
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.sources.iter().map(|(name, _)| name)).finish()
    }
}

impl ProvideCredential for Chain {
    type Credential = Credential;

    async fn provide_credential(&self, context: &Context) -> reqsign_core::Result<Option<Credential>> {
        for (name, source) in &self.sources {
            match source.provide_credential_dyn(context).await {
                Ok(Some(credential)) => {
                    tracing::debug!(source = name, "credentials for EC2");
                    *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Some(name);
                    return Ok(Some(credential));
                }
                Ok(None) => {}
                Err(error) => {
                    let retryable = error.is_retryable();
                    let told =
                        reqsign_core::Error::new(error.kind(), format!("credentials from {name}: {}", with_causes(&error)));
                    return Err(told.set_retryable(retryable));
                }
            }
        }
        let asked: Vec<&str> = self.sources.iter().map(|(name, _)| *name).collect();
        Err(reqsign_core::Error::credential_invalid(format!("there are no credentials; looked at {}", asked.join(", "))))
    }
}

/// Files of profiles and tokens.
#[derive(Debug)]
struct Files;

impl FileRead for Files {
    async fn file_read(&self, path: &str) -> reqsign_core::Result<Vec<u8>> {
        let path = PathBuf::from(path);
        tokio::fs::read(&path)
            .await
            .map_err(|error| reqsign_core::Error::config_invalid(format!("read {}", path.display())).with_source(error))
    }
}

/// The program that a profile names (`credential_process`).
#[derive(Debug)]
struct Commands;

impl reqsign_core::CommandExecute for Commands {
    async fn command_execute(&self, program: &str, args: &[&str]) -> reqsign_core::Result<reqsign_core::CommandOutput> {
        let failed = |what: &str| reqsign_core::Error::unexpected(format!("{what} {program}")).set_retryable(true);
        let child =
            tokio::process::Command::new(program).args(args).kill_on_drop(true).stdin(std::process::Stdio::null()).output();
        let output = match tokio::time::timeout(ASK_MAX * 4, child).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => return Err(failed("run").with_source(error)),
            Err(_) => return Err(failed("wait for")),
        };
        let status = output.status.code().unwrap_or(-1);
        Ok(reqsign_core::CommandOutput { status, stdout: output.stdout, stderr: output.stderr })
    }
}

/// Questions to STS, to containers' and instances' metadata.
#[derive(Debug)]
struct Sender(Ways);

impl HttpSend for Sender {
    async fn http_send(&self, request: http::Request<Bytes>) -> reqsign_core::Result<http::Response<Bytes>> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        // The address may carry a token.
        let failed = |error: reqwest::Error| {
            reqsign_core::Error::unexpected(format!("ask {host}")).with_source(error.without_url()).set_retryable(true)
        };
        let request = reqwest::Request::try_from(request).map_err(failed)?;
        let exchange = async {
            let mut response = self.0.to(request.url().scheme()).execute(request).await.map_err(failed)?;
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(failed)? {
                if body.len() + chunk.len() > ANSWER_MAX {
                    return Err(reqsign_core::Error::unexpected(format!("{host} answers with more than {ANSWER_MAX} bytes")));
                }
                body.extend_from_slice(&chunk);
            }
            let mut answer = http::Response::new(Bytes::from(body));
            *answer.status_mut() = response.status();
            *answer.headers_mut() = response.headers().clone();
            Ok(answer)
        };
        match tokio::time::timeout(ASK_MAX, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(reqsign_core::Error::unexpected(format!("{host} is silent")).set_retryable(true)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use axum::Router;
    use axum::routing::{get, put};
    use reqsign_core::StaticEnv;

    use super::*;

    fn env(pairs: &[(&str, &str)]) -> StaticEnv {
        StaticEnv {
            home_dir: None,
            envs: pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<HashMap<_, _>>(),
        }
    }

    async fn signed(profile: Option<&str>, env: StaticEnv) -> Result<String> {
        let region = "eu-central-1".parse().unwrap();
        let credentials = Credentials::new(&region, profile, env, Ways::new(None).unwrap());
        let (mut head, ()) = http::Request::post("https://ec2.eu-central-1.amazonaws.com/")
            .header("x-amz-content-sha256", "00")
            .body(())
            .unwrap()
            .into_parts();
        credentials.sign(&mut head).await?;
        Ok(head.headers["authorization"].to_str().unwrap().to_owned())
    }

    async fn serve(router: Router) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    #[tokio::test]
    async fn the_environment_comes_first() {
        let env = env(&[("AWS_ACCESS_KEY_ID", "AKIDE"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_EC2_METADATA_DISABLED", "true")]);
        let header = signed(None, env).await.unwrap();
        assert!(
            header.starts_with("AWS4-HMAC-SHA256 Credential=AKIDE/") && header.contains("/eu-central-1/ec2/aws4_request"),
            "{header}"
        );
    }

    #[tokio::test]
    async fn a_profile_that_is_named_is_meant() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("credentials");
        std::fs::write(&file, "[other]\naws_access_key_id = AKIDP\naws_secret_access_key = s\n").unwrap();
        let pairs = [
            ("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap()),
            ("AWS_ACCESS_KEY_ID", "AKIDE"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
        ];
        assert!(signed(Some("other"), env(&pairs)).await.unwrap().contains("=AKIDP/"));
        assert_eq!(signed(Some("none"), env(&pairs)).await.unwrap_err().kind(), Kind::Unauthenticated);
    }

    #[tokio::test]
    async fn instance_metadata_is_asked_with_a_token() {
        let router = Router::new()
            .route("/latest/api/token", put(|| async { "t0ken" }))
            .route("/latest/meta-data/iam/security-credentials/", get(role))
            .route("/latest/meta-data/iam/security-credentials/r", get(keys));
        async fn role(headers: http::HeaderMap) -> (http::StatusCode, &'static str) {
            match headers.get("x-aws-ec2-metadata-token").map(|value| value.as_bytes()) {
                Some(b"t0ken") => (http::StatusCode::OK, "r"),
                _ => (http::StatusCode::UNAUTHORIZED, ""),
            }
        }
        async fn keys() -> &'static str {
            r#"{"Code":"Success","AccessKeyId":"AKIDI","SecretAccessKey":"s","Token":"t","Expiration":"2999-01-01T00:00:00Z"}"#
        }
        let address = serve(router).await;
        assert!(signed(None, env(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &address)])).await.unwrap().contains("=AKIDI/"));
    }

    /// The instance's own role must not step in for a web identity that cannot be had at the moment.
    #[tokio::test]
    async fn a_source_that_fails_ends_the_search() {
        let asked = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let note = Arc::clone(&asked);
        let instance = put(move || async move {
            note.store(true, std::sync::atomic::Ordering::SeqCst);
            "t0ken"
        });
        let address = serve(Router::new().route("/latest/api/token", instance)).await;
        let pairs = [
            ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/nonexistent/token"),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &address),
        ];
        let error = signed(None, env(&pairs)).await.unwrap_err().chain();
        assert!(error.contains("credentials from web identity") && error.contains("/nonexistent/token"), "{error}");
        assert!(!asked.load(std::sync::atomic::Ordering::SeqCst));
    }

    /// One that says `role_arn`, which is not understood, or is misspelt, must not end in the rights of the machine.
    #[tokio::test]
    async fn a_profile_that_has_nothing_ends_the_search() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("config");
        std::fs::write(&file, "[profile other]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = default\n").unwrap();
        let pairs = [("AWS_CONFIG_FILE", file.to_str().unwrap()), ("AWS_PROFILE", "other")];
        let error = signed(None, env(&pairs)).await.unwrap_err().chain();
        assert!(error.contains("profile") && !error.contains("instance metadata"), "{error}");
    }

    #[tokio::test]
    async fn none_at_all_names_where_it_was_looked() {
        let error = signed(None, env(&[("AWS_EC2_METADATA_DISABLED", "true")])).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unauthenticated);
        assert!(error.chain().contains("environment, web identity, profile"), "{}", error.chain());
    }
}
