//! Why a gateway does not let its user in: one step after another, as far as they lead.

use std::time::{Duration, SystemTime};

use hawser_volume::checkup::{self, Check, Finding};
use hawser_volume::{Deadline, Error};
use reqwest::Url;
use reqwest::header::DATE;
use reqwest::tls::TlsInfo;
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;

use crate::client::Gateways;
use crate::config::{SystemConfig, Trust};
use crate::refusal::{Class, Refusal};
use crate::tls;

/// How long a name, or a connection, may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How long a login may take.
const LOGIN_MAX: Duration = Duration::from_secs(30);

/// Looks at each gateway of a system by itself: its name, its port, its certificate, the login. The password goes only to a gateway whose
/// certificate is believed. Also says whether one of them let the user in.
pub async fn gateways(config: &SystemConfig, patience: Duration) -> (Vec<Check>, bool) {
    let (mut checks, mut is_in) = (Vec::new(), false);
    let (trust, addresses) = match (config.trust(), config.addresses()) {
        (Ok(trust), Ok(addresses)) => (trust, addresses),
        (Err(error), _) | (_, Err(error)) => {
            return (vec![Check::wrong("the configuration", error.chain(), "correct it: `hawser config check`")], false);
        }
    };
    let password = config.password();
    checks.push(match &password {
        Ok(_) => Check::well("the password", format!("is in {}", config.password_file.display())),
        Err(error) => Check::wrong("the password", error.chain(), "write it there, and let the driver's user read it"),
    });
    for address in addresses {
        let (found, is_believed) = reached(&address, &trust).await;
        checks.extend(found);
        if is_believed && password.is_ok() {
            let login = login(config, &address, patience).await;
            is_in |= !login.is_wrong();
            checks.push(login);
        }
    }
    (checks, is_in)
}

/// Whether something is there that is believed to be a gateway.
async fn reached(address: &Url, trust: &Trust) -> (Vec<Check>, bool) {
    let (host, port) = (address.host_str().unwrap_or_default(), address.port_or_known_default().unwrap_or(443));
    let gateway = format!("gateway {host}:{port}");
    // An IPv6 address is in brackets in a URL only.
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let mut checks = Vec::new();
    let found = match tokio::time::timeout(CONNECT_MAX, tokio::net::lookup_host((bare, port))).await {
        Ok(Ok(found)) => found.collect::<Vec<_>>(),
        Ok(Err(error)) => {
            checks.push(Check::wrong(
                gateway,
                format!("its name leads nowhere: {error}"),
                "correct `gateways`, or the name service",
            ));
            return (checks, false);
        }
        Err(_) => {
            checks.push(Check::wrong(gateway, "the name service does not answer", "see /etc/resolv.conf of this machine"));
            return (checks, false);
        }
    };
    let mut refused = "its name has no address".to_owned();
    let mut open = None;
    for socket in &found {
        match tokio::time::timeout(CONNECT_MAX, TcpStream::connect(socket)).await {
            Ok(Ok(_)) => {
                open = Some(socket);
                break;
            }
            Ok(Err(error)) => refused = format!("{socket}: {error}"),
            Err(_) => refused = format!("{socket} does not answer within {} s", CONNECT_MAX.as_secs()),
        }
    }
    let Some(socket) = open else {
        let mend =
            "correct the address and port in `gateways` (443 unless it is told), or start the gateway, or open the firewall";
        checks.push(Check::wrong(gateway, refused, mend));
        return (checks, false);
    };
    checks.push(Check::well(gateway.clone(), format!("accepts connections at {socket}")));
    let (certificate, date) = match certificate(address).await {
        Ok(found) => found,
        Err(error) => {
            let mend = "correct the port in `gateways`: what listens there is no web server with TLS";
            checks.push(Check::wrong(gateway, error.chain(), mend));
            return (checks, false);
        }
    };
    let believed = match tls::client(trust, false) {
        Ok(client) => client.get(address.clone()).timeout(CONNECT_MAX).send().await.map(drop).map_err(unanswered),
        Err(error) => Err(error),
    };
    let is_believed = believed.is_ok();
    checks.push(match believed {
        Err(error) => {
            Check::wrong(gateway, format!("its certificate is not believed: {}", error.chain()), mending(trust, &certificate))
        }
        Ok(()) if *trust == Trust::Anyone => Check::doubtful(
            gateway,
            "anybody who answers there gets the password (`insecure`)",
            format!("compare {certificate} with the certificate on the gateway, and write it to `certificate-sha256` instead"),
        ),
        Ok(()) => Check::well(gateway, format!("its certificate is believed (SHA-256 {certificate})")),
    });
    // Nothing is signed with the time here, but certificates and tokens run out by it.
    let clock = checkup::clock(&format!("{host}:{port}"), date.as_deref(), SystemTime::now());
    checks.extend(clock.filter(|clock| !matches!(clock.finding, Finding::Well { .. })));
    (checks, is_believed)
}

