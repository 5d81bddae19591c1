//! A backend that is away takes nothing from the others: what they have is listed and used, and nothing is guessed.

use std::fs;
use std::process::Command;

use hawser_tests::Workspace;
use hawser_tests::binary::hawser;
use hawser_tests::process::Process;

use crate::hand::Hand;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_volumes_of_the_other_backends_are_there() {
    let workspace = Workspace::new();
    let place = workspace.path();
    fs::write(place.join("password"), "secret").unwrap();
    // Nobody listens on port 1.
    let config = format!(
        "backends:\n  disk:\n    type: local\n    root: {0}/volumes\n  away:\n    type: scaleio\n    answer-within-seconds: 1\n    systems:\n    - \
         gateways: [\"https://127.0.0.1:1\"]\n      user: hawser\n      password-file: {0}/password\ndriver:\n  default-backend: disk\n",
        place.display()
    );
    fs::write(place.join("two.yaml"), config).unwrap();
    let socket = place.join("csi.sock");
    let mut command = Command::new(hawser());
    command.args(["serve", "controller", "--config"]).arg(place.join("two.yaml"));
    command.arg("--endpoint").arg(format!("unix://{}", socket.display()));
    let mut process = Process::spawn(command, &socket, &place.join("log"));
    process.wait_until_it_answers().await;
    let hand = Hand::at(&socket, place);

    let warned = "the volumes of backend away are not known";
    let made = hand.types(&["volume", "create", "pgdata", "--size", "16MiB"]);
    assert!(made.code == Some(0) && made.err.contains(warned), "{made:?}");
    let id = made.out.trim().to_owned();
    let listed = hand.types(&["volume", "ls", "-q"]);
    // It is not all, so a script must not take it for all.
    assert_eq!((listed.code, listed.out.trim()), (Some(75), id.as_str()), "{listed:?}");
    assert!(listed.err.contains(warned) && listed.err.contains("this is not all: backend away"), "{listed:?}");

    // The whole name is enough to look, and not to destroy; a part is not enough for anything.
    let seen = hand.types(&["volume", "inspect", "pgdata", "-q"]);
    assert_eq!((seen.code, seen.out.trim()), (Some(0), id.as_str()), "{seen:?}");
    hand.is_refused(&["volume", "inspect", "pg"], 64, &["only a part of pgdata"]);
    hand.is_refused(&["volume", "rm", "pgdata"], 75, &["nothing is deleted", "backend away", &id]);
    // So it is with snapshots.
    let cut = hand.types(&["snapshot", "ls", "-q"]);
    assert!(cut.code == Some(75) && cut.err.contains("the snapshots of backend away are not known"), "{cut:?}");
    // Those of one volume are with it.
    hand.does(&["snapshot", "ls", "--volume", &id]);
    hand.does(&["volume", "rm", &id]);
    hand.is_refused(&["volume", "inspect", &id], 66, &[&id]);
    assert!(process.terminate().success(), "{}", process.tail());
}
