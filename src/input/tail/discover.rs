//! Which paths do the globs name right now, and which directories must be watched to hear of new ones?
//!
//! The walk is our own, because the `glob` crate's passes over names that are not UTF-8; its patterns serve one path
//! component at a time. A component is matched in its lossy form, so `*` and `?` match any byte.
//! `**` goes into real directories only: a symbolic link in the tree cannot make the walk go round in circles.
//! Limit: `MATCHES_MAX` paths and `DEPTH_MAX` levels; what is beyond is a [`Fault`], never silence.
//! Not here: what a path leads to (`identity`), which paths belong together (`family`).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, FileType};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use glob::{MatchOptions, Pattern};

use super::{Options, TailError};

/// The globs of [`Options`], taken apart.
pub(super) struct Globs {
    include: Vec<Vec<Part>>,
    exclude: Vec<Vec<Part>>,
}

/// One path component of a glob.
enum Part {
    /// No wildcard in it: also the root and `..`.
    Literal(OsString),
    Pattern(Pattern),
    /// `**`: any number of directories, none included.
    AnyDepth,
}

impl Part {
    fn matches(&self, name: &OsStr) -> bool {
        match self {
            Part::Literal(literal) => literal == name,
            Part::Pattern(pattern) => pattern.matches_with(&name.to_string_lossy(), MATCHING),
            Part::AnyDepth => true,
        }
    }
}

/// A place that could not be looked at.
pub(super) struct Fault {
    pub(super) path: PathBuf,
    pub(super) reason: String,
}

impl Fault {
    pub(super) fn new(path: &Path, action: &str, error: &io::Error) -> Fault {
        Fault { path: path.to_owned(), reason: format!("cannot {action}: {error}") }
    }
}

impl Globs {
    /// Reads the globs, or says which one is wrong and where.
    pub(super) fn new(options: &Options) -> Result<Globs, TailError> {
        let all = |globs: &[String]| globs.iter().map(|glob| parts(glob)).collect::<Result<Vec<_>, _>>();
        let mut exclude = all(&options.exclude)?;
        for glob in exclude.iter_mut().filter(|glob| glob.len() == 1) {
            // A name without a directory (`*.gz`) is meant wherever it occurs.
            glob.insert(0, Part::AnyDepth);
        }
        Ok(Globs { include: all(&options.include)?, exclude })
    }

    /// Whether `path` is to be followed by its name: included and not excluded.
    pub(super) fn cover(&self, path: &Path) -> bool {
        let names = names(path);
        self.include.iter().any(|glob| covers(glob, &names)) && !self.exclude(path)
    }

    /// Whether `path` is to be left out by its name.
    pub(super) fn exclude(&self, path: &Path) -> bool {
        let names = names(path);
        self.exclude.iter().any(|glob| covers(glob, &names))
    }

    /// Looks at the file system.
    pub(super) fn walk(&self) -> Walk {
        let mut walk = Walk::default();
        for glob in &self.include {
            walk.descend(Path::new(""), glob, 0);
        }
        walk.matches.retain(|path| !self.exclude(path));
        walk
    }
}

/// One look at the file system.
#[derive(Default)]
pub(super) struct Walk {
    /// The paths that the globs name, existing at the time, whatever they lead to.
    pub(super) matches: BTreeSet<PathBuf>,
    /// The directories in which a new name could matter.
    pub(super) directories: BTreeSet<PathBuf>,
    /// What could not be looked at.
    pub(super) faults: Vec<Fault>,
    listings: BTreeMap<PathBuf, Listing>,
}

/// The names in a directory.
pub(super) type Listing = Rc<[(OsString, FileType)]>;

impl Walk {
    /// The names in `directory`, read at most once per walk.
    pub(super) fn list(&mut self, directory: &Path) -> Listing {
        if let Some(listing) = self.listings.get(directory) {
            return Rc::clone(listing);
        }
        self.watch(directory);
        let listing = list(directory).unwrap_or_else(|error| {
            if !is_absence(&error) {
                self.faults.push(Fault::new(directory, "list", &error));
            }
            Rc::from([])
        });
        self.listings.insert(directory.to_owned(), Rc::clone(&listing));
        listing
    }

