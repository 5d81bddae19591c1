//! One time in which a server is silent: every call, and every call again when it is back.

use std::time::Instant;

use futures_util::future::join_all;
use hawser_proto::csi;
use hawser_tests::client::{POD, at_least, create_request, map};
use hawser_tests::poll::until_async;
use hawser_tests::{Client, Context, MIB, Usage};
use tonic::{Code, Status};

use crate::table::Table;
use crate::trouble::Trouble;
use crate::world::BACKEND;

/// What is said of a silent server. `DeadlineExceeded` would be for one that is slow.
pub fn is_silence(result: &Result<(), Status>) -> bool {
    result.as_ref().is_err_and(|status| status.code() == Code::Unavailable && status.message().contains("answer"))
}

/// A volume in use, with its target.
pub type Used = (csi::Volume, String);

/// What the calls of one round are about. Each volume is for one round, as it is taken down in it.
pub struct Round<'a> {
    pub trouble: Trouble,
    pub client: &'a Client,
    pub usage: Usage,
    /// Taken down while the server is silent.
    pub leaving: &'a Used,
    /// Used by somebody.
    pub staying: &'a [Used],
    /// Attached, and not staged.
    pub waiting: &'a (csi::Volume, Context),
}

impl Round<'_> {
    /// What comes while nobody knows yet that the server is silent, all at one time.
    pub async fn first_moment(&self, table: &mut Table) {
        let name = self.trouble.name();
        let began = Instant::now();
        let asked = self.staying.iter().map(|(volume, path)| stats(self.client, &volume.volume_id, path));
        let answers = join_all(asked).await;
        assert!(answers.iter().all(is_silence), "{name}: {answers:?}");
        let took = began.elapsed().as_secs_f64();
        table.note(
            name,
            &format!("the first calls: {} NodeGetVolumeStats at once", answers.len()),
            &format!("Unavailable {took:.2} s"),
        );
    }

    /// Every call that needs the server.
    pub async fn refused(&self, table: &mut Table) {
        let (client, usage, name) = (self.client, &self.usage, self.trouble.name());
        let (volume, path) = self.leaving;
        let id = &volume.volume_id;
        let mut controller = client.controller();
        macro_rules! silent {
            ($call:expr, $work:expr) => {{
                let result = table.call(name, $call, async { $work.await.map(drop) }).await;
                assert!(is_silence(&result), "{name}: {}: {result:?}", $call);
            }};
        }
        silent!("CreateVolume", client.try_create(create_request("new", 16 * MIB, usage)));
        silent!(
            "ControllerGetVolume",
            controller.controller_get_volume(csi::ControllerGetVolumeRequest { volume_id: id.clone() })
        );
        let request = csi::ValidateVolumeCapabilitiesRequest {
            volume_id: id.clone(),
            volume_capabilities: vec![usage.capability()],
            ..Default::default()
        };
        silent!("ValidateVolumeCapabilities", controller.validate_volume_capabilities(request));
        silent!("ListVolumes", controller.list_volumes(csi::ListVolumesRequest::default()));
        let request = csi::GetCapacityRequest { parameters: map([("backend", BACKEND)]), ..Default::default() };
        silent!("GetCapacity", controller.get_capacity(request));
        silent!("ControllerPublishVolume", client.attach(volume, usage));
        silent!("ControllerUnpublishVolume", client.detach(id));
        silent!("ControllerExpandVolume", client.expand(id, at_least(64 * MIB)));
        silent!("CreateSnapshot", client.snapshot("cut", id));
        silent!("ListSnapshots", controller.list_snapshots(csi::ListSnapshotsRequest::default()));
        silent!("DeleteSnapshot", client.delete_snapshot(&id.replace("volume", "snapshot")));
        silent!("DeleteVolume", client.delete(&self.waiting.0.volume_id));
        silent!("NodeStageVolume", client.stage(&self.waiting.0, &self.waiting.1, usage));
        silent!("NodePublishVolume at one more target", client.publish(volume, &Context::new(), usage, "another"));
        silent!("NodeGetVolumeStats", stats(client, id, path));
    }

    /// What needs no server, and the way down as far as it goes.
    pub async fn way_down(&self, table: &mut Table) {
        let (client, usage, name) = (self.client, &self.usage, self.trouble.name());
        let (volume, _) = self.leaving;
        let id = &volume.volume_id;
        table.call(name, "Probe", async { client.identity().probe(csi::ProbeRequest {}).await.map(drop) }).await.unwrap();
        let again = async { client.publish(volume, &Context::new(), usage, POD).await.map(drop) };
        table.call(name, "NodePublishVolume, again", again).await.expect("a mount that is there needs no server");
        table.call(name, "NodeUnpublishVolume", client.unpublish(id, POD)).await.expect("taking away a view needs no server");
        let unstaged = table.call(name, "NodeUnstageVolume", client.unstage(id)).await;
        assert!(is_silence(&unstaged), "what may be unwritten is not thrown away: {unstaged:?}");
    }

    /// Everything that was refused is done by the same calls, once the server is back.
    pub async fn afterwards(&self, table: &mut Table) {
        let (client, usage, name) = (self.client, &self.usage, self.trouble.name());
        let (volume, _) = self.leaving;
        let began = Instant::now();
        until_async("the server to be used again", async || client.unstage(&volume.volume_id).await.ok()).await;
        table.note(
            name,
            "NodeUnstageVolume succeeds, after the end of the trouble",
            &format!("{:.1} s", began.elapsed().as_secs_f64()),
        );
        client.detach(&volume.volume_id).await.unwrap();
        client.delete(&volume.volume_id).await.unwrap();
        let (waiting, context) = self.waiting;
        client.stage(waiting, context, usage).await.unwrap();
        client.unstage(&waiting.volume_id).await.unwrap();
        client.detach(&waiting.volume_id).await.unwrap();
        client.delete(&waiting.volume_id).await.unwrap();
        // Each was refused before anything was made.
        let names: Vec<String> = client.volumes().await.into_iter().map(|entry| entry.volume.unwrap().volume_id).collect();
        assert!(!names.contains(&volume.volume_id), "{names:?}");
    }
}

/// NodeGetVolumeStats.
pub async fn stats(client: &Client, volume: &str, path: &str) -> Result<(), Status> {
    let request =
        csi::NodeGetVolumeStatsRequest { volume_id: volume.to_owned(), volume_path: path.to_owned(), ..Default::default() };
    client.node().node_get_volume_stats(request).await.map(drop)
}
