//! One input at the data thread: what an input says becomes what the engine takes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::data::Intake;
use super::epoch::Epoch;
use super::feedback::Tell;
use crate::config;
use crate::engine::Source;
use crate::engine::chunk::{Chunk, OriginId};
use crate::engine::frame::Format;
use crate::engine::line;
use crate::engine::record::envelope::{Container, Place};
use crate::engine::record::{Lost, Reason};
use crate::engine::state::Position;
use crate::engine::storm::Collapse;
use crate::input::docker_driver::follow::{self as fifos, Follow, Mode};
use crate::input::docker_driver::info::Described;
use crate::input::stdin::{self, Stdin};
use crate::input::tail::{self, SourceId, Tail};
use crate::units::{Bytes, Monotonic, Now};

/// What all sources of one input share.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The machine's name, which stream names begin with.
    pub node: String,
    /// How bytes are wrapped.
    pub format: Format,
    /// How far lines are folded.
    pub collapse: Collapse,
    /// Labels on each record.
    pub labels: Vec<(String, String)>,
    /// The limits of lines.
    pub line: line::Limits,
    /// The input ends by itself; what cannot be read by then was not read at all.
    pub ends: bool,
}

/// An input and the sources it has opened.
pub struct Reader {
    input: Input,
    settings: Settings,
    /// The engine's origin for each of the input's sources. A pipe is source 0.
    origins: HashMap<SourceId, OriginId>,
    /// Why the input could not be read to its end.
    broken: Option<String>,
    /// It has been looked at.
    looked: bool,
}

enum Input {
    Tail(Box<Tail>),
    Stdin(Stdin),
    Fifos(Box<Follow>),
}

/// What one look brought.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The share was used up.
    pub more: bool,
    /// Nothing will ever come again.
    pub done: bool,
    /// When to look again although nothing wakes us.
    pub next_look: Option<Monotonic>,
}

impl Reader {
    /// Reads followed files.
    pub fn tail(tail: Tail, settings: Settings) -> Reader {
        Reader::new(Input::Tail(Box::new(tail)), settings)
    }

    /// Reads a pipe.
    pub fn stdin(stdin: Stdin, settings: Settings) -> Reader {
        Reader::new(Input::Stdin(stdin), settings)
    }

    /// Reads what dockerd writes.
    pub fn fifos(fifos: Follow, settings: Settings) -> Reader {
        Reader::new(Input::Fifos(Box::new(fifos)), settings)
    }

    fn new(input: Input, settings: Settings) -> Reader {
        Reader { input, settings, origins: HashMap::new(), broken: None, looked: false }
    }

    /// The FIFOs, if it reads any.
    pub fn as_fifos(&mut self) -> Option<&mut Follow> {
        match &mut self.input {
            Input::Fifos(fifos) => Some(fifos),
            Input::Tail(_) | Input::Stdin(_) => None,
        }
    }

    /// Files that were found so far, also those that were read before this start; a pipe is one, also when nothing comes
    /// out of it.
    pub fn sources(&self) -> usize {
        match &self.input {
            Input::Tail(tail) => self.origins.len().max(tail.files_known()),
            Input::Stdin(_) => 1,
            Input::Fifos(_) => self.origins.len(),
        }
    }

    /// Whether what is not committed can be read once more.
    pub fn rereads(&self) -> bool {
        matches!(self.input, Input::Tail(_))
    }

    /// Makes the next look one at everything that is known: what was written a moment ago may not have been heard of.
    pub fn rouse(&mut self) {
        if let Input::Tail(tail) = &mut self.input {
            tail.rouse_all();
        }
    }

    /// Why the input could not be read to its end.
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// Takes those of the saved positions that are of its files, and leaves the others.
    pub fn resume(&mut self, saved: Vec<Position>) -> Vec<Position> {
        match &mut self.input {
            Input::Tail(tail) => tail.resume(saved),
            Input::Stdin(_) | Input::Fifos(_) => saved,
        }
    }

    /// How far each file was read that was read since the last call. Reading goes on behind the last line that was
    /// accepted, so the caller must not have been interrupted between reading and the engine.
    pub fn positions(&mut self, intake: &Intake, epoch: &mut Epoch) {
        if let Input::Fifos(fifos) = &mut self.input {
            fifos.tell(&mut epoch.blocks, &mut epoch.blocks_gone);
        }
        let Reader { input: Input::Tail(tail), origins, .. } = self else { return };
        let unfinished = |source| origins.get(&source).and_then(|origin| intake.unfinished(*origin));
        tail.positions(unfinished, &mut |moved| match moved {
            tail::Moved::To(position) => epoch.positions.push(position),
            tail::Moved::Gone(file) => epoch.positions_gone.push(file),
        });
    }

