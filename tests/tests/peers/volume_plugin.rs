//! A stand-in for a Docker volume plugin: API v1 on a unix socket, volumes that are directories, and a record of what was asked.

use std::collections::BTreeSet;
use std::fs;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::runtime::Runtime;

/// What a client asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The path, without its slash.
    pub path: String,
    /// The body; null if there was none.
    pub body: Value,
    /// Its headers, in the order in which they came, and in lower case.
    pub headers: Vec<(String, String)>,
}

impl Asked {
    /// The path and the name of the volume, if there is one.
    pub fn brief(&self) -> String {
        let path = self.path.replace("VolumeDriver.", "");
        self.body["Name"].as_str().map_or(path.clone(), |name| format!("{path} {name}"))
    }
}

#[derive(Debug, Default)]
struct State {
    volumes: BTreeSet<String>,
    asked: Vec<Asked>,
    refusal: Option<(String, String)>,
    delay: Option<(String, Duration)>,
    hang_up: Option<String>,
    silence: Option<String>,
    status: Option<StatusCode>,
}

/// The plugin.
#[derive(Debug)]
pub struct VolumePlugin {
    directory: PathBuf,
    socket: PathBuf,
    state: Arc<Mutex<State>>,
    // Of its own, so that it can be ended with all its connections.
    runtime: Option<Runtime>,
}

impl VolumePlugin {
    /// Serves `socket`; its volumes are directories in `directory`.
    pub fn start(socket: &Path, directory: &Path) -> Self {
        let mut plugin =
            Self { directory: directory.to_owned(), socket: socket.to_owned(), state: Arc::default(), runtime: None };
        plugin.start_again();
        plugin
    }

    /// Serves again, after [`stop`](Self::stop).
    pub fn start_again(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let entered = runtime.enter();
        let listener = UnixListener::bind(&self.socket).unwrap();
        let (state, directory) = (self.state.clone(), self.directory.clone());
        let router = Router::new().fallback(async move |request: Request| {
            let (parts, body) = request.into_parts();
            let bytes = to_bytes(body, 1 << 20).await.unwrap();
            let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
            let asked = Asked {
                path: parts.uri.path().trim_start_matches('/').to_owned(),
                body: serde_json::from_slice(&bytes).unwrap_or_default(),
                headers: parts.headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect(),
            };
            let (delay, answer, status) = {
                let mut state = state.lock().unwrap();
                state.asked.push(asked.clone());
                if state.hang_up.take_if(|path| *path == asked.path).is_some() || state.silence.as_ref() == Some(&asked.path) {
                    drop(state);
                    // The end of the task closes the connection; this is a panic that says nothing.
                    resume_unwind(Box::new(()));
                }
                let delay = state.delay.as_ref().filter(|(path, _)| *path == asked.path).map(|(_, time)| *time);
                (delay, state.answer(&asked, &directory), state.status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
            };
            tokio::time::sleep(delay.unwrap_or_default()).await;
            match answer {
                Ok(value) => (StatusCode::OK, value.to_string()),
                Err(error) => (status, json!({"Err": error}).to_string()),
            }
        });
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        drop(entered);
        self.runtime = Some(runtime);
    }

    /// Stops serving, and cuts all connections, as if it was killed.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
            fs::remove_file(&self.socket).unwrap();
        }
    }

    /// The directory of a volume.
    pub fn volume(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Has every request for `path` refused with these words.
    pub fn refuse(&self, path: &str, words: &str) {
        self.state.lock().unwrap().refusal = Some((path.to_owned(), words.to_owned()));
    }

    /// Has what is refused from now on refused with another status than 500.
    pub fn refuse_with_status(&self, status: u16) {
        self.state.lock().unwrap().status = Some(StatusCode::from_u16(status).unwrap());
    }

    /// Closes the connection instead of answering any request for `path`.
    pub fn fall_silent(&self, path: &str) {
        self.state.lock().unwrap().silence = Some(path.to_owned());
    }

    /// Closes the connection instead of answering the next request for `path`, as if the plugin was killed meanwhile.
    pub fn hang_up(&self, path: &str) {
        self.state.lock().unwrap().hang_up = Some(path.to_owned());
    }

    /// Has every request for `path` answered late.
    pub fn delay(&self, path: &str, time: Duration) {
        self.state.lock().unwrap().delay = Some((path.to_owned(), time));
    }

    /// What was asked since the last time.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    /// The same in few words.
    pub fn briefly(&self) -> Vec<String> {
        self.asked().iter().map(Asked::brief).collect()
    }
}

impl State {
    /// The answer, or the words of a refusal.
    fn answer(&mut self, asked: &Asked, directory: &Path) -> Result<Value, String> {
        if let Some((_, words)) = self.refusal.as_ref().filter(|(path, _)| *path == asked.path) {
            return Err(words.clone());
        }
        let name = asked.body["Name"].as_str().unwrap_or_default();
        let place = directory.join(name);
        let described = |name: &str| json!({"Name": name, "Mountpoint": directory.join(name), "Status": {"color": "red"}});
        match asked.path.as_str() {
            "Plugin.Activate" => Ok(json!({"Implements": ["VolumeDriver"]})),
            "VolumeDriver.Capabilities" => Ok(json!({"Capabilities": {"Scope": "global"}})),
            "VolumeDriver.List" => Ok(json!({"Volumes": self.volumes.iter().map(|name| described(name)).collect::<Vec<_>>()})),
            "VolumeDriver.Create" => {
                fs::create_dir_all(place).unwrap();
                self.volumes.insert(name.to_owned());
                Ok(json!({"Err": ""}))
            }
            _ if !self.volumes.contains(name) => Err(format!("there is no volume {name}")),
            "VolumeDriver.Get" => Ok(json!({"Volume": described(name)})),
            "VolumeDriver.Mount" | "VolumeDriver.Path" => Ok(json!({"Mountpoint": place})),
            "VolumeDriver.Unmount" => Ok(json!({"Err": ""})),
            "VolumeDriver.Remove" => {
                self.volumes.remove(name);
                Ok(json!({"Err": ""}))
            }
            other => Err(format!("{other} is no request of a volume plugin")),
        }
    }
}

impl Drop for VolumePlugin {
    fn drop(&mut self) {
        self.stop();
    }
}
