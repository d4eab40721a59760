//! Charts as inline SVG: lines per second by template, the share of failing lines, the intervals of a loop.
//!
//! No script, no font, nothing from elsewhere; colours are classes, so that a dark page and paper have their own.
//! Each chart has a `<title>` for those who do not see it.

use std::fmt::Write as _;

use super::short_time;
use super::text::{rate, share_chart};
use crate::engine::chronicle::story::{Chart, LoopStory, Story};

/// The size of a chart in its own units; it is shown as wide as the page.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 240.0;
/// Room for the numbers beside and below it.
const LEFT: f64 = 80.0;
const BELOW: f64 = 24.0;
const ABOVE: f64 = 12.0;
/// Templates that have a colour of their own; the rest shares one.
pub const LAYERS: usize = 6;

/// The lines over time, stacked by template; and the places of the templates that have a layer, from the bottom up.
pub fn stacked(story: &Story) -> (String, Vec<usize>) {
    let mut places: Vec<usize> = (0..story.templates.len()).collect();
    places.sort_by_key(|&place| std::cmp::Reverse(story.templates[place].count));
    places.truncate(LAYERS);
    let volume = &story.volume;
    let mut below = vec![0u64; volume.counts.len()];
    let most = volume.counts.iter().copied().max().unwrap_or(0).max(1);
    let mut svg = begin("Lines per second, stacked by template");
    axes(&mut svg, story, &rate(most as f64 / volume.seconds as f64));
    for (layer, &place) in places.iter().enumerate() {
        let counts = &story.templates[place].chart.counts;
        let top: Vec<u64> = below.iter().zip(counts).map(|(below, count)| below + count).collect();
        area(&mut svg, &format!("c{layer}"), &below, &top, most);
        below = top;
    }
    area(&mut svg, "rest", &below, &volume.counts, most);
    svg.push_str("</svg>");
    (svg, places)
}

/// The share of failing lines over time.
pub fn failing_share(story: &Story) -> String {
    let shares = share_chart(&story.failing_over_time, &story.volume);
    let mut svg = begin("Share of failing lines");
    axes(&mut svg, story, "100 %");
    area(&mut svg, "bad", &vec![0; shares.counts.len()], &shares.counts, 1000);
    svg.push_str("</svg>");
    svg
}