    /// Takes at most `share` from the input into the engine. FIFOs have a share of their own, and `mode` says what happens
    /// to it.
    pub fn poll(&mut self, now: Now, share: Bytes, mode: Mode, intake: &mut Intake) -> Progress {
        let Reader { input, settings, origins, broken, looked } = self;
        match input {
            Input::Tail(tail) => {
                let is_first = !std::mem::replace(looked, true);
                let progress = tail.poll(now, share, &mut |event| {
                    if let tail::Event::Refused { path, reason } = &event
                        && settings.ends
                        && was_wanted(path)
                    {
                        *broken = Some(format!("{}: {reason}", path.display()));
                    }
                    on_tail(event, settings, origins, intake, now);
                });
                if is_first && tail.files_known() == 0 {
                    tracing::info!(include = %tail.include().join(" "), "no file matches yet");
                }
                Progress { more: progress.more, done: progress.done, next_look: Some(tail.next_look()) }
            }
            Input::Stdin(stdin) => {
                let progress = stdin.poll(share, &mut |event| match event {
                    stdin::Event::Data { offset, bytes } => {
                        let origin =
                            *origins.entry(SourceId(0)).or_insert_with(|| intake.open(pipe_source(settings)));
                        intake.data(Chunk { origin, offset, bytes }, now);
                    }
                    stdin::Event::Failed { reason } => *broken = Some(reason),
                });
                if progress.done {
                    origins.values().for_each(|origin| intake.end_generation(*origin, now));
                }
                Progress { more: progress.more, done: progress.done, next_look: None }
            }
            Input::Fifos(fifos) => {
                let looked =
                    fifos.poll(now, mode, &mut |event| on_fifo(event, settings, origins, intake, now));
                Progress { more: false, done: false, next_look: looked.next_look }
            }
        }
    }
}

/// Whether somebody who wrote the glob meant this file: a folder or device that a `*` also matches is no loss.
fn was_wanted(path: &Path) -> bool {
    path.metadata().map_or(true, |metadata| metadata.is_file())
}

fn on_tail(
    event: tail::Event<'_>,
    settings: &Settings,
    origins: &mut HashMap<SourceId, OriginId>,
    intake: &mut Intake,
    now: Now,
) {
    use tail::{Event, Loss};
    match event {
        Event::Opened { source, path } => {
            origins.insert(source, intake.open(file_source(path, settings)));
        }
        Event::Data { source, offset, bytes } => {
            intake.data(Chunk { origin: origins[&source], offset, bytes }, now);
        }
        Event::GenerationEnded { source } => intake.end_generation(origins[&source], now),
        Event::Lost { source, why, path, lost, read, .. } => {
            let path = path.display();
            if lost > Bytes(0) {
                tracing::error!(%path, ?why, read, lost_bytes = lost.0, "bytes were gone before they were read");
            } else {
                tracing::warn!(%path, ?why, read, "gone; what was written since it was last read, if anything, is lost");
            }
            let reason = if why == Loss::Truncated { Reason::Truncated } else { Reason::Vanished };
            intake.lost(origins[&source], reason, lost, now);
        }
        Event::Skipped { nuls, .. } => {
            tracing::warn!(nuls = nuls.0, "a file begins with NULs; they are skipped")
        }
        Event::Closed { source } => intake.close(origins[&source], now),
        Event::Refused { path, reason } => {
            tracing::warn!(path = %path.display(), reason, "cannot read a matched file")
        }
    }
}

fn on_fifo(
    event: fifos::Event<'_>,
    settings: &Settings,
    origins: &mut HashMap<SourceId, OriginId>,
    intake: &mut Intake,
    now: Now,
) {
    use fifos::Event;
    match event {
        Event::Opened { source, described } => {
            if described.lossy {
                let container = &described.name;
                tracing::warn!(
                    container,
                    "mode=non-blocking: dockerd drops lines without a word when it must"
                );
            }
            origins.insert(SourceId(source), intake.open(container_source(described, settings)));
        }
        Event::Data { source, offset, bytes } => {
            intake.data(Chunk { origin: origins[&SourceId(source)], offset, bytes }, now);
        }
        Event::Ended { source } => intake.end_generation(origins[&SourceId(source)], now),
        Event::Closed { source } => {
            if let Some(origin) = origins.remove(&SourceId(source)) {
                intake.close(origin, now);
            }
        }
        Event::Vanished { described } => {
            let message = format!(
                "the FIFO of container {} ({}) was gone when squall started again; lines that were still in it are lost",
                described.name, described.container
            );
            intake.tell(&Tell::about_us(Reason::Vanished, message, Lost::default()), now);
        }
        Event::Uncounted { lines, bytes } => {
            let message = format!(
                "{lines} lines were read and thrown away: the outbox took nothing, and memory was full"
            );
            let lost = Lost { lines: Some(lines), bytes: Some(bytes), records: None };
            intake.tell(&Tell::about_us(Reason::Shed, message, lost), now);
        }
    }
}

