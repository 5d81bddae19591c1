//! Where a master or an agent answers.

use std::fmt;
use std::str::FromStr;

use hawser_volume::error::shown;
use hawser_volume::{Error, Result};
use reqwest::Url;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

/// The base of an HTTP API, `http(s)://host[:port][/path]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint(Url);

impl Endpoint {
    /// The address of `path`, which begins with a slash, below this base.
    pub fn at(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}{path}", self.path()));
        url
    }

    /// The path of the base without a slash at its end; empty in most cases.
    pub fn path(&self) -> &str {
        self.0.path().trim_end_matches('/')
    }

    /// Whether both are the same scheme, host and port.
    pub fn is_same_server(&self, other: &Endpoint) -> bool {
        let server = |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port_or_known_default());
        server(&self.0) == server(&other.0)
    }

    /// Where a `Location` leads that this endpoint answered: the server alone, for the path is that of the question. Mesos sends
    /// it without a scheme, `//host:port/path` (`Master::Http::redirect`, src/master/http.cpp).
    pub fn redirected(&self, location: &str) -> Result<Endpoint> {
        let wrong = || Error::unavailable(format!("{self} sends us to {}, which is no address", shown(location)));
        let mut url = self.0.join(location).map_err(|_| wrong())?;
        url.set_path("");
        url.set_query(None);
        url.to_string().parse().map_err(|_| wrong())
    }

    /// The agent process `pid`, `slave(1)@10.0.0.7:5051`, as its master names it. `self` lends the scheme, which a pid does not say.
    pub fn of_process(&self, pid: &str) -> Result<Endpoint> {
        let wrong = || Error::unavailable(format!("{self} names the process {}, which is no address", shown(pid)));
        let (process, address) = pid.rsplit_once('@').ok_or_else(wrong)?;
        format!("{}://{address}/{process}", self.0.scheme()).parse().map_err(|_| wrong())
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let wrong = |why: &str| Error::invalid(format!("{} is not an address: {why}", shown(text)));
        // Told apart before anything is repeated in a message: what stands before an @ may be a password.
        let authority = text.split_once("://").map_or(text, |(_, rest)| rest).split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(Error::invalid(
                "an address must not have a user or a password in it; they belong into a credential file",
            ));
        }
        if text.starts_with("zk:") {
            return Err(wrong("ZooKeeper is not asked; list the masters themselves, as in http://m1:5050, http://m2:5050"));
        }
        let url = Url::parse(text).map_err(|_| wrong("write it as http://host:5050"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(wrong("write it as http://host:5050"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("it must end with the host, the port or a path"));
        }
        Ok(Self(url))
    }
}

impl TryFrom<String> for Endpoint {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.to_string()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

/// The masters of a cluster, in the order in which they are tried: one address, or a list of them. At least one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Masters(Vec<Endpoint>);

impl Masters {
    /// The masters at these addresses; `Invalid` when there is none.
    pub fn new(endpoints: Vec<Endpoint>) -> Result<Self> {
        if endpoints.is_empty() { Err(Error::invalid("name at least one master")) } else { Ok(Self(endpoints)) }
    }

    /// The addresses.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.0
    }
}

impl FromStr for Masters {
    type Err = Error;

    /// Reads one address, or several with commas between them.
    fn from_str(text: &str) -> Result<Self> {
        Self::new(text.split(',').map(str::parse).collect::<Result<_>>()?)
    }
}

impl<'de> Deserialize<'de> for Masters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Masters;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the address of a master, http://host:5050, or a list of them")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Masters, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Masters, A::Error> {
                let mut endpoints = Vec::new();
                while let Some(endpoint) = items.next_element()? {
                    endpoints.push(endpoint);
                }
                Masters::new(endpoints).map_err(de::Error::custom)
            }
        }

        deserializer.deserialize_any(OneOrMany)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_a_server_and_perhaps_a_path() {
        assert_eq!(endpoint("http://m1:5050/").to_string(), "http://m1:5050");
        assert_eq!(endpoint("https://proxy/mesos/").at("/master/api/v1").as_str(), "https://proxy/mesos/master/api/v1");
        assert_eq!(endpoint("http://m1:5050").at("/registrar(1)/registry").as_str(), "http://m1:5050/registrar(1)/registry");
        assert!(endpoint("http://m1").is_same_server(&endpoint("http://M1:80/x")));
        assert!(!endpoint("http://m1").is_same_server(&endpoint("https://m1")));
        for text in ["", "m1:5050", "ftp://m1", "http://", "http://m1/?a=b", "zk://z1:2181/mesos"] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
        assert!("zk://z1/mesos".parse::<Endpoint>().unwrap_err().to_string().contains("list the masters"));
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        for text in ["http://me:hunter2@m1:5050", "http://:hunter2@m1", "me:hunter2@m1"] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(!error.contains("hunter2") && error.contains("credential file"), "{error}");
        }
    }

    #[test]
    fn a_redirect_keeps_the_scheme_and_nothing_of_the_path() {
        let from = endpoint("https://m1:5050");
        assert_eq!(from.redirected("//m2:5050/master/api/v1").unwrap(), endpoint("https://m2:5050"));
        assert_eq!(from.redirected("http://m3/x?y").unwrap(), endpoint("http://m3"));
        assert!(from.redirected("//user:pass@m2/").is_err());
    }

    #[test]
    fn a_process_has_an_address() {
        let master = endpoint("http://m1:5050");
        let agent = master.of_process("slave(1)@10.0.0.7:5051").unwrap();
        assert_eq!(agent.at("/api/v1").as_str(), "http://10.0.0.7:5051/slave(1)/api/v1");
        assert!(master.of_process("slave(1)").is_err() && master.of_process("a@b@ c").is_err());
    }

    #[test]
    fn masters_are_one_or_many() {
        let read = |text: &str| serde_json::from_str::<Masters>(text);
        assert_eq!(read(r#""http://m1:5050""#).unwrap().endpoints().len(), 1);
        assert_eq!(read(r#""http://m1:5050, http://m2:5050""#).unwrap().endpoints().len(), 2);
        assert_eq!(read(r#"["http://m1:5050","http://m2:5050"]"#).unwrap().endpoints().len(), 2);
        assert!(read("[]").is_err() && read(r#""""#).is_err() && read("7").is_err());
    }
}
