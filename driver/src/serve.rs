//! Serving a plugin on its socket, and stopping.

use std::future::Future;
use std::time::Duration;

use hawser_proto::{FILE_DESCRIPTOR_SET, HAWSER_DESCRIPTOR_SET, csi, hawser};
use hawser_volume::{Error, Result};
use tokio::sync::oneshot;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;
use tonic_reflection::server::Builder as Reflection;

use crate::plugin::Plugin;
use crate::socket::Socket;
use crate::telemetry::Rpc;

/// How long calls may go on after the plugin was told to stop.
const GRACE: Duration = Duration::from_secs(60);

/// How long the removal of what interrupted calls left may go on after the plugin was told to stop.
const SWEEP: Duration = Duration::from_secs(5);

/// How long the last answers may take to be sent.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The largest request that is read. A request with all its maps full has less than 64 KiB.
const REQUEST_MAX: usize = 4 << 20;

/// Serves `plugin` until `stop` is ready, then stops accepting, finishes what runs, and returns.
pub async fn serve(plugin: Plugin, mut socket: Socket, stop: impl Future<Output = ()> + Send + 'static) -> Result<()> {
    let listener = socket.listener.take().ok_or_else(|| Error::internal("the socket is served already"))?;
    let pools = plugin.pools();
    let sweep = tokio::task::spawn_blocking(move || Plugin::sweep(&pools));
    let calls = TaskTracker::new();
    let (stopping, stopped) = oneshot::channel();
    let readiness = plugin.telemetry.readiness.clone();
    let stop = async move {
        stop.await;
        readiness.stopping();
        let _ = stopping.send(());
    };
    let rpc = Rpc::new(&calls, &plugin.telemetry.metrics.rpc);
    let router = router(&plugin, rpc).await?;
    // Connections have been accepted by the kernel for a while; from here on they are answered.
    plugin.telemetry.readiness.ready();
    let _looking = plugin.keep_looking();
    let server = router.serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop);
    // A connection on which nobody says anything would keep the server for ever; only calls are worth waiting for.
    let running = calls.clone();
    let enough = async move {
        if stopped.await.is_err() {
            std::future::pending::<()>().await;
        }
        running.close();
        let _ = tokio::time::timeout(GRACE, running.wait()).await;
        tokio::time::sleep(LAST_WORDS).await;
    };
    let served = tokio::select! {
        served = server => served,
        () = enough => Ok(()),
    };
    // No new call is accepted from here on. A connection that broke leaves calls behind, and a call whose caller gave up leaves
    // work behind; both still run.
    calls.close();
    let rest = async {
        calls.wait().await;
        plugin.queue.drain().await;
    };
    if tokio::time::timeout(GRACE, rest).await.is_err() {
        tracing::warn!("calls are still running {} s after the signal; they are left behind", GRACE.as_secs());
    }
    // One that has not begun never will; one that has must not meet whoever removes the pool next.
    sweep.abort();
    if tokio::time::timeout(SWEEP, sweep).await.is_err() {
        tracing::info!("what interrupted calls left is not all removed; the next start goes on with it");
    }
    drop(socket);
    served.map_err(|error| Error::unavailable("serve the socket").caused_by(error))
}

async fn router(
    plugin: &Plugin,
    rpc: Rpc,
) -> Result<tonic::transport::server::Router<tower::layer::util::Stack<Rpc, tower::layer::util::Identity>>> {
    let reflection = || {
        let describe = Reflection::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(HAWSER_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        served(plugin).into_iter().fold(describe, |describe, name| describe.with_service_name(name))
    };
    let failed = |error: tonic_reflection::server::Error| Error::internal("describe the services").caused_by(error);
    let (reporter, health) = tonic_health::server::health_reporter();
    let identity = csi::identity_server::IdentityServer::new(plugin.identity.clone());
    reporter.set_serving::<csi::identity_server::IdentityServer<crate::identity::Identity>>().await;
    let mut router = Server::builder()
        .layer(rpc)
        .add_service(identity)
        .add_service(health)
        .add_service(hawser::status_server::StatusServer::new(plugin.board.clone()))
        .add_service(reflection().build_v1().map_err(failed)?)
        .add_service(reflection().build_v1alpha().map_err(failed)?);
    if let Some(controller) = &plugin.controller {
        reporter.set_serving::<csi::controller_server::ControllerServer<hawser_controller::Controller>>().await;
        router = router
            .add_service(csi::controller_server::ControllerServer::new(controller.clone()).max_decoding_message_size(REQUEST_MAX))
            .add_service(
                csi::group_controller_server::GroupControllerServer::new(controller.clone())
                    .max_decoding_message_size(REQUEST_MAX),
            )
            .add_service(hawser::hosts_server::HostsServer::new(controller.clone()).max_decoding_message_size(REQUEST_MAX));
    }
    if let Some(node) = &plugin.node {
        reporter.set_serving::<csi::node_server::NodeServer<hawser_node::Node>>().await;
        router = router.add_service(csi::node_server::NodeServer::new(node.clone()).max_decoding_message_size(REQUEST_MAX));
    }
    Ok(router)
}

/// The names of the services that this plugin serves; the descriptors know of more.
fn served(plugin: &Plugin) -> Vec<&'static str> {
    let mut names = vec![
        csi::identity_server::SERVICE_NAME,
        tonic_health::pb::health_server::SERVICE_NAME,
        hawser::status_server::SERVICE_NAME,
    ];
    if plugin.controller.is_some() {
        names.extend([
            csi::controller_server::SERVICE_NAME,
            csi::group_controller_server::SERVICE_NAME,
            hawser::hosts_server::SERVICE_NAME,
        ]);
    }
    if plugin.node.is_some() {
        names.push(csi::node_server::SERVICE_NAME);
    }
    names
}

/// Ready when the process is told to stop by SIGTERM or SIGINT. A second signal ends the process at once.
pub async fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|error| Error::internal("listen for signals").caused_by(error));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "stopping: finishing what runs");
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {},
                _ = interrupt.recv() => {},
            }
            tracing::warn!("second signal: stopping at once");
            std::process::exit(130);
        });
    })
}