/// The first and the last intervals of a loop, each a dot, on a logarithmic scale; beside them what doubling waits from
/// 1 s to 60 s would have been.
pub fn intervals(known: &LoopStory) -> String {
    let view = &known.view;
    let all: Vec<f64> =
        view.first.iter().chain(&view.last).map(|interval| f64::from(*interval).max(1e-4)).collect();
    let mut svg = begin("Intervals between tries, in seconds");
    let least = all.iter().copied().fold(0.5, f64::min) / 2.0;
    let most = all.iter().copied().fold(60.0, f64::max) * 2.0;
    let y = |value: f64| ABOVE + plot_height() * (1.0 - (value / least).ln() / (most / least).ln());
    let step = (WIDTH - LEFT) / all.len().max(8) as f64;
    let x = |index: usize| LEFT + step * (index as f64 + 0.5);
    for power in -4..=5 {
        let value = 10f64.powi(power);
        if (least..=most).contains(&value) {
            let at = y(value);
            let _ = write!(svg, r#"<line class="grid" x1="{LEFT}" x2="{WIDTH}" y1="{at:.1}" y2="{at:.1}"/>"#);
            let label = if value < 1.0 { format!("{value} s") } else { format!("{value:.0} s") };
            let _ =
                write!(svg, r#"<text class="tick" x="{:.0}" y="{:.1}">{label}</text>"#, LEFT - 6.0, at + 4.0);
        }
    }
    let should: Vec<String> = (0..all.len())
        .map(|index| format!("{:.1},{:.1}", x(index), y(2f64.powi(index.min(16) as i32).min(60.0))))
        .collect();
    let _ = write!(svg, r#"<polyline class="should" points="{}"/>"#, should.join(" "));
    for (index, interval) in all.iter().enumerate() {
        let _ = write!(
            svg,
            r#"<circle class="dot" cx="{:.1}" cy="{:.1}" r="4"><title>{interval:.3} s</title></circle>"#,
            x(index),
            y(*interval)
        );
    }
    let skipped = view.iterations.saturating_sub(1 + all.len() as u64);
    if !view.last.is_empty() && skipped > 0 {
        let at = LEFT + step * view.first.len() as f64;
        let _ =
            write!(svg, r#"<line class="gap" x1="{at:.1}" x2="{at:.1}" y1="{ABOVE}" y2="{:.1}"/>"#, base());
        let label = format!("{} more", crate::units::grouped(skipped));
        let _ = write!(svg, r#"<text class="note" x="{:.1}" y="{:.1}">{label}</text>"#, at, base() + 18.0);
    }
    svg.push_str("</svg>");
    svg
}

fn begin(title: &str) -> String {
    format!(
        r#"<svg viewBox="0 0 {WIDTH} {:.0}" role="img" aria-label="{title}"><title>{title}</title>"#,
        HEIGHT + BELOW
    )
}

/// The scale on the left, from nothing to `most`, and times below.
fn axes(svg: &mut String, story: &Story, most: &str) {
    for (part, label) in [(0.0, "0"), (1.0, most)] {
        let at = base() - plot_height() * part;
        let _ = write!(svg, r#"<line class="grid" x1="{LEFT}" x2="{WIDTH}" y1="{at:.1}" y2="{at:.1}"/>"#);
        let _ = write!(svg, r#"<text class="tick" x="{:.0}" y="{:.1}">{label}</text>"#, LEFT - 6.0, at + 4.0);
    }
    let chart = &story.volume;
    let buckets = chart.counts.len();
    for (part, class) in [(0, "from"), (1, "note"), (2, "to")] {
        let time = short_time(chart.time(buckets * part / 2), story);
        let x = LEFT + (WIDTH - LEFT) * part as f64 / 2.0;
        let _ = write!(svg, r#"<text class="{class}" x="{x:.0}" y="{:.0}">{time}</text>"#, base() + 18.0);
    }
    marks(svg, story, chart);
}

/// Upright lines where it began and where it was over.
fn marks(svg: &mut String, story: &Story, chart: &Chart) {
    let seconds = (chart.seconds * chart.counts.len() as u64).max(1) as f64;
    let phases = &story.phases;
    let onset = phases.onset.map(|onset| (onset.time, "onset"));
    let recovery = phases.recovery.map(|time| (time, "recovery"));
    for (time, name) in onset.into_iter().chain(recovery) {
        let x = LEFT + (WIDTH - LEFT) * time.since(chart.begin).as_secs_f64() / seconds;
        let _ = write!(
            svg,
            r#"<line class="mark" x1="{x:.1}" x2="{x:.1}" y1="{ABOVE}" y2="{:.1}"><title>{name}</title></line>"#,
            base()
        );
    }
}

/// The area between two rows of counts.
fn area(svg: &mut String, class: &str, below: &[u64], top: &[u64], most: u64) {
    let step = (WIDTH - LEFT) / top.len().max(1) as f64;
    let y = |count: u64| base() - plot_height() * count.min(most) as f64 / most as f64;
    let mut path = String::new();
    // Steps, not slopes: a bucket is a count, and a line between two would show counts that were not.
    for (index, count) in top.iter().enumerate() {
        let (left, right) = (LEFT + step * index as f64, LEFT + step * (index + 1) as f64);
        let command = if index == 0 { 'M' } else { 'L' };
        let _ = write!(path, "{command}{left:.1},{0:.1}L{right:.1},{0:.1}", y(*count));
    }
    for (index, count) in below.iter().enumerate().rev() {
        let (left, right) = (LEFT + step * index as f64, LEFT + step * (index + 1) as f64);
        let _ = write!(path, "L{right:.1},{0:.1}L{left:.1},{0:.1}", y(*count));
    }
    if !path.is_empty() {
        let _ = write!(svg, r#"<path class="{class}" d="{path}Z"/>"#);
    }
}

fn plot_height() -> f64 {
    HEIGHT - ABOVE
}

/// Where the plot ends.
fn base() -> f64 {
    HEIGHT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_of_nothing_are_charts() {
        let story = Story::default();
        for svg in [stacked(&story).0, failing_share(&story)] {
            assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>"), "{svg}");
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