/// A container as dockerd describes it.
fn container_source(described: &Described, settings: &Settings) -> Source {
    let Described { container, name, image, labels, lossy, first, summary_every, topic, config } = described;
    let own = config.as_deref().and_then(|config| own_settings(name, config, settings));
    let mut source = source(own.as_ref().unwrap_or(settings));
    source.name = format!("{}/{container}", settings.node);
    source.format = Format::DockerEntry;
    // What is not read yet stays in the FIFO, and so does what a stop leaves unfinished.
    source.stays = true;
    source.place.container =
        Some(Container { id: container.clone(), name: name.clone(), image: image.clone() });
    source.place.labels.retain(|(own, _)| !labels.iter().any(|(label, _)| label == own));
    source.place.labels.extend(labels.iter().cloned());
    source.place.lossy = *lossy;
    source.place.topic = topic.as_deref().map(Arc::from);
    (source.folding.first, source.folding.summary_every) = (*first, *summary_every);
    source
}

/// The settings of a container that has some for itself.
fn own_settings(name: &str, config: &str, settings: &Settings) -> Option<Settings> {
    match config::Container::parse("squall-config", config) {
        Ok(config::Container { input, .. }) => {
            let mut own = settings.clone();
            own.labels.retain(|(label, _)| !input.labels.iter().any(|(given, _)| given == label));
            own.labels.extend(input.labels);
            (own.line.timezone, own.line.multiline) = (input.timezone, input.multiline);
            Some(Settings { collapse: input.collapse, ..own })
        }
        // It was good when the container began, before squall was another version.
        Err(fault) => {
            tracing::warn!(container = name, "the container's own config is not followed: {fault}");
            None
        }
    }
}

fn source(settings: &Settings) -> Source {
    Source {
        name: String::new(),
        place: Place { labels: settings.labels.clone(), ..Place::default() },
        format: settings.format,
        folding: settings.collapse.into(),
        line: settings.line.clone(),
        stays: false,
    }
}

/// Standard input.
pub fn pipe_source(settings: &Settings) -> Source {
    Source { name: format!("{}/stdin", settings.node), ..source(settings) }
}

/// A followed file. Docker and Kubernetes tell the container in the path; then the stream is the container's, so
/// that it stays the same when the file is rotated or moved.
pub fn file_source(path: &Path, settings: &Settings) -> Source {
    let shown = path.display().to_string();
    let container = container_of(path);
    let name = match &container {
        Some(container) => format!("{}/{}", settings.node, container.id),
        None => format!("{}:{shown}", settings.node),
    };
    let mut source = Source { name, stays: true, ..source(settings) };
    source.place.path = Some(shown);
    source.place.container = container;
    source
}

/// What the path of a container's log tells: `…/containers/<64 hex>/<64 hex>-json.log` as dockerd writes it,
/// `…/containers/<pod>_<namespace>_<container>-<64 hex>.log` as the kubelet links it.
fn container_of(path: &Path) -> Option<Container> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".log")?;
    if let Some(id) = stem.strip_suffix("-json")
        && is_container_id(id)
    {
        return Some(Container { id: id.to_owned(), ..Container::default() });
    }
    let (pod_and_name, id) = stem.rsplit_once('-')?;
    let name = pod_and_name.rsplit_once('_')?.1;
    is_container_id(id).then(|| Container {
        id: id.to_owned(),
        name: name.to_owned(),
        ..Container::default()
    })
}

fn is_container_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_in_paths() {
        #[track_caller]
        fn check(path: &str, want: Option<(&str, &str)>) {
            let found = container_of(Path::new(path));
            assert_eq!(found.as_ref().map(|found| (found.id.as_str(), found.name.as_str())), want, "{path}");
        }
        let id = "0123456789abcdef".repeat(4);
        check(&format!("/var/lib/docker/containers/{id}/{id}-json.log"), Some((&id, "")));
        check(&format!("/var/log/containers/gw-5d_default_api-gateway-{id}.log"), Some((&id, "api-gateway")));
        check("/var/log/nginx/access.log", None);
        check("/var/log/pods/default_gw_uid/api/0.log", None);
        check("/", None);
    }
}
