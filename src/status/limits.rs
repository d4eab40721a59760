//! `/api/v1/limits`: the emergency limit is set (`POST`) and lifted (`DELETE`), by whoever has the token.
//!
//! Without a token these do not exist. A limit always says for how long: nobody has to remember to lift it.

use std::ops::RangeInclusive;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::post;
use serde::Deserialize;
use serde_json::json;

use super::guard::Claim;
use super::routes::{Context, answer};
use super::show;
use super::view::Order;

/// The longest body, in bytes.
const BODY_MAX: usize = 4 << 10;
const LINES: RangeInclusive<u64> = 1..=1_000_000;
const SPAN: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);

/// What a `POST` says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    lines_per_second: u64,
    /// As many as in a second, unless said.
    burst: Option<u64>,
    #[serde(rename = "for")]
    span: String,
}

pub(super) fn routes() -> Router<Context> {
    Router::new().route("/api/v1/limits", post(set).delete(lift))
}

async fn set(State(context): State<Context>, headers: HeaderMap, body: Body) -> Response {
    if let Some(refusal) = refusal(&context, &headers) {
        return refusal;
    }
    let Ok(body) = to_bytes(body, BODY_MAX).await else {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long, or has no end");
    };
    match order(&body, context.parse_time) {
        Ok(order) => carry_out(&context, order).await,
        Err(error) => refuse(StatusCode::BAD_REQUEST, &error),
    }
}

async fn lift(State(context): State<Context>, headers: HeaderMap) -> Response {
    match refusal(&context, &headers) {
        None => carry_out(&context, Order::Lift).await,
        Some(refusal) => refusal,
    }
}

/// What somebody with these headers is told who may give no orders.
fn refusal(context: &Context, headers: &HeaderMap) -> Option<Response> {
    match context.token.as_ref().map_or(Claim::Unknown, |token| token.claim(headers)) {
        Claim::Right => None,
        Claim::Wrong => {
            let mut refusal =
                refuse(StatusCode::UNAUTHORIZED, "the token is missing or wrong (Authorization: Bearer …)");
            refusal.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            Some(refusal)
        }
        Claim::Unknown => {
            Some(refuse(StatusCode::SERVICE_UNAVAILABLE, "the file of the token cannot be read now"))
        }
    }
}

async fn carry_out(context: &Context, order: Order) -> Response {
    tracing::warn!(?order, "the emergency limit is changed over the API");
    match context.board.order(order).await {
        Some(view) => answer(StatusCode::OK, &json!({"limit": show::limit(view.limit.as_ref())})),
        None => answer(
            StatusCode::ACCEPTED,
            &json!({"limit": null, "message": "it is done as soon as the data thread is free"}),
        ),
    }
}

fn refuse(status: StatusCode, error: &str) -> Response {
    answer(status, &json!({"error": error}))
}

/// What a body asks for.
fn order(body: &[u8], parse_time: fn(&str) -> Result<Duration, String>) -> Result<Order, String> {
    let example = r#"write for example {"lines_per_second": 100, "burst": 10, "for": "10m"}"#;
    let wanted: Wanted = serde_json::from_slice(body).map_err(|error| format!("{error}; {example}"))?;
    let lines = |name: &str, lines: u64| match u32::try_from(lines) {
        Ok(number) if LINES.contains(&lines) => Ok(number),
        _ => Err(format!("`{name}` must be from 1 to 1,000,000; {example}")),
    };
    let span = parse_time(&wanted.span).map_err(|error| format!("`for`: {error}"))?;
    if !SPAN.contains(&span) {
        return Err("`for` must be from 1s to 24h".to_owned());
    }
    Ok(Order::Limit {
        per_second: lines("lines_per_second", wanted.lines_per_second)?,
        burst: lines("burst", wanted.burst.unwrap_or(wanted.lines_per_second))?,
        span,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies() {
        let parse = |text: &str| match text {
            "10m" => Ok(Duration::from_secs(600)),
            "2d" => Ok(Duration::from_secs(2 * 86_400)),
            _ => Err("no time".to_owned()),
        };
        let limit = |per_second, burst| Order::Limit { per_second, burst, span: Duration::from_secs(600) };
        let good = r#"{"lines_per_second":100,"burst":10,"for":"10m"}"#;
        assert_eq!(order(good.as_bytes(), parse), Ok(limit(100, 10)));
        assert_eq!(order(br#"{"lines_per_second":100,"for":"10m"}"#, parse), Ok(limit(100, 100)));
        #[track_caller]
        fn check(body: &str, parse: fn(&str) -> Result<Duration, String>, want: &str) {
            let error = order(body.as_bytes(), parse).expect_err("it is bad");
            assert!(error.contains(want), "{error}");
        }
        check("", parse, "EOF");
        check("[]", parse, "lines_per_second");
        check(r#"{"lines_per_second":100}"#, parse, "missing field `for`");
        check(r#"{"lines_per_second":0,"for":"10m"}"#, parse, "must be from 1 to 1,000,000");
        check(r#"{"lines_per_second":1,"burst":9999999,"for":"10m"}"#, parse, "`burst`");
        check(r#"{"lines_per_second":-1,"for":"10m"}"#, parse, "invalid value");
        check(r#"{"lines_per_second":1,"for":"2d"}"#, parse, "from 1s to 24h");
        check(r#"{"lines_per_second":1,"for":"soon"}"#, parse, "`for`: no time");
        check(r#"{"lines_per_second":1,"for":"10m","x":1}"#, parse, "unknown field `x`");
    }
}
