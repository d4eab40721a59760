//! Which path says what.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use super::Clock;
use super::board::Board;
use super::guard::{Peer, TokenFile, may_see_logs};
use super::health::{readiness, stuck};
use super::metrics::{Format, metrics};
use super::page::{self, Page};
use super::{limits, show};

/// What answers are made of.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) board: Arc<Board>,
    pub(super) clock: Clock,
    pub(super) token: Option<TokenFile>,
    pub(super) parse_time: fn(&str) -> Result<Duration, String>,
}

/// All paths.
pub(super) fn routes(context: Context) -> Router {
    let open = Router::new()
        .route("/health", get(health))
        .route("/healthz", get(health))
        .route("/livez", get(health))
        .route("/ready", get(ready))
        .route("/readyz", get(ready))
        .route("/metrics", get(scrape))
        .route("/api/v1/status", get(status))
        .route("/api/v1/ledger", get(ledger));
    let guarded = Router::new()
        .route("/", get(page))
        .route("/api/v1/storms", get(storms))
        .route("/api/v1/loops", get(loops))
        .route("/api/v1/alerts", get(alerts))
        .route_layer(from_fn_with_state(context.clone(), guard));
    let all = open.merge(guarded);
    // Without a token nobody may, so there is nothing to be found either.
    let all = if context.token.is_some() { all.merge(limits::routes()) } else { all };
    all.fallback(async || answer(StatusCode::NOT_FOUND, &json!({"error": "there is nothing here"})))
        .method_not_allowed_fallback(async || {
            answer(StatusCode::METHOD_NOT_ALLOWED, &json!({"error": "this can only be read (GET)"}))
        })
        .layer(map_response(harden))
        .with_state(context)
}

/// Whatever is answered is about this moment, and is what it says it is.
async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// Text of logs is not for everybody.
async fn guard(
    State(context): State<Context>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    if may_see_logs(peer, &headers, context.token.as_ref()) {
        return next.run(request).await;
    }
    let error = "text of logs is shown to this machine under its own name, or with the token of status.token_file (Authorization: Bearer …)";
    answer(StatusCode::FORBIDDEN, &json!({"error": error}))
}

async fn health(State(context): State<Context>) -> Response {
    let stuck = stuck(&context.board, (context.clock)().arrival);
    answer(ok_if(stuck.is_none()), &show::health(stuck))
}

async fn ready(State(context): State<Context>) -> Response {
    let now = (context.clock)();
    let is_ready = readiness(&context.board, now.arrival).reasons.is_empty();
    answer(ok_if(is_ready), &show::ready(&context.board, now))
}

async fn scrape(State(context): State<Context>, headers: HeaderMap) -> Response {
    let format = Format::wanted(headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()));
    let text = metrics(&context.board, format, (context.clock)());
    typed(StatusCode::OK, format.content_type(), text)
}

async fn status(State(context): State<Context>) -> Response {
    answer(StatusCode::OK, &show::status(&context.board, (context.clock)()))
}

async fn ledger(State(context): State<Context>) -> Response {
    answer(StatusCode::OK, &show::ledger(&context.board, (context.clock)()))
}

async fn storms(State(context): State<Context>) -> Response {
    let view = context.board.detailed((context.clock)()).await;
    answer(StatusCode::OK, &show::storms(&view, (context.clock)()))
}

async fn loops(State(context): State<Context>) -> Response {
    let view = context.board.detailed((context.clock)()).await;
    answer(StatusCode::OK, &show::loops(&view, (context.clock)()))
}

async fn alerts(State(context): State<Context>) -> Response {
    let view = context.board.detailed((context.clock)()).await;
    answer(StatusCode::OK, &show::alerts(&view, (context.clock)()))
}

async fn page(State(context): State<Context>) -> Response {
    let Context { board, clock, .. } = context;
    let view = board.detailed(clock()).await;
    let html = Page { board: &board, view: &view, now: clock() }.to_string();
    let mut response = typed(StatusCode::OK, "text/html; charset=utf-8", html);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(page::POLICY));
    response
}

fn ok_if(is_ok: bool) -> StatusCode {
    if is_ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

pub(super) fn answer(status: StatusCode, value: &Value) -> Response {
    typed(status, "application/json", format!("{value}\n"))
}

fn typed(status: StatusCode, kind: &'static str, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let (name, kind): (HeaderName, _) = (CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(name, kind);
    response
}
