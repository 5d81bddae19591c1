//! A simulator and a client of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hawser_ebs::volume::NewVolume;
use hawser_ebs::{Account, ClientOptions, Ec2 as Client, endpoint};
use hawser_tests::ec2::{Ec2, ZONES};
use hawser_volume::Deadline;
use reqsign_core::StaticEnv;

/// The tag that names volumes and snapshots here.
pub const NAME: &str = "name";

pub fn client(ec2: &Ec2) -> Client {
    let mut options = ClientOptions::new("us-east-1".parse().unwrap());
    options.endpoint = Some(endpoint::override_of(ec2.address()).unwrap());
    let envs = [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    let envs = envs.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    Client::with_environment(&options, StaticEnv { home_dir: None, envs }).unwrap()
}

pub fn account(ec2: &Ec2) -> Account {
    Account::new(Arc::new(client(ec2)), NAME, NAME)
}

pub fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(120))
}

/// What a volume of this name shall be; its token is the name.
pub fn new(name: &str) -> NewVolume {
    NewVolume {
        client_token: name.to_owned(),
        zone: ZONES[0].to_owned(),
        size: 1,
        volume_type: Some("gp3".to_owned()),
        tags: BTreeMap::from([(NAME.to_owned(), name.to_owned())]),
        ..NewVolume::default()
    }
}
