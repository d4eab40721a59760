//! One look after the other at the same containers.
//!
//! Invariant: a share of CPU is said only of a time in which the container was there all along: not at the first look, and
//! not at the first one after it was started again, when the kernel counts from 0.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::pods::PodLog;
use super::tree::{Blind, Hierarchy, hierarchies};
use super::{CONTAINERS_MAX, Look, Sample, files};
use crate::engine::alert::container::{Container, Used};
use crate::units::{Bytes, Monotonic, Now};

/// How often containers that are in no place are looked for.
const SEARCH_EVERY: Duration = Duration::from_secs(60);

/// A container whose logs are read.
#[derive(Clone, Debug)]
pub struct Watched {
    /// What the names of its streams begin with.
    pub stream: Arc<str>,
    /// Its names, where they are known.
    pub container: Option<Arc<Container>>,
    /// Where they can be asked for, if they are not.
    pub pod_log: Option<PodLog>,
}

/// One whose id is known.
type Identified = (Arc<str>, Arc<Container>);

/// See the module.
#[derive(Debug)]
pub struct Sampler {
    root: PathBuf,
    clock: fn() -> Now,
    known: HashMap<Box<str>, Known>,
    /// The containers of logs of pods, by stream; `None` where no link told it, until the next search.
    pods: HashMap<Arc<str>, Option<Arc<Container>>>,
    /// When those that were not found were last looked for.
    searched: Option<Monotonic>,
}

/// What is remembered of a container.
#[derive(Debug, Default)]
struct Known {
    /// Its place in each hierarchy, by the hierarchy's root.
    places: HashMap<PathBuf, PathBuf>,
    /// Its CPU time, and when it was read.
    last: Option<(Monotonic, Duration)>,
    /// It was looked for, and not found.
    is_missing: bool,
}

/// What the files of a container say.
#[derive(Debug, Default)]
struct Reading {
    cpu: Option<(Monotonic, Duration)>,
    memory: Option<Bytes>,
    memory_max: Option<Bytes>,
}

impl Sampler {
    /// One that has not looked yet. `root` is the cgroup tree.
    pub fn new(root: &Path, clock: fn() -> Now) -> Sampler {
        Sampler { root: root.to_owned(), clock, known: HashMap::new(), pods: HashMap::new(), searched: None }
    }

    /// Looks at the first [`CONTAINERS_MAX`] of `watched`.
    ///
    /// # Errors
    /// When no container can be seen. Then all are forgotten.
    pub fn look(&mut self, watched: &[Watched]) -> Result<Look, Blind> {
        let mut look = Look { at: (self.clock)(), samples: Vec::new(), watched: watched.len() };
        let all = hierarchies(&self.root).inspect_err(|_| self.known.clear())?;
        let now = look.at.arrival;
        let is_due = self.searched.is_none_or(|searched| now.since(searched) >= SEARCH_EVERY);
        if is_due {
            self.searched = Some(now);
            self.pods.retain(|_, container| container.is_some());
        }
        let watched = self.identify(&watched[..watched.len().min(CONTAINERS_MAX)]);
        let ids: HashSet<&str> = watched.iter().map(|(_, container)| &*container.id).collect();
        self.known.retain(|id, _| ids.contains(&**id));
        let mut found = self.read(&all, &ids);
        let lost: HashSet<&str> = ids.into_iter().filter(|id| !found.contains_key(id)).collect();
        // At once for a container that is new or has just gone; now and then for those that were not found.
        let is_news = |id: &&str| self.known.get(*id).is_none_or(|known| !known.is_missing);
        if lost.iter().any(|id| is_due || is_news(id)) {
            self.find(&all, &lost);
            found.extend(self.read(&all, &lost));
        }
        for (stream, container) in &watched {
            let Some(reading) = found.remove(&*container.id) else { continue };
            let Some(known) = self.known.get_mut(&*container.id) else { continue };
            let cpu = share(known.last, reading.cpu);
            known.last = reading.cpu;
            let memory = reading.memory.map(|memory| memory.0 as f64);
            let (stream, container) = (Arc::clone(stream), Arc::clone(container));
            look.samples.push(Sample {
                used: Used { stream, container, cpu, memory },
                memory: reading.memory,
                cpu_time: reading.cpu.map(|(_, time)| time),
                memory_max: reading.memory_max,
            });
        }
        look.at = (self.clock)();
        Ok(look)
    }

