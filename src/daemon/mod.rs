//! The wiring: threads, hand-offs, the clock, start and stop.