    fn descend(&mut self, directory: &Path, glob: &[Part], depth: usize) {
        let Some((part, rest)) = glob.split_first() else { return };
        match part {
            Part::Literal(name) if rest.is_empty() => self.look_at(directory.join(name)),
            Part::Literal(name) => self.descend(&directory.join(name), rest, depth),
            Part::Pattern(_) => {
                for (name, kind) in self.list(here(directory)).iter().filter(|(name, _)| part.matches(name)) {
                    if rest.is_empty() {
                        self.add(directory.join(name));
                    } else if kind.is_dir() || kind.is_symlink() {
                        self.descend(&directory.join(name), rest, depth);
                    }
                }
            }
            Part::AnyDepth if depth == DEPTH_MAX => {
                let reason = format!("lies deeper than {DEPTH_MAX} directories");
                self.faults.push(Fault { path: directory.to_owned(), reason });
            }
            Part::AnyDepth => {
                self.descend(directory, rest, depth);
                for (name, _) in self.list(here(directory)).iter().filter(|(_, kind)| kind.is_dir()) {
                    self.descend(&directory.join(name), glob, depth + 1);
                }
            }
        }
    }

    fn look_at(&mut self, path: PathBuf) {
        self.watch(parent(&path));
        match fs::symlink_metadata(&path) {
            Ok(_) => self.add(path),
            Err(error) if is_absence(&error) => {}
            Err(error) => self.faults.push(Fault::new(&path, "look at", &error)),
        }
    }

    fn add(&mut self, path: PathBuf) {
        if self.matches.len() < MATCHES_MAX {
            self.matches.insert(path);
        } else if !self.matches.contains(&path) {
            let reason = format!("is left out: more than {MATCHES_MAX} paths match");
            self.faults.push(Fault { path: parent(&path).to_owned(), reason });
        }
    }

    /// Watches `directory`, or the nearest one above it that exists: the missing one will appear there.
    pub(super) fn watch(&mut self, directory: &Path) {
        let mut nearest = here(directory);
        while !self.directories.contains(nearest) && !nearest.is_dir() {
            match nearest.parent() {
                Some(above) => nearest = here(above),
                None => return,
            }
        }
        self.directories.insert(nearest.to_owned());
    }
}

/// Reads a directory. Names that vanish while we read are left out.
pub(super) fn list(directory: &Path) -> io::Result<Listing> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if let Ok(kind) = entry.file_type() {
            names.push((entry.file_name(), kind));
        }
    }
    Ok(names.into())
}

/// The directory in which `path` lies.
pub(super) fn parent(path: &Path) -> &Path {
    here(path.parent().unwrap_or(Path::new("")))
}

/// Whether the error says that nothing is there.
pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The empty path is the working directory, but the system calls want to see it written.
fn here(directory: &Path) -> &Path {
    if directory.as_os_str().is_empty() { Path::new(".") } else { directory }
}

fn names(path: &Path) -> Vec<&OsStr> {
    path.components().filter(|part| *part != Component::CurDir).map(Component::as_os_str).collect()
}

fn covers(glob: &[Part], names: &[&OsStr]) -> bool {
    match (glob.split_first(), names.split_first()) {
        (None, None) => true,
        (Some((Part::AnyDepth, rest)), _) => (0..=names.len()).any(|skipped| covers(rest, &names[skipped..])),
        (Some((part, glob)), Some((name, names))) => part.matches(name) && covers(glob, names),
        _ => false,
    }
}

