//! The status page: what a process does, what it waits for and what failed, for operators with a browser. Read-only.
//!
//! | path | answer |
//! |---|---|
//! | `/` | the page; `/page.js`, `/page.css` and `/icon.svg` are its parts |
//! | `/status.json` | what it shows |
//!
//! The page is static and asks for `/status.json` every two seconds. That is answered from memory: storage systems and the kernel are
//! asked beside it (`page/look.rs`), one question at a time, and what is shown says how old it is. The page loads nothing from anywhere
//! else, and its policy forbids it to; whatever comes from storage or tasks is put into it as text.

mod answer;
mod assets;
mod history;
mod look;
mod survey;

use std::sync::{Arc, OnceLock};

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hawser_controller::Controller;
use hawser_node::Node;

use crate::plugin::Plugin;
use crate::status::Board;
use crate::telemetry::Telemetry;
use answer::Answer;
use history::History;
use survey::Survey;

/// The page of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Page {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    telemetry: Telemetry,
    history: History,
    parts: OnceLock<Parts>,
}

/// What there is to show once the process is built.
#[derive(Debug)]
struct Parts {
    board: Board,
    survey: Survey,
}

impl Page {
    /// A page that knows of no work yet; it keeps the history of all calls to backends that `telemetry` tells of from now on.
    pub fn new(telemetry: &Telemetry) -> Self {
        let history = History::of(&telemetry.calls);
        Self { inner: Arc::new(Inner { telemetry: telemetry.clone(), history, parts: OnceLock::new() }) }
    }

    /// Shows `plugin` from now on. Only what is given first is shown.
    pub fn show(&self, plugin: &Plugin) {
        self.show_parts(plugin.board.clone(), plugin.controller.as_ref(), plugin.node.as_ref());
    }

    /// Shows the work that `board` tells of, and no volumes: they are those of a driver in another process.
    pub fn show_board(&self, board: Board) {
        self.show_parts(board, None, None);
    }

    fn show_parts(&self, board: Board, controller: Option<&Controller>, node: Option<&Node>) {
        let survey = Survey::new(controller, node, &self.inner.telemetry.calls);
        let _ = self.inner.parts.set(Parts { board, survey });
    }

    /// Where it is served.
    pub fn router(&self) -> Router {
        assets::router().route("/status.json", get(status).with_state(self.clone()))
    }

    async fn answer(&self) -> Answer {
        let inner = &self.inner;
        let calls = &inner.telemetry.calls;
        let history = inner.history.tell();
        match inner.parts.get() {
            Some(parts) => Answer::new(Some(parts.board.look().await), &parts.survey.look(), calls, history),
            None => Answer::new(None, &survey::Sight::default(), calls, history),
        }
    }
}

async fn status(State(page): State<Page>) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(page.answer().await)).into_response()
}
