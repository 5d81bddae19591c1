//! Where a process listens for HTTP.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, shown};

/// An address to listen at, as people write it: `127.0.0.1:9810`, `[::]:9810`, or `:9810` for every address of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HttpEndpoint {
    /// Nothing for every address of the machine.
    ip: Option<IpAddr>,
    port: u16,
}

impl HttpEndpoint {
    /// The addresses to try, the first that the machine has: one without IPv6 has no `[::]`.
    pub fn addresses(self) -> Vec<SocketAddr> {
        match self.ip {
            Some(ip) => vec![SocketAddr::new(ip, self.port)],
            None => [IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)]
                .map(|ip| SocketAddr::new(ip, self.port))
                .to_vec(),
        }
    }
}

impl FromStr for HttpEndpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::invalid(format!(
                "{} is no address to listen at; write it as in 127.0.0.1:9810, [::]:9810, or :9810 for every address",
                shown(text)
            ))
        };
        if let Some(port) = text.strip_prefix(':') {
            return Ok(Self { ip: None, port: port.parse().map_err(|_| wrong())? });
        }
        let address: SocketAddr = text.parse().map_err(|_| wrong())?;
        Ok(Self { ip: Some(address.ip()), port: address.port() })
    }
}

impl TryFrom<String> for HttpEndpoint {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<HttpEndpoint> for String {
    fn from(endpoint: HttpEndpoint) -> Self {
        endpoint.to_string()
    }
}

impl fmt::Display for HttpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            Some(ip) => SocketAddr::new(ip, self.port).fmt(f),
            None => write!(f, ":{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_people_do() {
        for (text, first) in [("127.0.0.1:9810", "127.0.0.1:9810"), ("[::1]:1", "[::1]:1"), (":9810", "[::]:9810")] {
            let endpoint: HttpEndpoint = text.parse().unwrap();
            assert_eq!((endpoint.to_string(), endpoint.addresses()[0].to_string()), (text.to_owned(), first.to_owned()));
        }
        for text in ["", ":", "9810", "localhost:9810", ":99999", "127.0.0.1", "http://127.0.0.1:1", "::1:80"] {
            let error = text.parse::<HttpEndpoint>().unwrap_err();
            assert!(error.to_string().contains("127.0.0.1:9810"), "{error}");
        }
    }
}