fn parts(glob: &str) -> Result<Vec<Part>, TailError> {
    let bad = |reason: &str| TailError::BadGlob { glob: glob.to_owned(), reason: reason.to_owned() };
    let mut parts: Vec<Part> = Vec::new();
    for name in names(Path::new(glob)) {
        let name = name.to_string_lossy();
        match name.as_ref() {
            "**" if matches!(parts.last(), Some(Part::AnyDepth)) => {}
            "**" => parts.push(Part::AnyDepth),
            name if name.contains(['*', '?', '[']) => {
                parts.push(Part::Pattern(Pattern::new(name).map_err(|error| bad(error.msg))?));
            }
            name => parts.push(Part::Literal(name.into())),
        }
    }
    match parts.last() {
        None => Err(bad("it names nothing")),
        Some(Part::AnyDepth) => {
            // `dir/**` means every file below, as in the shell.
            parts.push(Part::Pattern(Pattern::new("*").map_err(|error| bad(error.msg))?));
            Ok(parts)
        }
        Some(_) => Ok(parts),
    }
}

/// Bounds the memory for followed files; each takes less than a kilobyte.
const MATCHES_MAX: usize = 65_536;
/// How deep `**` goes.
const DEPTH_MAX: usize = 64;
const MATCHING: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

#[cfg(test)]
mod tests {
    use super::*;

    fn globs(include: &[&str], exclude: &[&str]) -> Result<Globs, TailError> {
        let owned = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect();
        Globs::new(&Options { include: owned(include), exclude: owned(exclude), ..Options::default() })
    }

    #[test]
    fn names_are_covered() {
        #[track_caller]
        fn check(include: &str, exclude: &[&str], path: &str, want: bool) {
            assert_eq!(globs(&[include], exclude).unwrap().cover(Path::new(path)), want, "{include} {path}");
        }
        check("/a/*.log", &[], "/a/x.log", true);
        check("/a/*.log", &[], "/a/b/x.log", false);
        check("/a/**/*.log", &[], "/a/x.log", true);
        check("/a/**/*.log", &[], "/a/b/c/x.log", true);
        check("/a/**", &[], "/a/b/c", true);
        check("/a/[xy].log", &[], "/a/y.log", true);
        check("./a/*.log", &[], "a/x.log", true);
        check("/a/x.log", &[], "/a/x.log", true);
        check("/a/*", &["*.gz"], "/a/x.gz", false);
        check("/a/*", &["/a/x*"], "/a/x1", false);
        check("/a/*", &["/b/x*"], "/a/x1", true);
    }

    #[test]
    fn a_bad_glob_is_named() {
        #[track_caller]
        fn check(glob: &str) {
            let TailError::BadGlob { glob: named, .. } = globs(&[glob], &[]).err().expect("an error");
            assert_eq!(named, glob);
        }
        check("/a/[x.log");
        check("/a/**b/x");
        check("");
    }

    #[test]
    fn the_walk_finds_files_and_what_to_watch() {
        let room = tempfile::tempdir().unwrap();
        let path = |name: &str| room.path().join(name);
        fs::create_dir_all(path("a/b")).unwrap();
        for name in ["a/1.log", "a/b/2.log", "a/b/3.txt"] {
            fs::write(path(name), "").unwrap();
        }
        std::os::unix::fs::symlink(path("a"), path("a/b/round")).unwrap();
        let found = |glob: &str| {
            let walk = globs(&[&path(glob).to_string_lossy()], &["3*"]).unwrap().walk();
            assert!(walk.faults.is_empty());
            (walk.matches.into_iter().collect::<Vec<_>>(), walk.directories.into_iter().collect::<Vec<_>>())
        };
        assert_eq!(found("a/*.log"), (vec![path("a/1.log")], vec![path("a")]));
        assert_eq!(
            found("a/**/*.log"),
            (vec![path("a/1.log"), path("a/b/2.log")], vec![path("a"), path("a/b")])
        );
        assert_eq!(found("a/*/2.log"), (vec![path("a/b/2.log")], vec![path("a"), path("a/b")]));
        assert_eq!(found("a/*/[23]*"), (vec![path("a/b/2.log")], vec![path("a"), path("a/b")]));
        assert_eq!(found("missing/x/*.log"), (vec![], vec![room.path().to_owned()]));
        assert_eq!(found("missing/x/y.log"), (vec![], vec![room.path().to_owned()]));
    }
}
