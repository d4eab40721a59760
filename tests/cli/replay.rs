//! `squall replay`: what it says of an incident, in each of its forms.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::incident::{Wrap, incident};
use crate::support::process::{feed, run};
use crate::support::records::Records;

const LINES: u64 = 20_000;

/// A folder with the incident in `app.log`.
fn folder(wrap: Wrap) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("app.log"), incident(LINES, wrap).file).expect("a log");
    folder
}

fn of_kind<'a>(records: &'a Records, kind: &str) -> Vec<&'a Value> {
    records.all.iter().filter(|record| record["squall"]["kind"] == kind).collect()
}

#[test]
fn an_operator_reads_the_incident() {
    #[track_caller]
    fn check(wrap: Wrap) {
        let folder = folder(wrap);
        let ended = run(folder.path(), ["replay", "app.log"]);
        ended.expect_code(0);
        let wanted = [
            "P1 (a guess: ",
            "retry loop without back-off: ",
            "WebSocket connection timeout",
            "Reconnection failed after 5 attempts",
            "towards wss://api.example-broker.com:10000/",
            "better: retry after 1 s, 2 s, 4 s",
            "onset          2026-02-06 00:11:0",
            "Storms",
            "lines in                        20,000",
            "unaccounted for                    0",
        ];
        for part in wanted {
            assert!(ended.stdout.contains(part), "{part:?} in\n{}", ended.stdout);
        }
        assert_eq!(ended.stdout.matches("retry loop without back-off").count(), 1, "{}", ended.stdout);
    }
    check(Wrap::Plain);
    check(Wrap::Docker);
    check(Wrap::Cri);
}

/// The same kinds of records as the live program makes of the file, the same books and the same loop. Not each line the
/// same: the live program reads hours in a second, and what is quiet by the clock on the wall is not quiet by the log's.
#[test]
fn json_is_what_the_live_program_sends() {
    let folder = folder(Wrap::Docker);
    let ended = run(folder.path(), ["replay", "--json", "app.log"]);
    ended.expect_code(0);
    let (replayed, ledger) = Records::with_ledger(&ended);
    let args = ["run", "--until-eof", "--tail", "app.log", "--to", "console", "--json"];
    let ended = run(folder.path(), args);
    ended.expect_code(0);
    let (live, live_ledger) = Records::with_ledger(&ended);
    for name in ["lines_in", "bytes_in", "templates", "loops", "conservation_error"] {
        assert_eq!(ledger[name], live_ledger[name], "{name}: {ledger} {live_ledger}");
    }
    assert_eq!(replayed.lines(), LINES);
    assert!(replayed.verbatim.abs_diff(live.verbatim) <= live.verbatim / 50, "{ledger} {live_ledger}");
    let calm = incident(LINES, Wrap::Docker).calm;
    assert_eq!(replayed.missing(calm.iter().map(String::as_str)), [""; 0], "calm lines");
    let loops = |records: &Records| -> Vec<(Value, Value)> {
        let closed = of_kind(records, "loop").into_iter().filter(|told| told["squall"]["state"] == "closed");
        closed.map(|told| (told["squall"]["loop"].clone(), told["squall"]["iterations"].clone())).collect()
    };
    assert_eq!(loops(&replayed), loops(&live));
    assert_eq!(loops(&replayed).len(), 1);
}

#[test]
fn a_pipe_and_packed_rotated_files_say_the_same() {
    let folder = folder(Wrap::Docker);
    let whole = fs::read(folder.path().join("app.log")).expect("the log");
    let told = |text: &str| -> Vec<String> {
        // Without what names the file, and the charts, whose width is that of the terminal.
        let parts = text.lines().filter(|line| line.contains("retry loop") || line.contains("lines in"));
        parts.map(str::to_owned).collect()
    };
    let from_file = told(&run(folder.path(), ["replay", "app.log"]).stdout);
    assert_eq!(from_file.len(), 2, "{from_file:?}");
    assert_eq!(told(&feed(folder.path(), ["replay", "-"], &whole).stdout), from_file);
    let middle = whole.len() / 2;
    let cut = middle + whole[middle..].iter().position(|byte| *byte == b'\n').expect("a line end") + 1;
    fs::write(folder.path().join("app.log"), &whole[cut..]).expect("a log");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &whole[..cut]).expect("memory");
    fs::write(folder.path().join("app.log.1.gz"), packed.finish().expect("memory")).expect("a log");
    assert_eq!(told(&run(folder.path(), ["replay", "app.log", "app.log.1.gz"]).stdout), from_file);
}

