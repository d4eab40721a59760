//! The house rules that a compiler does not hold: who may use whom, what is pure, how long a file may be.
//!
//! The map is in `src/lib.rs`. Where the code teaches that a wall is wrong, move it there and here in one commit.
//! Each rule is a function from one file's text to its faults, and has a table of bad and good snippets.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::source::{self, Token};

/// The folders that a visitor sees, and nothing else. (Settings of tools are dotfiles and are not looked at.)
const TOP_LEVEL: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "Dockerfile",
    "LICENSE",
    "README.md",
    "benches",
    "config",
    "src",
    "target",
    "tests",
];

/// The modules under `src/`, each with those that it may use.
const MAY_USE: &[(&str, &[&str])] = &[
    ("units", &[]),
    // "Did you mean".
    ("suggest", &[]),
    // Text as people may see it.
    ("terminal", &[]),
    ("input", &["engine", "units"]),
    ("engine", &["suggest", "units"]),
    ("resources", &["engine", "units"]),
    ("outbox", &["engine", "units"]),
    ("output", &["engine", "terminal", "units"]),
    ("retention", &["engine", "units"]),
    ("status", &["terminal", "units"]),
    // The option types that each part defines itself.
    (
        "config",
        &[
            "engine",
            "input",
            "outbox",
            "output",
            "resources",
            "retention",
            "status",
            "suggest",
            "terminal",
            "units",
        ],
    ),
    (
        "daemon",
        &[
            "config",
            "engine",
            "input",
            "outbox",
            "output",
            "resources",
            "retention",
            "status",
            "terminal",
            "units",
        ],
    ),
    // Another wiring: files through an engine, and no daemon.
    ("replay", &["engine", "input", "units"]),
    ("report", &["engine", "terminal", "units"]),
    // What a consumer does with ids.
    ("dedup", &["engine"]),
    // Made-up input for the demo, tests and benches.
    ("corpus", &["engine", "units"]),
    // `outbox` for the audit, which works where no daemon runs.
    (
        "cli",
        &["config", "corpus", "daemon", "dedup", "engine", "outbox", "replay", "report", "terminal", "units"],
    ),
    ("main", &["cli"]),
];

/// The stages of the engine in the order in which a line passes them. A stage may use only earlier ones. `core` is the
/// second half of `engine/mod.rs`, which knows all, and `tests` are its tests.
const STAGES: &[&str] = &[
    "chunk",
    "frame",
    "line",
    "template",
    "storm",
    "cycle",
    "alert",
    "chronicle",
    "record",
    "ledger",
    "state",
    "core",
    "origin",
    "tests",
];

/// The modules that know neither a clock nor the world.
const PURE: &[&str] = &["corpus", "dedup", "engine", "report", "suggest", "terminal", "units"];

/// The files that may hold `unsafe` code: vector instructions, and a number for the allocator.
const UNSAFE: [&str; 2] = ["engine/template/mask/avx2.rs", "daemon/heap.rs"];

/// The longest file, in lines without its tests.
const LINES_MAX: usize = 500;

type Rule = fn(&File) -> Vec<Fault>;

const RULES: &[Rule] =
    &[uses_only_its_own, stages_use_earlier_ones, is_pure, is_safe, has_a_module_doc, is_short];

/// A source file, its path relative to `src/`.
struct File {
    path: String,
    text: String,
}

#[derive(Debug, PartialEq, Eq)]
struct Fault {
    line: usize,
    what: String,
}

impl File {
    fn new(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    /// The modules that this file is: `engine/frame/cri.rs` → `engine`, `frame`, `cri`.
    fn module(&self) -> Vec<&str> {
        let stem = self.path.trim_end_matches(".rs");
        let stem = stem.strip_suffix("/mod").unwrap_or(stem);
        stem.split('/').collect()
    }

    /// What is compiled into the program: nothing of a file that holds only tests.
    fn code(&self) -> &str {
        let only_tests = self.path.ends_with("/tests.rs") || self.path.contains("/tests/");
        if only_tests { "" } else { source::before_tests(&self.text) }
    }

    fn tokens(&self) -> Vec<Token<'_>> {
        source::tokens(self.code())
    }

    fn paths(&self) -> Vec<source::Path> {
        // `lib.rs` and `main.rs` are roots: nothing is above them.
        let module = self.module();
        let module = if matches!(module[..], ["lib"] | ["main"]) { &[] } else { &module[..] };
        source::paths(&self.tokens(), "squall", module)
    }

    /// A fault for each path that leads into this crate and that `forbidden` gives a reason against.
    fn judge(&self, forbidden: impl Fn(&[&str]) -> Option<String>) -> Vec<Fault> {
        let judge = |path: source::Path| {
            let parts: Vec<&str> = path.parts.iter().map(String::as_str).collect();
            let what = if path.local { forbidden(&parts) } else { None };
            what.map(|what| Fault { line: path.line, what })
        };
        self.paths().into_iter().filter_map(judge).collect()
    }
}

