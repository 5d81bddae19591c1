//! A unix socket of the host that stands for one in a node.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;

use hawser_tests::notice::notice;
use hawser_tests::rig::protocol::{Kind, Request, receive, send};
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};

use crate::guest::Guest;

/// Listens at `here` as long as the node has power, and connects whoever comes with `there`.
pub fn forward(kernel: &str, address: &str, here: &Path, there: &str) -> io::Result<ExitCode> {
    let guest = Rc::new(Guest::new(kernel, address)?);
    // One that ended without a farewell may have left it.
    let _ = fs::remove_file(here);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = UnixListener::bind(here)?;
        loop {
            let (client, _) = tokio::select! {
                accepted = listener.accept() => accepted?,
                _ = guest.off() => {
                    fs::remove_file(here)?;
                    return Ok(ExitCode::SUCCESS);
                }
            };
            let (guest, there) = (Rc::clone(&guest), there.to_owned());
            tokio::task::spawn_local(async move {
                if let Err(error) = connect(&guest, client, &there).await {
                    notice(&format!("{there}: {error}"));
                }
            });
        }
    })
}

async fn connect(guest: &Guest, mut client: UnixStream, there: &str) -> io::Result<()> {
    let mut connection = guest.connect().await?;
    send(&mut connection, Kind::Request, &serde_json::to_vec(&Request::Connect(there.to_owned()))?).await?;
    match receive(&mut connection).await? {
        Some((Kind::Connected, _)) => copy_bidirectional(&mut client, &mut connection).await.map(|_| ()),
        Some((Kind::Refused, why)) => Err(io::Error::other(String::from_utf8_lossy(&why).into_owned())),
        _ => Err(io::Error::other("the node hung up")),
    }
}
