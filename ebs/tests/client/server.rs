//! An EC2 that says what it is told to say, and notes what it is asked.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use hawser_ebs::{ClientOptions, Ec2};
use reqsign_core::StaticEnv;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What it does with one request.
#[derive(Debug, Clone)]
pub enum Act {
    /// Answers with this status and body.
    Say(u16, String),
    /// Takes it and closes the connection without a word.
    Lose,
    /// Sends the head and half of the body, and closes the connection.
    Break(String),
    /// Takes it and is silent.
    Hang,
}

/// An error as EC2 writes it.
pub fn refusal(status: u16, code: &str) -> Act {
    Act::Say(
        status,
        format!(
            "<Response><Errors><Error><Code>{code}</Code><Message>{code} it is.</Message></Error></Errors><RequestID>r</RequestID></Response>"
        ),
    )
}

/// The server; the last act of the script is repeated.
#[derive(Debug, Clone)]
pub struct Server {
    address: String,
    asked: Arc<Mutex<Vec<HashMap<String, String>>>>,
}

impl Server {
    pub async fn start(script: impl IntoIterator<Item = Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = Self { address, asked: Arc::default() };
        let script = Arc::new(Mutex::new(script.into_iter().collect::<VecDeque<_>>()));
        let asked = Arc::clone(&server.asked);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, Arc::clone(&script), Arc::clone(&asked)));
            }
        });
        server
    }

    pub fn asked(&self) -> Vec<HashMap<String, String>> {
        self.asked.lock().unwrap().clone()
    }

    pub fn client(&self) -> Ec2 {
        client(&self.address)
    }
}

/// A client of the server at `address`.
pub fn client(address: &str) -> Ec2 {
    let mut options = ClientOptions::new("eu-central-1".parse().unwrap());
    options.endpoint = Some(hawser_ebs::endpoint::override_of(address).unwrap());
    let envs = [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "s")];
    let envs = envs.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    Ec2::with_environment(&options, StaticEnv { home_dir: None, envs }).unwrap()
}

async fn serve(mut connection: TcpStream, script: Arc<Mutex<VecDeque<Act>>>, asked: Arc<Mutex<Vec<HashMap<String, String>>>>) {
    let mut buffer = Vec::new();
    loop {
        let (end, length) = loop {
            if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
                assert!(head.contains("authorization: aws4-hmac-sha256 credential=akidexample/"), "{head}");
                let length =
                    head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse::<usize>().unwrap();
                break (end + 4, length);
            }
            if connection.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        };
        while buffer.len() < end + length {
            if connection.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let body: Vec<u8> = buffer.drain(..end + length).skip(end).collect();
        asked.lock().unwrap().push(form_urlencoded::parse(&body).into_owned().collect());
        let act = {
            let mut script = script.lock().unwrap();
            if script.len() > 1 { script.pop_front().unwrap() } else { script[0].clone() }
        };
        let (status, body, whole) = match act {
            Act::Lose => return,
            Act::Hang => std::future::pending().await,
            Act::Say(status, body) => (status, body, true),
            Act::Break(body) => (200, body, false),
        };
        let head = format!("HTTP/1.1 {status} X\r\ncontent-type: text/xml\r\ncontent-length: {}\r\n\r\n", body.len());
        let sent = if whole { body.as_str() } else { &body[..body.len() / 2] };
        if connection.write_all(format!("{head}{sent}").as_bytes()).await.is_err() || !whole {
            return;
        }
    }
}