/// A top-level module uses only those that the map allows.
fn uses_only_its_own(file: &File) -> Vec<Fault> {
    let room = file.module()[0];
    if room == "lib" {
        return Vec::new();
    }
    let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == room) else {
        return vec![Fault {
            line: 1,
            what: format!("`{room}` is not on the map (MAY_USE in tests/tidy.rs)"),
        }];
    };
    file.judge(|parts| match parts.first() {
        Some(used) if *used != room && !allowed.contains(used) => {
            Some(format!("`{room}` may not use `{}`; it may use {allowed:?}", parts.join("::")))
        }
        _ => None,
    })
}

/// A stage of the engine uses only itself and earlier stages; only `engine/mod.rs` knows all.
fn stages_use_earlier_ones(file: &File) -> Vec<Fault> {
    let ["engine", stage, ..] = file.module()[..] else {
        return Vec::new();
    };
    let place = |name: &str| STAGES.iter().position(|known| *known == name);
    let Some(here) = place(stage) else {
        return vec![Fault {
            line: 1,
            what: format!("`engine::{stage}` is no stage (STAGES in tests/tidy.rs)"),
        }];
    };
    file.judge(|parts| match parts {
        ["engine", used, ..] if place(used).is_some_and(|used| used <= here) => None,
        ["engine", ..] => {
            Some(format!("stage `{stage}` may not use `{}`, only earlier stages", parts.join("::")))
        }
        _ => None,
    })
}

/// Pure modules do no I/O, start no threads and read no clock.
fn is_pure(file: &File) -> Vec<Fault> {
    if !PURE.contains(&file.module()[0]) {
        return Vec::new();
    }
    let impure = |path: &source::Path| {
        let parts: Vec<&str> = path.parts.iter().map(String::as_str).collect();
        matches!(parts[..], ["std", "fs" | "net" | "process" | "thread", ..] | ["tokio", ..])
            || parts.last() == Some(&"now")
    };
    let fault = |path: source::Path| Fault {
        line: path.line,
        what: format!("`{}` in a pure module; time and bytes are arguments", path.parts.join("::")),
    };
    file.paths().into_iter().filter(impure).map(fault).collect()
}

/// `unsafe` stays in the files where its reason is written.
fn is_safe(file: &File) -> Vec<Fault> {
    if UNSAFE.contains(&file.path.as_str()) {
        return Vec::new();
    }
    let found = source::tokens(&file.text).into_iter().filter(|token| token.text == "unsafe");
    found
        .map(|token| Fault { line: token.line, what: format!("`unsafe` outside {}", UNSAFE.join(", ")) })
        .collect()
}

/// A file begins by saying what it is for.
fn has_a_module_doc(file: &File) -> Vec<Fault> {
    let first = file.text.lines().next().unwrap_or_default();
    if first.len() > "//! ".len() && first.starts_with("//! ") {
        return Vec::new();
    }
    vec![Fault { line: 1, what: "the first line is no `//!` that says what the file is for".to_owned() }]
}

fn is_short(file: &File) -> Vec<Fault> {
    let lines = file.code().lines().count();
    if lines <= LINES_MAX {
        return Vec::new();
    }
    vec![Fault { line: LINES_MAX, what: format!("{lines} lines without tests; the limit is {LINES_MAX}") }]
}

/// Names in the repository's top folder that do not belong there.
fn strangers<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let belongs = |name: &str| name.starts_with('.') || TOP_LEVEL.contains(&name);
    names.iter().copied().filter(|name| !belongs(name)).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All `.rs` files under `src/`.
