//! A sidecar whose log is quiet is quiet too.

use std::fs;

use rustix::process::Signal;

use crate::support::process::{Running, squall};

/// Both threads wake up about once a second when there is nothing to do, so the one is the other's clock.
#[test]
fn a_quiet_log_leaves_the_output_thread_asleep() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("app.log"), "one\n").expect("a log");
    let args = ["run", "--tail", "app.log", "--to", "file:out"];
    let mut sidecar = Running::start(&mut squall(folder.path(), args));
    let out = folder.path().join("out");
    sidecar.wait_until("the record", |_| fs::read(&out).is_ok_and(|out| out.ends_with(b"\n")));
    let sleeps = |sidecar: &Running| {
        ["squall-data", "squall-output"].map(|thread| sidecar.sleeps(thread).expect("a thread"))
    };
    // The ack cursor and the first looks at a new file come later than the record.
    let mut first = sleeps(&sidecar);
    sidecar.wait_until("the settling", |sidecar| sleeps(sidecar)[0] >= first[0] + 5);
    first = sleeps(&sidecar);
    sidecar.wait_until("some seconds", |sidecar| sleeps(sidecar)[0] >= first[0] + 5);
    let [data, output] = [0, 1].map(|thread| sleeps(&sidecar)[thread] - first[thread]);
    assert!(output <= 2 * data + 3, "the data thread woke {data} times, the output thread {output} times");
    sidecar.signal(Signal::TERM);
    sidecar.end().expect_code(0);
}
