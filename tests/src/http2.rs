//! One gRPC call by hand, with any `:authority`.
//!
//! The clients of this language refuse to send what old gRPC clients send over unix sockets, so the frames are written here: the
//! preface, one HEADERS frame of literals without Huffman coding (RFC 7541, 6.2.3), one DATA frame with an empty message.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::poll::PATIENCE;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PING: u8 = 0x6;
const GOAWAY: u8 = 0x7;

const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// An answer with this message.
    Served(Vec<u8>),
    /// The stream was reset with this code.
    Reset(u32),
    /// The connection was given up with this code.
    GoAway(u32),
    /// The connection was closed, or the stream ended without a message.
    Nothing,
}

/// Calls `path` with an empty message; `authority` is left out when it is none.
pub fn call(socket: &Path, authority: Option<&str>, path: &str) -> io::Result<Outcome> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut block = Vec::new();
    let fixed =
        [(":method", "POST"), (":scheme", "http"), (":path", path), ("content-type", "application/grpc"), ("te", "trailers")];
    for (position, (name, value)) in fixed.into_iter().enumerate() {
        literal(&mut block, name, value);
        // Pseudo-headers come before all others (RFC 9113, 8.3).
        if position == 2
            && let Some(authority) = authority
        {
            literal(&mut block, ":authority", authority);
        }
    }
    stream.write_all(PREFACE)?;
    frame(&mut stream, SETTINGS, 0, 0, &[])?;
    frame(&mut stream, HEADERS, END_HEADERS, 1, &block)?;
    frame(&mut stream, DATA, END_STREAM, 1, &[0; 5])?;
    outcome(&mut stream)
}

fn outcome(stream: &mut UnixStream) -> io::Result<Outcome> {
    let mut body = Vec::new();
    loop {
        let mut header = [0; 9];
        match stream.read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof || error.kind() == io::ErrorKind::ConnectionReset => {
                return Ok(Outcome::Nothing);
            }
            Err(error) => return Err(error),
        }
        let [a, b, c, kind, flags, ..] = header;
        let mut payload = vec![0; usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)];
        stream.read_exact(&mut payload)?;
        match kind {
            SETTINGS if flags & ACK == 0 => frame(stream, SETTINGS, ACK, 0, &[])?,
            PING if flags & ACK == 0 => frame(stream, PING, ACK, 0, &payload)?,
            DATA => body.extend(payload),
            RST_STREAM => return Ok(Outcome::Reset(number(&payload, 0))),
            GOAWAY => return Ok(Outcome::GoAway(number(&payload, 4))),
            // The trailers.
            HEADERS if flags & END_STREAM != 0 => {
                return Ok(if body.len() > 5 { Outcome::Served(body.split_off(5)) } else { Outcome::Nothing });
            }
            _ => {}
        }
    }
}

fn number(payload: &[u8], at: usize) -> u32 {
    payload.get(at..at + 4).map_or(0, |bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

fn literal(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0x10);
    for text in [name, value] {
        let length = u8::try_from(text.len()).ok().filter(|length| *length < 127).unwrap();
        block.push(length);
        block.extend_from_slice(text.as_bytes());
    }
}

fn frame(stream: &mut UnixStream, kind: u8, flags: u8, id: u32, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(id.to_be_bytes());
    bytes.extend_from_slice(payload);
    stream.write_all(&bytes)
}
