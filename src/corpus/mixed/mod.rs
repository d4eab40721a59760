//! Mixed lines: what a fleet of different programs writes, none of it twice.
//!
//! Each line is drawn from one of the templates in `programs`, all with the same chance. Every template holds a
//! number that no other line has, so nothing here is a repeat: it is the corpus to measure plain shipping on.
//! A line wrapped as json-file has about 209 bytes.

mod programs;

use super::template::{Scene, Template};
use crate::units::Timestamp;

/// Makes mixed lines without end.
#[derive(Clone, Debug)]
pub struct Mixed {
    scene: Scene,
    templates: Vec<Template>,
}

impl Mixed {
    /// The lines of this seed, from its first one.
    pub fn new(seed: u64) -> Mixed {
        let templates = programs::TEMPLATES.iter().map(|template| Template::parse(template)).collect();
        Mixed { scene: Scene::new(seed, START), templates }
    }

    /// Replaces `text` with the next line, without its newline, and returns the time that it was written.
    pub fn next_into(&mut self, text: &mut Vec<u8>) -> Timestamp {
        text.clear();
        let scene = &mut self.scene;
        scene.time.0 += 1 + scene.random.below(GAP_MAX) as i64;
        scene.random.pick(&self.templates).render(text, scene);
        scene.time
    }
}

/// 2026-02-06, the day of the incident.
const START: Timestamp = Timestamp(1_770_336_000 * Timestamp::SECOND);

/// The longest time between two lines in nanoseconds: about 500 lines a second from the whole fleet.
const GAP_MAX: u64 = 4_000_000;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::corpus::mixed_file;
    use crate::units::Bytes;

    #[test]
    fn no_line_comes_twice() {
        let mut mixed = Mixed::new(1);
        assert!(mixed.templates.iter().all(Template::is_unique));
        assert_eq!(HashSet::from(programs::TEMPLATES).len(), programs::TEMPLATES.len());
        let (mut text, mut seen) = (Vec::new(), HashSet::new());
        for _ in 0..100_000 {
            mixed.next_into(&mut text);
            assert!(!text.contains(&b'\n'));
            assert!(seen.insert(text.clone()), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn time_goes_on_and_the_seed_decides() {
        #[track_caller]
        fn times(seed: u64) -> Vec<(Timestamp, Vec<u8>)> {
            let (mut mixed, mut text) = (Mixed::new(seed), Vec::new());
            (0..1_000).map(|_| (mixed.next_into(&mut text), text.clone())).collect()
        }
        let lines = times(4);
        assert!(lines.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(lines, times(4));
        assert_ne!(lines, times(5));
    }

    #[test]
    fn lines_have_the_fleets_size() {
        let file = mixed_file(3, Bytes(4_000_000));
        let lines = file.iter().filter(|byte| **byte == b'\n').count();
        let mean = file.len() as f64 / lines as f64;
        assert!((207.0..211.0).contains(&mean), "{mean} bytes a line");
        assert!((4_000_000..4_010_000).contains(&file.len()) && file.ends_with(b"\n"));
    }
}
