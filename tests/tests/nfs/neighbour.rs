//! Somebody else, who has a volume of another backend in the same process and must not notice anything.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hawser_proto::csi;
use hawser_proto::csi::volume_capability::access_mode::Mode;
use hawser_tests::client::{create_request, map, text};
use hawser_tests::{Client, Context, MIB, Usage};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What a call of somebody else may take, however busy the machine is.
const LONGEST: Duration = Duration::from_secs(20);

/// What it waits between its rounds; a node has one processor, which others need too.
const PAUSE: Duration = Duration::from_millis(200);

/// Makes one call after the other until it is stopped.
pub struct Neighbour {
    longest: Arc<Mutex<Duration>>,
    rounds: watch::Receiver<u64>,
    stop: watch::Sender<bool>,
    work: JoinHandle<()>,
}

impl Neighbour {
    /// Starts one.
    pub async fn start(client: &Client) -> Self {
        let (longest, (told, rounds), (stop, stopped)) =
            (Arc::new(Mutex::new(Duration::ZERO)), watch::channel(0), watch::channel(false));
        let work = tokio::spawn(work(client.clone(), Arc::clone(&longest), told, stopped));
        let mut neighbour = Self { longest, rounds, stop, work };
        neighbour.longest().await;
        neighbour
    }

    /// How long the longest call took since this was asked the last time. Waits for calls that began after it was asked.
    pub async fn longest(&mut self) -> Duration {
        let now = *self.rounds.borrow();
        self.rounds.wait_for(|round| *round > now + 1).await.expect("the neighbour's calls succeed");
        std::mem::take(&mut *self.longest.lock().unwrap())
    }

    /// Takes its volume down.
    pub async fn stop(self) {
        self.stop.send(true).unwrap();
        self.work.await.unwrap();
    }
}

async fn work(client: Client, longest: Arc<Mutex<Duration>>, rounds: watch::Sender<u64>, stopped: watch::Receiver<bool>) {
    let usage = Usage::mount().mode(Mode::SingleNodeMultiWriter);
    let request = |name: &str| csi::CreateVolumeRequest {
        parameters: map([("backend", "local")]),
        ..create_request(name, 16 * MIB, &usage)
    };
    let volume = client.try_create(request("neighbour")).await.unwrap();
    let path = text(&client.up(&volume, &usage).await);
    macro_rules! timed {
        ($name:expr, $call:expr) => {{
            let began = Instant::now();
            let answer = $call.await.unwrap_or_else(|status| panic!("{} of another backend: {status}", $name));
            let took = began.elapsed();
            assert!(took < LONGEST, "{} of another backend took {took:?}", $name);
            let mut longest = longest.lock().unwrap();
            *longest = took.max(*longest);
            answer
        }};
    }
    while !*stopped.borrow() {
        timed!("Probe", client.identity().probe(csi::ProbeRequest {}));
        let volume_id = volume.volume_id.clone();
        let request_of_stats = csi::NodeGetVolumeStatsRequest { volume_id, volume_path: path.clone(), ..Default::default() };
        timed!("NodeGetVolumeStats", client.node().node_get_volume_stats(request_of_stats));
        timed!("NodePublishVolume", client.publish(&volume, &Context::new(), &usage, "another"));
        timed!("NodeUnpublishVolume", client.unpublish(&volume.volume_id, "another"));
        let other = timed!("CreateVolume", client.try_create(request("other")));
        timed!("DeleteVolume", client.delete(&other.volume_id));
        rounds.send_modify(|round| *round += 1);
        tokio::time::sleep(PAUSE).await;
    }
    client.down(&volume).await;
    client.delete(&volume.volume_id).await.unwrap();
}