/// The SHA-256 of the certificate of whoever is there, and the time as they have it. Nothing secret is sent.
async fn certificate(address: &Url) -> Result<(String, Option<String>), Error> {
    let client = tls::client(&Trust::Anyone, true)?;
    let answer = client.get(address.clone()).timeout(CONNECT_MAX).send().await.map_err(unanswered)?;
    let certificate = answer.extensions().get::<TlsInfo>().and_then(TlsInfo::peer_certificate);
    let certificate = certificate.ok_or_else(|| Error::unavailable("it shows no certificate"))?;
    let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok()).map(str::to_owned);
    Ok((Sha256::digest(certificate).iter().map(|byte| format!("{byte:02x}")).collect(), date))
}

fn unanswered(error: reqwest::Error) -> Error {
    Error::unavailable("ask it for its first page").caused_by(error.without_url())
}

fn mending(trust: &Trust, certificate: &str) -> String {
    match trust {
        Trust::System => format!(
            "write the certificate of its authority to a file and name it in `ca-file`; or compare {certificate} with the SHA-256 of the \
             certificate on the gateway itself, and write it to `certificate-sha256`"
        ),
        Trust::Authorities(path) => format!(
            "{} must have the authority that signed it, and the address in `gateways` must be a name in it; or use `certificate-sha256` \
             with {certificate}, after it was compared with the certificate on the gateway itself",
            path.display()
        ),
        Trust::Pinned(_) => format!(
            "it was renewed, or somebody else answers: compare {certificate} with the certificate on the gateway itself before you write \
             it to `certificate-sha256`"
        ),
        Trust::Anyone => "give it a certificate".to_owned(),
    }
}

async fn login(config: &SystemConfig, address: &Url, patience: Duration) -> Check {
    let step = format!("login at {}", address.as_str().trim_end_matches('/'));
    let alone = SystemConfig { gateways: vec![address.to_string()], ..config.clone() };
    let gateways = match Gateways::new(&alone, patience) {
        Ok(gateways) => gateways,
        Err(error) => return Check::wrong(step, error.chain(), "correct the configuration"),
    };
    match gateways.version(Deadline::after(LOGIN_MAX)).await {
        Ok(version) => Check::well(step, format!("as {}; its API is of version {version}", config.user)),
        Err(refusal) => Check::wrong(step, refusal.to_string(), remedy(&refusal, config)),
    }
}

fn remedy(refusal: &Refusal, config: &SystemConfig) -> String {
    match refusal.class() {
        Class::Unauthenticated => format!(
            "`user` {:?} and the password in {} must be those of an account of the gateway, which locks one that is wrong too often",
            config.user,
            config.password_file.display()
        ),
        Class::Denied => format!("give user {:?} a role that may create volumes and map them", config.user),
        _ => "see whether this is the gateway of the system (its REST API), and its log".to_owned(),
    }
}
