//! What the host and the agent in a node say to each other, over one TCP connection for each thing that is asked for.
//!
//! The host sends a [`Request`] and then, for a program, its input and signals; the agent sends what the program says and how it
//! ended. A connection to a socket is bare bytes after the agent's first frame. Everything else is in frames: a kind of one
//! byte, a length of four (big-endian), and so many bytes.

use std::io;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Where the agent listens.
pub const PORT: u16 = 7000;

/// The most that one frame carries.
const LONGEST: u32 = 16 << 20;

/// What a connection is for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// A program, which is killed with its process group when the connection ends before it.
    Run(Program),
    /// A unix socket in the node.
    Connect(String),
    /// The end of the node in good order: every program is stopped and every filesystem unmounted.
    PowerOff,
}

/// A program to run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Program {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// All of its environment.
    pub environment: Vec<(String, String)>,
    /// Where it runs, if that is there in the node; else in the root.
    pub directory: String,
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A [`Request`], as JSON.
    Request,
    /// Bytes for the program's standard input; none for its end.
    Input,
    /// A signal for the program: its number in one byte.
    Signal,
    /// What the program wrote to its standard output.
    Output,
    /// What it wrote to its standard error.
    Complaint,
    /// How it ended: the status of wait(2), in four bytes.
    End,
    /// The connection stands.
    Connected,
    /// What was asked for could not be begun; the words say why.
    Refused,
}

impl Kind {
    const ALL: [Self; 8] =
        [Self::Request, Self::Input, Self::Signal, Self::Output, Self::Complaint, Self::End, Self::Connected, Self::Refused];
}

/// Sends a frame.
pub async fn send(to: &mut (impl AsyncWrite + Unpin), kind: Kind, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(5 + bytes.len());
    frame.push(kind as u8);
    frame.extend(length.to_be_bytes());
    frame.extend(bytes);
    to.write_all(&frame).await
}

/// Receives a frame; none when the other side has ended the connection. It is not safe to give up in the middle.
pub async fn receive(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<(Kind, Vec<u8>)>> {
    let mut head = [0; 5];
    if from.read(&mut head[..1]).await? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut head[1..]).await?;
    let [kind, length @ ..] = head;
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let kind = Kind::ALL.into_iter().find(|known| *known as u8 == kind).ok_or_else(|| invalid("an unknown kind of frame"))?;
    let length = u32::from_be_bytes(length);
    if length > LONGEST {
        return Err(invalid("a frame that is too long"));
    }
    let mut bytes = vec![0; length as usize];
    from.read_exact(&mut bytes).await?;
    Ok(Some((kind, bytes)))
}
