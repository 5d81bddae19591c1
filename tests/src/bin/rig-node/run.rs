//! A process of the host that stands for a program in a node: what it reads, says and gets as signals, and how it ends, is the
//! program's. When it is killed, the program is killed.

use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use hawser_tests::rig::protocol::{Kind, Program, Request, receive, send};
use rustix::process::{Signal, getpid, kill_process};
use tokio::net::tcp::OwnedReadHalf;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::guest::Guest;

/// The signals that are passed on. Of the others, SIGKILL and SIGSTOP cannot be.
const FORWARDED: [Signal; 5] = [Signal::TERM, Signal::INT, Signal::HUP, Signal::USR1, Signal::USR2];

/// Runs `program` and ends as it does; fails after `limit` seconds, if that is not 0.
pub fn run(kernel: &str, address: &str, limit: &str, program: &[&str]) -> io::Result<ExitCode> {
    let guest = Guest::new(kernel, address)?;
    let limit: u64 = limit.parse().map_err(io::Error::other)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(async {
        tokio::select! {
            status = play(&guest, program) => status,
            error = guest.off() => Err(error),
            () = tokio::time::sleep(Duration::from_secs(limit)), if limit > 0 =>
                Err(io::Error::other(format!("{} does not end within {limit} s", program.join(" ")))),
        }
    });
    end(status?)
}

async fn play(guest: &Guest, program: &[&str]) -> io::Result<ExitStatus> {
    let (from, mut to) = guest.connect().await?.into_split();
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect();
    let directory = std::env::current_dir().unwrap_or_default().to_string_lossy().into_owned();
    let words = program.iter().map(|word| (*word).to_owned()).collect();
    let request = Request::Run(Program { words, environment, directory });
    send(&mut to, Kind::Request, &serde_json::to_vec(&request)?).await?;
    let (frames, mut frame) = mpsc::channel(1);
    let said_here = frames.clone();
    // A read of standard input cannot be given up.
    std::thread::spawn(move || input(&said_here));
    for number in FORWARDED.map(Signal::as_raw) {
        let (frames, mut signals) = (frames.clone(), signal(SignalKind::from_raw(number))?);
        let number = u8::try_from(number).map_err(io::Error::other)?;
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                let _ = frames.send((Kind::Signal, vec![number])).await;
            }
        });
    }
    let mut said = tokio::spawn(output(from));
    loop {
        tokio::select! {
            status = &mut said => return status?,
            Some((kind, bytes)) = frame.recv() => send(&mut to, kind, &bytes).await?,
        }
    }
}

fn input(frames: &mpsc::Sender<(Kind, Vec<u8>)>) {
    let mut bytes = vec![0; 65536];
    loop {
        let length = io::stdin().read(&mut bytes).unwrap_or(0);
        if frames.blocking_send((Kind::Input, bytes[..length].to_vec())).is_err() || length == 0 {
            return;
        }
    }
}

async fn output(mut from: OwnedReadHalf) -> io::Result<ExitStatus> {
    while let Some((kind, bytes)) = receive(&mut from).await? {
        match kind {
            Kind::Output => {
                let mut out = io::stdout().lock();
                out.write_all(&bytes)?;
                out.flush()?;
            }
            Kind::Complaint => io::stderr().lock().write_all(&bytes)?,
            Kind::End => {
                let status = bytes.try_into().map_err(|_| io::Error::other("a status that is none"))?;
                return Ok(ExitStatus::from_raw(i32::from_be_bytes(status)));
            }
            Kind::Refused => return Err(io::Error::other(String::from_utf8_lossy(&bytes).into_owned())),
            _ => return Err(io::Error::other("an unexpected frame")),
        }
    }
    Err(io::Error::other("the node hung up"))
}

/// Ends as `status` says. A signal that is caught here cannot end this process any more; it becomes a code as in a shell.
fn end(status: ExitStatus) -> io::Result<ExitCode> {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(number)) => {
            if let Some(signal) = Signal::from_named_raw(number).filter(|signal| !FORWARDED.contains(signal)) {
                // The first may be caught by Rust's own handler of overflown stacks, which takes itself away then.
                kill_process(getpid(), signal)?;
                kill_process(getpid(), signal)?;
            }
            128 + number
        }
        (None, None) => return Err(io::Error::other("a status that is none")),
    };
    Ok(ExitCode::from(u8::try_from(code).map_err(io::Error::other)?))
}