fn sources() -> Vec<File> {
    let (mut files, mut folders) = (Vec::new(), vec![root().join("src")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src/ can be read") {
            let path: PathBuf = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let name = path.strip_prefix(root().join("src")).expect("under src/").to_string_lossy();
                files.push(File::new(&name, &fs::read_to_string(&path).expect("source is text")));
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

#[test]
fn the_house_is_tidy() {
    let files = sources();
    assert!(files.iter().any(|file| file.path == "lib.rs"), "src/ was not found");
    let faults: Vec<String> = files
        .iter()
        .flat_map(|file| RULES.iter().flat_map(|rule| rule(file)).map(move |fault| (file, fault)))
        .map(|(file, Fault { line, what })| format!("src/{}:{line}: {what}", file.path))
        .collect();
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn the_top_folder_is_tidy() {
    let entries = fs::read_dir(root()).expect("the top folder can be read");
    let names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(strangers(&names), Vec::<&str>::new(), "see TOP_LEVEL in tests/tidy.rs");
}

/// How many faults a rule finds in a snippet.
#[track_caller]
fn check(rule: Rule, path: &str, text: &str, want: usize) {
    let faults = rule(&File::new(path, text));
    assert_eq!(faults.len(), want, "{path}: {text:?}: {faults:?}");
}

#[test]
fn walls_between_modules_hold() {
    let rule = uses_only_its_own;
    check(rule, "input/tail/mod.rs", "use crate::engine::chunk::Chunk;\nuse crate::units::Bytes;", 0);
    check(rule, "input/tail/mod.rs", "use crate::input::stdin;\nuse super::stdin;", 0);
    check(rule, "input/tail/mod.rs", "use crate::output::kafka;", 1);
    check(rule, "input/stdin.rs", "fn f() { super::super::config::load() }", 1);
    check(rule, "engine/mod.rs", "use crate::{units, input::{stdin, tail}};", 2);
    check(rule, "engine/mod.rs", "/// See [`crate::daemon`].\nfn f() { \"crate::daemon\" }", 0);
    check(rule, "units.rs", "use crate::engine::Engine;", 1);
    check(rule, "cli/mod.rs", "use crate::daemon::run;", 0);
    check(rule, "cli/mod.rs", "use crate::output::kafka;", 1);
    check(rule, "daemon/mod.rs", "use crate::cli;", 1);
    check(rule, "main.rs", "use squall::cli;", 0);
    check(rule, "main.rs", "use squall::daemon;", 1);
    check(rule, "helpers/mod.rs", "", 1);
    check(rule, "output/file.rs", "#[cfg(test)]\nmod tests {\n    use crate::config::load;\n}\n", 0);
    check(rule, "output/kafka/tests.rs", "use crate::config::load;", 0);
}

#[test]
fn stages_keep_their_order() {
    let rule = stages_use_earlier_ones;
    check(rule, "engine/mod.rs", "use crate::engine::record::Batch;", 0);
    check(rule, "engine/line/join.rs", "use crate::engine::frame::Frame;\nuse super::Limits;", 0);
    check(rule, "engine/line/mod.rs", "use crate::engine::storm::Limits;", 1);
    check(rule, "engine/line/mod.rs", "use super::storm::Limits;", 1);
    check(rule, "engine/line/join.rs", "use super::super::template::mask;", 1);
    check(rule, "engine/chunk.rs", "use crate::engine::{frame::Frame, line::Line};", 2);
    check(rule, "engine/storm/mod.rs", "use crate::engine::Engine;", 1);
    check(rule, "engine/storm/mod.rs", "use crate::engine;", 1);
    check(rule, "engine/record/mod.rs", "use crate::engine::storm::Summary;", 0);
    check(rule, "engine/frame/mod.rs", "use crate::engine::ledger::Ledger;", 1);
    check(rule, "engine/novelty.rs", "", 1);
    check(rule, "input/mod.rs", "use crate::engine::Engine;", 0);
}

#[test]
fn pure_modules_stay_pure() {
    check(is_pure, "engine/mod.rs", "use std::{fmt, fs, io::Write};", 1);
    check(is_pure, "engine/mod.rs", "std::net::TcpStream::connect(a); std::thread::spawn(f);", 2);
    check(is_pure, "engine/mod.rs", "let t = Instant::now(); let s = std::time::SystemTime::now();", 2);
    check(is_pure, "engine/mod.rs", "let t = jiff::Timestamp::now();", 1);
    check(is_pure, "engine/mod.rs", "use tokio::sync::mpsc;", 1);
    check(is_pure, "engine/mod.rs", "// std::fs\nfn f(now: Now) { f(now) }", 0);
    check(is_pure, "engine/mod.rs", "#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n", 0);
    check(is_pure, "daemon/clock.rs", "Instant::now()", 0);
}

#[test]
fn unsafe_code_has_its_homes() {
    check(is_safe, "engine/template/mask/avx2.rs", "unsafe { f() }", 0);
    check(is_safe, "engine/template/mask/mod.rs", "unsafe { f() }", 1);
    check(is_safe, "units.rs", "#[cfg(test)]\nmod tests {\n    unsafe fn f() {}\n}\n", 1);
    check(is_safe, "units.rs", "// unsafe\n#![deny(unsafe_code)] \"unsafe\"", 0);
}

#[test]
fn files_say_what_they_are_for() {
    check(has_a_module_doc, "units.rs", "//! Newtypes.\n", 0);
    check(has_a_module_doc, "units.rs", "use std::fmt;\n//! Newtypes.\n", 1);
    check(has_a_module_doc, "units.rs", "// Newtypes.\n", 1);
    check(has_a_module_doc, "units.rs", "//! \n", 1);
    check(has_a_module_doc, "units.rs", "", 1);
}

#[test]
fn files_stay_short() {
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    f();\n".repeat(LINES_MAX));
    check(is_short, "units.rs", &"f();\n".repeat(LINES_MAX), 0);
    check(is_short, "units.rs", &"f();\n".repeat(LINES_MAX + 1), 1);
    check(is_short, "units.rs", &format!("f();\n{tests}"), 0);
}

#[test]
fn strangers_are_seen() {
    assert_eq!(strangers(&["src", "Cargo.toml", ".ci", "notes.txt"]), ["notes.txt"]);
}