    /// Those whose ids are known, or are told now.
    fn identify(&mut self, watched: &[Watched]) -> Vec<Identified> {
        let there: HashSet<&str> = watched.iter().map(|one| &*one.stream).collect();
        self.pods.retain(|stream, _| there.contains(&**stream));
        let mut identified = Vec::with_capacity(watched.len());
        for Watched { stream, container, pod_log } in watched {
            let told = match (container, pod_log) {
                (Some(container), _) => Some(Arc::clone(container)),
                (None, Some(log)) => {
                    let told = self.pods.entry(Arc::clone(stream));
                    told.or_insert_with(|| log.container().map(Arc::new)).clone()
                }
                (None, None) => None,
            };
            identified.extend(told.map(|container| (Arc::clone(stream), container)));
        }
        identified
    }

    /// What the files of these containers say, of those that are in some place.
    fn read<'a>(&self, all: &[Hierarchy], ids: &HashSet<&'a str>) -> HashMap<&'a str, Reading> {
        let reading = |id: &&'a str| Some((*id, self.known.get(*id)?.read(all, self.clock)?));
        ids.iter().filter_map(reading).collect()
    }

    fn find(&mut self, all: &[Hierarchy], lost: &HashSet<&str>) {
        for id in lost {
            self.known.insert((*id).into(), Known { is_missing: true, ..Known::default() });
        }
        for hierarchy in all {
            for (id, place) in hierarchy.find(lost) {
                let Some(known) = self.known.get_mut(&*id) else { continue };
                known.is_missing = false;
                known.places.insert(hierarchy.root.clone(), place);
            }
        }
    }
}

impl Known {
    /// `None` where the container is in no place any more.
    fn read(&self, all: &[Hierarchy], clock: fn() -> Now) -> Option<Reading> {
        let mut reading = Reading::default();
        let mut is_there = false;
        for hierarchy in all {
            let Some(place) = self.places.get(&hierarchy.root) else { continue };
            if hierarchy.tells_cpu {
                let time = files::cpu_time(hierarchy.version, place);
                reading.cpu = time.map(|time| (clock().arrival, time));
            }
            if hierarchy.tells_memory {
                reading.memory = files::memory(hierarchy.version, place);
                reading.memory_max = files::memory_max(hierarchy.version, place);
            }
            is_there |= place.is_dir();
        }
        is_there.then_some(reading)
    }
}

