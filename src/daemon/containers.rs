//! The containers whose logs are read, on their way to the resource watch, and what it finds on its way back.
//!
//! A source tells its container by its path or by dockerd, or is the log of a pod; one that tells none is not watched.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::wake::Wake;
use super::{StartError, clock};
use crate::config::Config;
use crate::engine::Source;
use crate::engine::alert::container::Container;
use crate::engine::chunk::OriginId;
use crate::engine::record::envelope;
use crate::resources::pods::PodLog;
use crate::resources::{Asked, Look, Sample, Watch, Watched};
use crate::status::board::Board;
use crate::status::view::{ContainerUse, ContainersView};

/// Who is told of containers, if anybody.
#[derive(Debug, Default)]
pub(super) struct Containers {
    watch: Option<Watch>,
    /// The streams of the containers of the sources that are open.
    open: HashMap<OriginId, Arc<str>>,
}

/// What is wanted of the watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Metrics are served or pushed.
    Yes,
    /// Nobody can ask.
    No,
}

impl Containers {
    /// Starts the watch where a rule asks for it or its numbers are shown.
    pub(super) fn watch(
        config: &Config,
        shown: Shown,
        board: &Arc<Board>,
        wake: &Arc<Wake>,
    ) -> Result<Containers, StartError> {
        let asked = match (config.asks_for_resources(), shown) {
            (true, _) => Asked::ByRules,
            (false, Shown::Yes) => Asked::ToShow,
            (false, Shown::No) => return Ok(Containers::default()),
        };
        let (board, wake) = (Arc::clone(board), Arc::clone(wake));
        let show = move |look: &Look| board.publish_containers(view(look));
        let watch = Watch::start(&config.resources, asked, clock::now, show, move || wake.raise());
        let watch = watch.map_err(|source| StartError::System { action: "start a thread", source })?;
        Ok(Containers { watch: Some(watch), open: HashMap::new() })
    }

    /// A source of this container is open from now on.
    pub(super) fn open(&mut self, origin: OriginId, watched: Option<Watched>) {
        let (Some(watch), Some(watched)) = (&self.watch, watched) else { return };
        self.open.insert(origin, Arc::clone(&watched.stream));
        watch.open(watched);
    }

    /// And not any more.
    pub(super) fn close(&mut self, origin: OriginId) {
        if let (Some(watch), Some(stream)) = (&self.watch, self.open.remove(&origin)) {
            watch.close(&stream);
        }
    }

    /// What rules are to see, where there is something new.
    pub(super) fn take(&self) -> Option<Look> {
        self.watch.as_ref()?.take()
    }
}

/// The container that a source tells, or whose pod may.
pub(super) fn told_by(source: &Source) -> Option<Watched> {
    let known = |envelope::Container { id, name, .. }: &envelope::Container| {
        Arc::new(Container { id: id.as_str().into(), name: name.as_str().into() })
    };
    let container = source.place.container.as_ref().map(known);
    let pod_log = source.place.path.as_deref().and_then(|path| PodLog::at(Path::new(path)));
    let is_told = container.is_some() || pod_log.is_some();
    is_told.then(|| Watched { stream: Arc::from(source.name.as_str()), container, pod_log })
}

fn view(look: &Look) -> ContainersView {
    let measured = |sample: &Sample| ContainerUse {
        id: sample.used.container.id.to_string(),
        name: sample.used.container.name.to_string(),
        cpu: sample.used.cpu,
        cpu_time: sample.cpu_time,
        memory: sample.memory,
        memory_max: sample.memory_max,
    };
    ContainersView { watched: look.watched, measured: look.samples.iter().map(measured).collect() }
}
