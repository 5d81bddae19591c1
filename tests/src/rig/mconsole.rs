//! The management socket of a kernel in user mode (arch/um/drivers/mconsole.h), by which hardware comes and goes.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use crate::poll::PATIENCE;

const MAGIC: u32 = 0xcafe_babe;
const VERSION: u32 = 2;
/// The most that a request or one part of an answer holds.
const LONGEST: usize = 512;

/// Has `command` executed by the kernel that listens at `socket`. The error is what it answered.
pub fn ask(socket: &Path, command: &str) -> Result<String, String> {
    assert!(command.len() < LONGEST, "{command}: too long for the kernel");
    let own = socket.with_extension(format!("{:?}", std::thread::current().id()));
    let _ = fs::remove_file(&own);
    let bound = UnixDatagram::bind(&own).unwrap();
    let answer = exchange(&bound, socket, command);
    fs::remove_file(&own).unwrap();
    answer
}

fn exchange(bound: &UnixDatagram, socket: &Path, command: &str) -> Result<String, String> {
    bound.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = Vec::new();
    for word in [MAGIC, VERSION, u32::try_from(command.len()).unwrap()] {
        request.extend(word.to_ne_bytes());
    }
    request.extend(command.as_bytes());
    request.resize(12 + LONGEST, 0);
    bound.send_to(&request, socket).map_err(|error| format!("{}: {error}", socket.display()))?;
    let mut answer = String::new();
    loop {
        let mut part = [0; 12 + LONGEST];
        bound.recv(&mut part).map_err(|error| format!("no answer to {command:?}: {error}"))?;
        let word = |at: usize| u32::from_ne_bytes(part[at..at + 4].try_into().unwrap());
        let (failed, more, length) = (word(0) != 0, word(4) != 0, word(8) as usize);
        let text = part[12..].split(|byte| *byte == 0).next().unwrap_or_default();
        answer.push_str(&String::from_utf8_lossy(&text[..text.len().min(length)]));
        if !more {
            return if failed { Err(format!("{command}: {answer}")) } else { Ok(answer) };
        }
    }
}
