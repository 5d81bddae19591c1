//! The door.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;

use super::query::Query;
use super::{Heard, State, Trick, xml};
use crate::storage::Moment;

pub(crate) async fn serve(listener: TcpListener, state: Arc<State>) {
    let door = Router::new().fallback(move |headers: HeaderMap, body: String| {
        let state = Arc::clone(&state);
        async move { answer(&state, &headers, body) }
    });
    let _ = axum::serve(listener, door).await;
}

fn answer(state: &State, headers: &HeaderMap, body: String) -> Response {
    let query = Query::read(&body);
    let headers: BTreeMap<String, String> =
        headers.iter().filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))).collect();
    let authorization = headers.get("authorization").cloned().unwrap_or_default();
    *state.last.lock().unwrap() = Some(Heard { headers, body });
    let scoped = authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
        && authorization.contains("/us-east-1/ec2/aws4_request");
    if !scoped {
        return refuse(401, "AuthFailure", "AWS was not able to validate the provided access credentials");
    }
    let action = query.get("Action").unwrap_or_default().to_owned();
    let trick = state.trouble.lock().unwrap().next(&action);
    match trick {
        Some(Trick::Throttle) => return refuse(503, "RequestLimitExceeded", "Request limit exceeded."),
        Some(Trick::Fail) => return refuse(500, "InternalError", "An internal error has occurred"),
        Some(Trick::LoseRequest) => hang_up(),
        Some(Trick::FailAfter | Trick::LoseAnswer) | None => {}
    }
    if state.victim.kill(&action, Moment::Asked) {
        hang_up();
    }
    let done = state.act(&action, &query);
    if state.victim.kill(&action, Moment::Done) {
        hang_up();
    }
    match trick {
        Some(Trick::FailAfter) => return refuse(500, "InternalError", "An internal error has occurred"),
        Some(Trick::LoseAnswer) => hang_up(),
        _ => {}
    }
    match done {
        Ok(nodes) => say(200, xml::answer(&action, &nodes)),
        Err(refused) => refuse(refused.status, refused.code, &refused.message),
    }
}

/// Ends the task of the connection, and the connection with it. No panic is reported.
fn hang_up() -> ! {
    std::panic::resume_unwind(Box::new("the connection is cut"))
}

fn refuse(status: u16, code: &str, message: &str) -> Response {
    say(status, xml::refusal(code, message))
}

fn say(status: u16, body: String) -> Response {
    (StatusCode::from_u16(status).unwrap(), [("content-type", "text/xml;charset=UTF-8")], body).into_response()
}
