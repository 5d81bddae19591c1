//! The end of a node in good order.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use hawser_tests::rig::protocol::{Kind, Request, send};

use crate::guest::Guest;

/// How long that may take. What hangs there is a filesystem whose server is gone.
const LIMIT: Duration = Duration::from_secs(30);

/// Asks for it, and waits until the node has no power.
pub fn power_off(kernel: &str, address: &str) -> io::Result<ExitCode> {
    let guest = Guest::new(kernel, address)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection = guest.connect().await?;
        send(&mut connection, Kind::Request, &serde_json::to_vec(&Request::PowerOff)?).await?;
        match tokio::time::timeout(LIMIT, guest.off()).await {
            Ok(_) => Ok(ExitCode::SUCCESS),
            Err(_) => Err(io::Error::other(format!("the node does not go off within {} s", LIMIT.as_secs()))),
        }
    })
}
