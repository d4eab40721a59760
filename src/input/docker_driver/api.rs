//! The plugin's side of Docker's plugin protocol: HTTP over a Unix socket, as dockerd speaks it (`docker-driver.md` 2).
//!
//! dockerd sends no content type, an empty `Host`, and empty bodies, so nothing is asked of a request but its path.
//! It waits for each answer while the container's start or end waits for it: nothing here may depend on Kafka.
//! Limit: a body of 4 MiB; the kernel lets a program have 2 MiB of environment.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::UnixStream;

use super::info::Info;

/// What dockerd asks of a logging driver.
pub trait Plugin {
    /// A container's lines will come through this FIFO.
    ///
    /// # Errors
    /// Why not, for whoever starts the container.
    fn start(&mut self, file: &str, info: &Info) -> Result<(), String>;

    /// No more lines will be written to this FIFO than are in it.
    fn stop(&mut self, file: &str);
}

#[derive(Deserialize)]
struct StartLogging {
    #[serde(rename = "File")]
    file: String,
    #[serde(rename = "Info", default)]
    info: Info,
}

#[derive(Deserialize)]
struct StopLogging {
    #[serde(rename = "File")]
    file: String,
}

/// The longest body, in bytes.
const BODY_MAX: usize = 4 << 20;

/// Answers one request; `None` where dockerd asks for what we do not do.
pub fn answer(path: &str, body: &[u8], plugin: &mut impl Plugin) -> Option<Value> {
    let done = match path {
        "/Plugin.Activate" => return Some(json!({ "Implements": ["LogDriver"] })),
        // dockerd's own copy serves `docker logs`, and does so better than a plugin can.
        "/LogDriver.Capabilities" => return Some(json!({ "Cap": { "ReadLogs": false }, "Err": "" })),
        "/LogDriver.StartLogging" => serde_json::from_slice(body)
            .map_err(unreadable)
            .and_then(|StartLogging { file, info }| plugin.start(&file, &info)),
        "/LogDriver.StopLogging" => {
            serde_json::from_slice(body).map_err(unreadable).map(|StopLogging { file }| plugin.stop(&file))
        }
        _ => return None,
    };
    Some(json!({ "Err": done.err().unwrap_or_default() }))
}

fn unreadable(error: serde_json::Error) -> String {
    // Where, and not what: there are secrets in it.
    format!("squall does not understand dockerd: line {} column {}", error.line(), error.column())
}

/// Answers the requests of one connection until it ends.
pub async fn serve(connection: UnixStream, plugin: Rc<RefCell<impl Plugin + 'static>>) {
    let service = service_fn(|request: Request<Incoming>| {
        let plugin = Rc::clone(&plugin);
        async move { Ok::<_, Infallible>(respond(request, &plugin).await) }
    });
    // A connection that breaks is dockerd's to open again.
    let _ = http1::Builder::new().half_close(true).serve_connection(TokioIo::new(connection), service).await;
}

async fn respond(request: Request<Incoming>, plugin: &RefCell<impl Plugin>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let body = Limited::new(request.into_body(), BODY_MAX).collect().await;
    let (status, answer) = match body {
        Ok(body) => match answer(&path, &body.to_bytes(), &mut *plugin.borrow_mut()) {
            Some(answer) => (StatusCode::OK, answer),
            None => (StatusCode::NOT_FOUND, json!({ "Err": format!("{path} is not implemented") })),
        },
        Err(_) => (StatusCode::BAD_REQUEST, json!({ "Err": "the request has no end, or is too long" })),
    };
    let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static("application/vnd.docker.plugins.v1.2+json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[derive(Default)]
    struct Heard(Vec<String>);

    impl Plugin for Heard {
        fn start(&mut self, file: &str, info: &Info) -> Result<(), String> {
            self.0.push(format!("start {file} {}", info.name()));
            if info.name() == "bad" { Err("no".to_owned()) } else { Ok(()) }
        }

        fn stop(&mut self, file: &str) {
            self.0.push(format!("stop {file}"));
        }
    }

    #[test]
    fn answers() {
        #[track_caller]
        fn check(path: &str, body: &str, want: Option<&str>, heard: &[&str]) {
            let mut plugin = Heard::default();
            let found = answer(path, body.as_bytes(), &mut plugin).map(|answer| answer.to_string());
            assert_eq!((found.as_deref(), plugin.0.join(",")), (want, heard.join(",")), "{path}");
        }
        check("/Plugin.Activate", "", Some(r#"{"Implements":["LogDriver"]}"#), &[]);
        check("/LogDriver.Capabilities", "", Some(r#"{"Cap":{"ReadLogs":false},"Err":""}"#), &[]);
        let start = |name: &str| format!(r#"{{"File":"/f","Info":{{"ContainerName":"/{name}"}}}}"#);
        check("/LogDriver.StartLogging", &start("a"), Some(r#"{"Err":""}"#), &["start /f a"]);
        check("/LogDriver.StartLogging", &start("bad"), Some(r#"{"Err":"no"}"#), &["start /f bad"]);
        check("/LogDriver.StopLogging", r#"{"File":"/f"}"#, Some(r#"{"Err":""}"#), &["stop /f"]);
        let odd = r#"{"Err":"squall does not understand dockerd: line 1 column 11"}"#;
        check("/LogDriver.StopLogging", r#"{"File":"/f"#, Some(odd), &[]);
        check("/LogDriver.ReadLogs", "{}", None, &[]);
    }

    /// Byte for byte what dockerd 20.10 sends, twice on one connection.
    #[test]
    fn requests_as_dockerd_sends_them() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let told = tokio::task::LocalSet::new().block_on(&runtime, async {
            let (ours, mut theirs) = UnixStream::pair().expect("sockets");
            let plugin = Rc::new(RefCell::new(Heard::default()));
            let serving = tokio::task::spawn_local(serve(ours, Rc::clone(&plugin)));
            let head = |path: &str, length: usize| {
                format!(
                    "POST {path} HTTP/1.1\r\nHost: \r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: {length}\r\n\
                     Accept: application/vnd.docker.plugins.v1.2+json\r\nAccept-Encoding: gzip\r\n\r\n"
                )
            };
            let body = r#"{"File":"/f","Info":{"ContainerName":"/a"}}"#;
            let text = head("/LogDriver.Capabilities", 0) + &head("/LogDriver.StartLogging", body.len()) + body;
            theirs.write_all(text.as_bytes()).await.expect("it listens");
            theirs.shutdown().await.expect("it is open");
            let mut told = String::new();
            theirs.read_to_string(&mut told).await.expect("an answer");
            serving.await.expect("it ends");
            assert_eq!(plugin.borrow().0, ["start /f a"]);
            told
        });
        assert_eq!(told.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{told}");
        assert!(
            told.contains(r#"{"Cap":{"ReadLogs":false},"Err":""}"#) && told.ends_with(r#"{"Err":""}"#),
            "{told}"
        );
    }
}