/// Balanced tags, nothing from elsewhere, no script, and the log's text escaped.
#[track_caller]
fn check_page(page: &str) {
    assert!(page.starts_with("<!doctype html>"), "{}", &page[..100]);
    for tag in ["html", "head", "body", "main", "table", "svg", "ul", "ol", "p", "h2", "div", "style"] {
        let (open, close) = (
            page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count(),
            page.matches(&format!("</{tag}>")).count(),
        );
        assert_eq!(open, close, "<{tag}>");
    }
    for forbidden in
        ["<script", "javascript:", "http-equiv=\"refresh\"", "src=", "href=", "url(", "@import", "onload="]
    {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn reports_say_what_happened() {
    let folder = folder(Wrap::Docker);
    for name in ["incident.html", "incident.md"] {
        run(folder.path(), ["replay", "app.log", "--report", name]).expect_code(0);
        let report = fs::read_to_string(folder.path().join(name)).expect("a report");
        let wanted = [
            "P1",
            "Summary",
            "Timeline",
            "first warning",
            "onset",
            "Loops",
            "retry loop without back",
            "WebSocket connection timeout",
            "wss://api.example-broker.com:10000/",
            "Storms",
            "Affected endpoints",
            "Counts",
            "Cause",
            "Follow-ups",
            "20,000 lines",
        ];
        for part in wanted {
            assert!(report.contains(part), "{part:?} in {name}");
        }
        if name.ends_with("html") {
            check_page(&report);
            assert_eq!(report.matches("<svg ").count(), 3, "lines, share, intervals of the one loop");
        }
    }
}

#[test]
fn fault_081_a_log_cannot_write_the_report() {
    let folder = tempfile::tempdir().expect("a folder");
    let evil = "ERROR </code><script>alert(1)</script><img src=x onerror=\"x\"> timeout & `|` \x1b]0;t\x07";
    let lines: String =
        (0..600).map(|n| format!("2026-02-06T10:00:{:02}.{}00Z {evil}\n", n / 10, n % 10)).collect();
    fs::write(folder.path().join("evil.log"), lines).expect("a log");
    for name in ["r.html", "r.md"] {
        let ended = run(folder.path(), ["replay", "evil.log", "--report", name]);
        ended.expect_code(0);
        assert!(!ended.stdout.contains('\x1b') && !ended.stdout.contains('\x07'), "{}", ended.stdout);
        let report = fs::read_to_string(folder.path().join(name)).expect("a report");
        assert!(report.contains("alert(1)") && !report.contains('\x1b'), "{name}");
        if name == "r.html" {
            assert!(
                !report.contains("<script") && !report.contains("<img") && report.contains("&lt;script&gt;")
            );
        }
    }
}

#[test]
fn slow_without_an_error_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let line = |n: u64| {
        let took = if n < 900 { 18 + n % 5 } else { 270 + n % 50 };
        let time = format!("2026-02-06T{:02}:{:02}:{:02}.000Z", 10 + n / 3600, n / 60 % 60, n % 60);
        format!(
            r#"{{"level":"info","message":"request done","status":200,"responseTime":{took},"timestamp":"{time}"}}"#
        ) + "\n"
    };
    fs::write(folder.path().join("api.log"), (0..1_500).map(line).collect::<String>()).expect("a log");
    let ended = run(folder.path(), ["replay", "api.log"]);
    ended.expect_code(0);
    assert!(ended.stdout.contains("Numbers that moved"), "{}", ended.stdout);
    assert!(ended.stdout.contains("responseTime rose from a mean of 20"), "{}", ended.stdout);
    assert!(ended.stdout.starts_with("P3 "), "{}", ended.stdout);
}

#[test]
fn stack_traces_are_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let trace = "java.net.ConnectException: Connection refused\n\tat a.B.c(B.java:5)\n\tat a.D.e(D.java:7)\n";
    let text: String =
        (0..40).map(|n| format!("2026-02-06T10:00:{n:02}.000Z INFO tick {n}\n{trace}")).collect();
    fs::write(folder.path().join("app.log"), text).expect("a log");
    let lines = |args: &[&str]| {
        let ended = run(folder.path(), ["replay", "app.log"].iter().chain(args).copied());
        ended.expect_code(0);
        let line =
            ended.stdout.lines().find(|line| line.contains("lines in")).expect("the ledger").to_owned();
        line.split_whitespace().nth(2).expect("a number").to_owned()
    };
    assert_eq!(lines(&[]), "80");
    assert_eq!(lines(&["--multiline", "off"]), "160");
}

#[test]
fn what_a_user_can_do_wrong() {
    #[track_caller]
    fn check(folder: &Path, args: &[&str], code: i32, said: &str) {
        run(folder, args.iter().copied()).expect_code(code).expect_said(said);
    }
    let folder = folder(Wrap::Plain);
    let path = folder.path();
    check(path, &["replay"], 2, "required arguments were not provided");
    check(path, &["replay", "missing.log"], 1, "cannot open missing.log");
    check(path, &["replay", "."], 1, "is a directory");
    check(path, &["replay", "app.log", "./app.log"], 1, "are the same file");
    check(path, &["replay", "app.log", "--report", "x.pdf"], 2, "a report ends in .html or .md");
    check(
        path,
        &["replay", "app.log", "--report", "no/such/x.md"],
        1,
        "cannot write the report no/such/x.md",
    );
    check(path, &["replay", "app.log", "--set", "storm.entre=5"], 78, "storm.entre");
    fs::write(path.join("empty.log"), "").expect("a log");
    assert!(run(path, ["replay", "empty.log"]).stdout.contains("The log is empty."));
}
