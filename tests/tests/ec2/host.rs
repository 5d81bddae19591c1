//! What EC2 knows of the host that has a volume, which is asked before the volume is taken from it.

use hawser_proto::hawser::get_host_state_response::State;
use hawser_tests::ec2::{Controller, Ec2, Ec2Settings, ZONES};
use tonic::Code;

#[tokio::test]
async fn an_instance_is_alive_while_it_runs_and_dead_when_it_is_off_for_certain() {
    let ec2 = Ec2::start(Ec2Settings::default()).await;
    let place = tempfile::tempdir().unwrap();
    let plugin = Controller::start(&ec2, place.path(), "one", "").await;
    let instance = ec2.world().instance(ZONES[0]);
    let client = plugin.client(&instance);
    let volume = "ebs:vol-0123456789abcdef0";
    for (state, wanted) in [
        ("pending", State::Alive),
        ("running", State::Alive),
        ("stopping", State::Unknown),
        ("stopped", State::Dead),
        ("shutting-down", State::Unknown),
        ("terminated", State::Dead),
    ] {
        ec2.world().put(&instance, state);
        let said = client.host_state(volume, &instance).await.unwrap();
        assert_eq!(said.state(), wanted, "{state}: {said:?}");
        let words = if state == "pending" { "starting" } else { &state.replace('-', " ") };
        assert!(said.reason.contains(&instance) && said.reason.contains(words), "{state}: {said:?}");
    }
    for unknown in ["i-0123456789abcdef0", "some-host"] {
        let said = client.host_state(volume, unknown).await.unwrap();
        assert_eq!(said.state(), State::Unknown, "{said:?}");
    }
    ec2.world().denied.insert("DescribeInstances".to_owned());
    let refused = client.host_state(volume, &instance).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    for (volume, node, field) in [("", instance.as_str(), "volume_id"), (volume, "", "node_id")] {
        let refused = client.host_state(volume, node).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(field), "{refused}");
    }
}
