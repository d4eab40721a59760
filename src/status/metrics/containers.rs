//! What the containers use whose logs are read.
//!
//! Limit: as many containers as are measured (`ContainersView::measured`), four samples each.

use super::text::{Label, Page};
use crate::status::view::{ContainerUse, ContainersView};

/// Writes what is known; a container of which nothing is has no samples.
pub(super) fn write(page: &mut Page, view: &ContainersView) {
    let help = "Containers whose logs are read, as far as their logs tell.";
    page.gauge("squall_containers", help, view.watched);
    let help = "Those of them that are found in the cgroup tree.";
    page.gauge("squall_containers_measured", help, view.measured.len());
    let seconds = |one: &ContainerUse| one.cpu_time.map(|time| time.as_secs_f64());
    let help = "CPU time that the container has used.";
    let rows = rows(view, seconds);
    page.counters("squall_container_cpu_seconds_total", help, borrowed(&rows));
    let help = "The share of one core that the container has used between the last two looks.";
    let rows = self::rows(view, |one| one.cpu);
    page.gauges("squall_container_cpu_ratio", help, borrowed(&rows));
    let help = "Memory of the container without the file cache that is given back first.";
    let rows = self::rows(view, |one| one.memory);
    page.gauges("squall_container_memory_working_set_bytes", help, borrowed(&rows));
    let help = "The most memory that the container may use, where there is a limit.";
    let rows = self::rows(view, |one| one.memory_max);
    page.gauges("squall_container_memory_max_bytes", help, borrowed(&rows));
}

type Row<'a, V> = ([Label<'a>; 2], V);

fn rows<V>(view: &ContainersView, value: impl Fn(&ContainerUse) -> Option<V>) -> Vec<Row<'_, V>> {
    view.measured.iter().filter_map(|one| Some((labels(one), value(one)?))).collect()
}

fn labels(one: &ContainerUse) -> [Label<'_>; 2] {
    [("container_id", &one.id), ("container", &one.name)]
}

fn borrowed<'a, V: Copy>(rows: &'a [Row<'a, V>]) -> impl Iterator<Item = (&'a [Label<'a>], V)> {
    rows.iter().map(|(labels, value)| (labels.as_slice(), *value))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::status::metrics::Format;
    use crate::units::Bytes;

    #[test]
    fn what_is_not_known_is_left_out() {
        let mut page = Page::new(Format::Prometheus);
        let known = ContainerUse {
            id: "a1".to_owned(),
            name: "gateway".to_owned(),
            cpu: Some(1.028),
            cpu_time: Some(Duration::from_millis(97_500)),
            memory: Some(Bytes(10_984_460_779)),
            memory_max: None,
        };
        let blank = ContainerUse { id: "b2".to_owned(), ..ContainerUse::default() };
        write(&mut page, &ContainersView { watched: 3, measured: vec![known, blank] });
        let text = page.finish();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let want = [
            "squall_containers 3",
            "squall_containers_measured 2",
            "squall_container_cpu_seconds_total{container_id=\"a1\",container=\"gateway\"} 97.5",
            "squall_container_cpu_ratio{container_id=\"a1\",container=\"gateway\"} 1.028",
            "squall_container_memory_working_set_bytes{container_id=\"a1\",container=\"gateway\"} 10984460779",
        ];
        assert_eq!(samples, want);
    }
}
