//! What the host asks for, done inside. One thread: in a node of this kind threads are dear and there is one processor.

use std::cell::Cell;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::rc::Rc;
use std::time::Duration;

use hawser_tests::kernel::mounts;
use hawser_tests::notice::notice;
use hawser_tests::rig::protocol::{Kind, PORT, Program, Request, receive, send};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use rustix::system::{RebootCommand, reboot};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::process::{Child, ChildStdin, Command};

/// How long a program that was left in the background may keep the output of the one that started it open.
const LINGER: Duration = Duration::from_millis(50);

/// How many programs are being killed because nobody stands for them any more.
type Dying = Rc<Cell<usize>>;

/// Listens for the host and never ends.
pub fn agent(ready: &Path) -> io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
        fs::write(ready, "")?;
        let dying = Dying::default();
        loop {
            let (connection, _) = listener.accept().await?;
            let dying = Rc::clone(&dying);
            tokio::task::spawn_local(async move {
                if let Err(error) = serve(connection, dying).await {
                    notice(&format!("a connection broke: {error}"));
                }
            });
        }
    })
}

async fn serve(mut connection: TcpStream, dying: Dying) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let Some((Kind::Request, request)) = receive(&mut connection).await? else { return Ok(()) };
    match serde_json::from_slice(&request)? {
        Request::Run(program) => run(connection, program, dying).await,
        Request::Connect(path) => match UnixStream::connect(&path).await {
            Ok(mut socket) => {
                send(&mut connection, Kind::Connected, &[]).await?;
                copy_bidirectional(&mut connection, &mut socket).await.map(|_| ())
            }
            Err(error) => send(&mut connection, Kind::Refused, format!("{path}: {error}").as_bytes()).await,
        },
        Request::PowerOff => power_off().await,
    }
}

async fn run(connection: TcpStream, program: Program, dying: Dying) -> io::Result<()> {
    settle(&dying).await;
    let (mut from, mut to) = connection.into_split();
    let mut child = match spawn(&program) {
        Ok(child) => child,
        Err(error) => return send(&mut to, Kind::Refused, format!("{}: {error}", program.words[0]).as_bytes()).await,
    };
    let id = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)).ok_or_else(|| io::Error::other("no process id"))?;
    let mut input = child.stdin.take();
    let (Some(mut output), Some(mut complaint)) = (child.stdout.take(), child.stderr.take()) else { return Ok(()) };
    let (mut said, mut complained) = ([0; 65536], [0; 65536]);
    let (mut talks, mut complains) = (true, true);
    // Reading a frame must not be given up in the middle, so it has a task of its own.
    let (frames, mut frame) = tokio::sync::mpsc::channel(1);
    tokio::task::spawn_local(async move {
        while let Ok(Some(received)) = receive(&mut from).await {
            if frames.send(received).await.is_err() {
                break;
            }
        }
    });
    let status = loop {
        tokio::select! {
            received = frame.recv() => match received {
                Some((Kind::Input, bytes)) => feed(&mut input, &bytes).await,
                Some((Kind::Signal, bytes)) => signal(id, &bytes),
                Some(_) => return Err(io::Error::other("an unexpected frame")),
                None => return bury(child, id, &dying).await,
            },
            length = output.read(&mut said), if talks => {
                let length = length?;
                talks = length > 0;
                if talks { send(&mut to, Kind::Output, &said[..length]).await?; }
            },
            length = complaint.read(&mut complained), if complains => {
                let length = length?;
                complains = length > 0;
                if complains { send(&mut to, Kind::Complaint, &complained[..length]).await?; }
            },
            status = child.wait() => break status?,
        }
    };
    rest(&mut output, &mut to, Kind::Output).await?;
    rest(&mut complaint, &mut to, Kind::Complaint).await?;
    send(&mut to, Kind::End, &status.into_raw().to_be_bytes()).await
}

fn spawn(program: &Program) -> io::Result<Child> {
    let mut command = Command::new(&program.words[0]);
    command.args(&program.words[1..]).env_clear().envs(program.environment.iter().cloned()).process_group(0);
    let directory = Path::new(&program.directory);
    command.current_dir(if directory.is_dir() { directory } else { Path::new("/") });
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// Waits until those are dead for whom nobody stands any more: who kills a program on the host and starts another one must not have
/// both. The end of the older connection arrived before the beginning of this one; it only has to be looked at first.
async fn settle(dying: &Dying) {
    tokio::time::sleep(Duration::from_millis(1)).await;
    tokio::task::yield_now().await;
    while dying.get() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Kills a program with all of its group.
async fn bury(mut child: Child, id: Pid, dying: &Dying) -> io::Result<()> {
    dying.set(dying.get() + 1);
    let _ = kill_process_group(id, Signal::KILL);
    let waited = child.wait().await;
    dying.set(dying.get() - 1);
    waited.map(|_| ())
}

async fn feed(input: &mut Option<ChildStdin>, bytes: &[u8]) {
    // No bytes are the end, and a program that does not read any more has no use for the rest.
    let done = match input {
        Some(_) if bytes.is_empty() => true,
        Some(pipe) => pipe.write_all(bytes).await.is_err(),
        None => false,
    };
    if done {
        *input = None;
    }
}

fn signal(id: Pid, bytes: &[u8]) {
    let signal = bytes.first().and_then(|number| Signal::from_named_raw(i32::from(*number)));
    if let Some(signal) = signal {
        let _ = kill_process(id, signal);
    }
}

/// What a program that has ended said last.
async fn rest(from: &mut (impl AsyncRead + Unpin), to: &mut OwnedWriteHalf, kind: Kind) -> io::Result<()> {
    let mut bytes = [0; 65536];
    while let Ok(length) = tokio::time::timeout(LINGER, from.read(&mut bytes)).await {
        match length? {
            0 => break,
            length => send(to, kind, &bytes[..length]).await?,
        }
    }
    Ok(())
}

/// Ends the node as an operator does.
async fn power_off() -> io::Result<()> {
    let mut processes = others();
    for signal in [Signal::TERM, Signal::KILL] {
        for id in &processes {
            let _ = kill_process(*id, signal);
        }
        for _ in 0..40 {
            processes = others();
            if processes.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
    for mount in mounts().into_iter().rev() {
        let _ = unmount(&mount.point, UnmountFlags::NOFOLLOW);
    }
    rustix::fs::sync();
    reboot(RebootCommand::PowerOff)?;
    Ok(())
}

/// All programs but the first process, this one, and the kernel's threads, which have no command line.
fn others() -> Vec<Pid> {
    let own = rustix::process::getpid();
    let ids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = ids.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    let program = |id: &Pid| fs::read(format!("/proc/{}/cmdline", id.as_raw_nonzero())).is_ok_and(|line| !line.is_empty());
    ids.filter(|id| *id != own && *id != Pid::INIT).filter(program).collect()
}
