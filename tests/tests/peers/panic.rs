//! What is left of the peers when a test fails in the middle of everything.

use std::panic::{AssertUnwindSafe, resume_unwind};

use futures_util::FutureExt;
use hawser_tests::docker::Docker;
use hawser_tests::mesos::{Container, Mesos, Options};
use hawser_tests::podman::Podman;
use hawser_tests::{Workspace, image};

use crate::dvdcli::Dvdcli;
use crate::traces::Traces;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_that_panics_leaves_nothing_of_its_peers() {
    let traces = Traces::now();
    let workspace = Workspace::new();
    let path = workspace.path().to_owned();
    let test = AssertUnwindSafe(async move {
        let dvdcli = Dvdcli::new(&workspace);
        let mesos = Mesos::start(&workspace, Options::with_dvdcli(&dvdcli.program())).await;
        let container = Container::new("c", "sleep 1000").docker_volume("data", "driver", "v1", &[]);
        mesos.agent(0).launch(&container).await.unwrap();
        let docker = Docker::start(&workspace, &[]).await;
        docker.run(&["run", "--detach", "--network", "none", image::NAME, "sleep", "1000"]).await.well();
        let podman = Podman::start(&workspace, &[], &[]).await;
        podman.run(&["run", "--detach", "--network", "none", image::NAME, "sleep", "1000"]).await.well();
        // A panic that says nothing, as nothing is wrong.
        resume_unwind(Box::new(()));
    });
    assert!(test.catch_unwind().await.is_err());
    traces.assert_none(&path);
    assert!(!path.exists(), "{} is left", path.display());
}
