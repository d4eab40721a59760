//! What containers use: CPU and memory, from the files of the host's cgroup tree, v2 or v1.
//!
//! In: the containers whose logs are read, by id, and a tree that may be mounted read-only. No socket of Docker's is asked.
//! Out: a [`Sample`] of each at a pace ([`Watch`]).
//! A container's place in the tree is where its id stands in a directory's name ([`tree`]); it is remembered, and looked
//! for again when it is gone. What cannot be read is `None`, never 0.
//! Memory is the working set, as `docker stats` and the kubelet count it: what is in use without the file cache that
//! the kernel would give back first (`inactive_file`).
//! Limits: [`CONTAINERS_MAX`] containers, the first ones; a walk of [`tree::DIRECTORIES_MAX`] directories, at most once a
//! minute for containers that are in no place (they may have stopped).
//! Not here: rules (`engine::alert`), metrics (`status`).

mod files;
pub mod pods;
mod sampler;
pub mod tree;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use crate::engine::alert::container::Used;
use crate::units::{Bytes, Now};

pub use self::sampler::{Sampler, Watched};
pub use self::watch::{Asked, Watch};

/// Containers that are measured.
pub const CONTAINERS_MAX: usize = 1_000;

/// Where and how often (`resources`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The host's cgroup tree.
    pub cgroup: PathBuf,
    /// The pace.
    pub every: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options { cgroup: PathBuf::from("/sys/fs/cgroup"), every: Duration::from_secs(15) }
    }
}

/// What one container uses.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// As rules see it.
    pub used: Used,
    /// The CPU time of all its processes since it began.
    pub cpu_time: Option<Duration>,
    /// Its working set.
    pub memory: Option<Bytes>,
    /// The memory at which the kernel ends its processes; `None` where there is no limit.
    pub memory_max: Option<Bytes>,
}

/// The samples of one look at all containers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    /// When.
    pub at: Now,
    /// What was found.
    pub samples: Vec<Sample>,
    /// Containers whose logs are read, those among them that are unknown, not found, or too many.
    pub watched: usize,
}