/// The share of one core between two readings.
fn share(last: Option<(Monotonic, Duration)>, now: Option<(Monotonic, Duration)>) -> Option<f64> {
    let ((then, before), (now, after)) = last.zip(now)?;
    let passed = now.since(then);
    let used = after.checked_sub(before)?;
    (!passed.is_zero()).then(|| used.as_secs_f64() / passed.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;

    use super::*;
    use crate::units::Timestamp;

    thread_local! {
        /// Seconds on both clocks.
        static NOW: Cell<u64> = const { Cell::new(0) };
    }

    fn clock() -> Now {
        let nanos = NOW.get() * 1_000_000_000;
        Now { arrival: Monotonic(nanos), wall: Timestamp(nanos as i64) }
    }

    fn watched(letter: char) -> Watched {
        let id = letter.to_string().repeat(64);
        let container = Container { id: id.clone().into(), name: "gateway".into() };
        Watched { stream: format!("node/{id}").into(), container: Some(Arc::new(container)), pod_log: None }
    }

    /// A made tree of v2.
    struct World {
        room: tempfile::TempDir,
        sampler: Sampler,
        all: Vec<Watched>,
    }

    impl World {
        fn new(letters: &str) -> World {
            let room = tempfile::tempdir().expect("a folder");
            fs::write(room.path().join("cgroup.controllers"), "cpu memory\n").expect("a file");
            NOW.set(1_000);
            let sampler = Sampler::new(room.path(), clock);
            World { room, sampler, all: letters.chars().map(watched).collect() }
        }

        /// The container's files say this.
        fn set(&self, place: &str, letter: char, millis: u64, bytes: u64) {
            let folder = self.room.path().join(place).join(letter.to_string().repeat(64));
            fs::create_dir_all(&folder).expect("a folder");
            fs::write(folder.join("cpu.stat"), format!("usage_usec {}\n", millis * 1_000)).expect("a file");
            fs::write(folder.join("memory.current"), format!("{bytes}\n")).expect("a file");
        }

        fn remove(&self, place: &str, letter: char) {
            let folder = self.room.path().join(place).join(letter.to_string().repeat(64));
            fs::remove_dir_all(folder).expect("it was there");
        }

        /// (CPU, memory) of each container that is found `seconds` later.
        fn look(&mut self, seconds: u64) -> Vec<(Option<f64>, Option<f64>)> {
            NOW.set(NOW.get() + seconds);
            let look = self.sampler.look(&self.all).expect("a tree");
            assert_eq!((look.at, look.watched), (clock(), self.all.len()));
            look.samples.iter().map(|sample| (sample.used.cpu, sample.used.memory)).collect()
        }
    }

    #[test]
    fn a_share_is_that_between_two_looks() {
        let mut world = World::new("a");
        world.set("docker", 'a', 90_000, 100);
        assert_eq!(world.look(0), [(None, Some(100.0))]);
        world.set("docker", 'a', 97_500, 200);
        assert_eq!(world.look(15), [(Some(0.5), Some(200.0))]);
        world.set("docker", 'a', 127_500, 200);
        assert_eq!(world.look(15), [(Some(2.0), Some(200.0))]);
        // Nothing has passed, so nothing is known.
        assert_eq!(world.look(0), [(None, Some(200.0))]);
    }

    #[test]
    fn a_container_that_comes_back_is_measured_anew() {
        let mut world = World::new("a");
        world.set("docker", 'a', 50_000, 100);
        world.look(0);
        // Started again between two looks: its time began anew.
        world.set("docker", 'a', 1_000, 100);
        assert_eq!(world.look(10), [(None, Some(100.0))]);
        world.set("docker", 'a', 2_000, 100);
        assert_eq!(world.look(10), [(Some(0.1), Some(100.0))]);
        world.remove("docker", 'a');
        assert_eq!(world.look(10), []);
        // Elsewhere: it is looked for a minute after the last search.
        world.set("system.slice", 'a', 3_000, 100);
        assert_eq!(world.look(10), []);
        assert_eq!(world.look(20), [(None, Some(100.0))]);
        world.set("system.slice", 'a', 4_000, 100);
        assert_eq!(world.look(10), [(Some(0.1), Some(100.0))]);
        // One that moves is found at once.
        world.remove("system.slice", 'a');
        world.set("user.slice", 'a', 5_000, 100);
        assert_eq!(world.look(10), [(None, Some(100.0))]);
    }

    #[test]
    fn what_cannot_be_read_is_not_known() {
        let mut world = World::new("ab");
        world.set("docker", 'a', 1_000, 100);
        world.set("docker", 'b', 1_000, 100);
        let folder = world.room.path().join("docker").join("a".repeat(64));
        fs::remove_file(folder.join("memory.current")).expect("it was there");
        fs::write(folder.join("cpu.stat"), "").expect("a file");
        assert_eq!(world.look(1), [(None, None), (None, Some(100.0))]);
        // A new one is looked for at once.
        world.set("docker", 'c', 1_000, 300);
        world.all.push(watched('c'));
        assert_eq!(world.look(1)[2], (None, Some(300.0)));
        fs::remove_file(world.room.path().join("cgroup.controllers")).expect("it was there");
        world.sampler.look(&world.all).expect_err("no tree any more");
    }

    #[test]
    fn the_number_of_containers_is_limited() {
        let mut world = World::new("");
        world.all = vec![watched('a'); CONTAINERS_MAX];
        world.all.push(watched('b'));
        world.set("docker", 'b', 1, 1);
        assert_eq!(world.look(1), []);
        world.all.remove(0);
        assert_eq!(world.look(1), [(None, Some(1.0))]);
    }
}
