//! `hawser demo`: the main job in a minute, on a temporary directory of this machine.
//!
//! Two plugins are started, node-a and node-b, on sockets of their own and over one pool, as on two machines that share a
//! storage system; then a CO is played over those sockets. Nothing is simulated: there are real images, loop devices and mounts.

mod cast;
mod stage;

use std::fs;
use std::path::Path;

use hawser_host::machine;
use hawser_volume::{Bytes, Error, Filesystem, Result};
use tonic::Code;

use cast::Cast;
use stage::Stage;

use crate::serve::stop_signal;

/// What is written on node-a and must be read on node-b.
const LETTER: &[u8] = b"written on node-a, to be read on node-b\n";

/// Runs the demo. Ctrl-C ends it early; either way everything is taken down again.
pub async fn run() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::precondition("the demo mounts filesystems, which needs root: run it with sudo"));
    }
    let stop = stop_signal().await?;
    let stage = Stage::set().await?;
    let mut cast = Cast::new(&stage, filesystem());
    let played = tokio::select! {
        played = play(&mut cast, &stage) => played,
        () = stop => Err(Error::precondition("interrupted")),
    };
    drop(cast);
    let struck = stage.strike().await;
    // What could not be taken down is worth more words than what went wrong before.
    struck?;
    played?;
    crate::cli::print("\nNothing is left: no volume, no mount, no loop device, no file.\n")
}

async fn play(cast: &mut Cast<'_>, stage: &Stage) -> Result<()> {
    if cast.filesystem() != Filesystem::Ext4 {
        crate::cli::print(
            "This machine withholds CAP_SYS_RESOURCE, without which ext4 cannot grow while mounted: the demo takes xfs.\n\n",
        )?;
    }
    cast.heading()?;
    let volume = cast.create("demo", Bytes::gib(1), None).await?;
    cast.attach("node-a", &volume).await?;
    let target = cast.mount("node-a", &volume).await?;
    cast.act("write a file and flush it", "write, fsync", "node-a", || write(&target.join("letter"), LETTER))?;
    cast.refused("attach it to node-b: refused, node-a has it", "node-b", &volume, Code::FailedPrecondition).await?;
    cast.unmount("node-a", &volume).await?;
    cast.detach("node-a", &volume).await?;
    cast.attach("node-b", &volume).await?;
    let target = cast.mount("node-b", &volume).await?;
    cast.act("read the file: it is what node-a wrote", "read", "node-b", || expect(&target.join("letter"), LETTER))?;
    if cast.filesystem() != Filesystem::Ext4 || machine::may_grow_ext4() {
        let before = space(&target)?;
        cast.expand("node-b", &volume, Bytes::gib(2), &target).await?;
        cast.act("the mounted filesystem is larger", "statvfs", "node-b", || grown(&target, before))?;
    } else {
        crate::cli::print(
            "(not grown: this machine withholds CAP_SYS_RESOURCE, and there is no mkfs.xfs to take xfs instead)\n",
        )?;
    }
    let snapshot = cast.snapshot(&volume).await?;
    cast.act("write over the file", "write, fsync", "node-b", || write(&target.join("letter"), b"changed"))?;
    let clone = cast.create("demo-clone", Bytes::gib(2), Some(snapshot.clone())).await?;
    cast.attach("node-a", &clone).await?;
    let copy = cast.mount("node-a", &clone).await?;
    cast.act("read the file in the clone: as before the change", "read", "node-a", || expect(&copy.join("letter"), LETTER))?;
    cast.unmount("node-a", &clone).await?;
    cast.detach("node-a", &clone).await?;
    cast.unmount("node-b", &volume).await?;
    cast.detach("node-b", &volume).await?;
    cast.delete_snapshot(&snapshot).await?;
    cast.delete(&clone).await?;
    cast.delete(&volume).await?;
    stage.prove_empty()
}

fn write(path: &Path, text: &[u8]) -> Result<()> {
    let failed = |error| Error::internal(format!("write {}", path.display())).caused_by(error);
    fs::write(path, text).map_err(failed)?;
    fs::File::open(path).and_then(|file| file.sync_all()).map_err(failed)
}

fn expect(path: &Path, text: &[u8]) -> Result<()> {
    let found = fs::read(path).map_err(|error| Error::internal(format!("read {}", path.display())).caused_by(error))?;
    if found == text { Ok(()) } else { Err(Error::internal(format!("{} has other content than was written", path.display()))) }
}

fn space(path: &Path) -> Result<u64> {
    use hawser_host::Host;
    Ok(hawser_host::Linux.usage(path)?.bytes.total)
}

fn grown(path: &Path, before: u64) -> Result<()> {
    let now = space(path)?;
    if now > before + before / 2 {
        Ok(())
    } else {
        Err(Error::internal(format!("the filesystem had {before} bytes and has {now}")))
    }
}

/// ext4, where this process may grow it.
fn filesystem() -> Filesystem {
    let xfs = ["/usr/sbin/mkfs.xfs", "/sbin/mkfs.xfs"].iter().any(|path| Path::new(path).exists());
    if machine::may_grow_ext4() || !xfs { Filesystem::Ext4 } else { Filesystem::Xfs }
}
