//! Takes everything and forgets it: the whole program runs, the output costs nothing.

use super::Standing;
use crate::engine::record::Batch;

/// Confirms at once; the engine has already done the work of encoding.
#[derive(Debug, Default)]
pub struct Blackhole {
    standing: Standing,
}

impl Blackhole {
    pub(super) fn offer(&mut self, batch: &Batch, from: usize) -> usize {
        let before = self.standing.acked_records;
        for (meta, record) in batch.iter().skip(from) {
            self.standing.confirm(meta, record);
        }
        usize::try_from(self.standing.acked_records - before).unwrap_or(usize::MAX)
    }

    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::testing::batch;
    use crate::units::Bytes;

    #[test]
    fn all_is_confirmed_at_once() {
        let mut blackhole = Blackhole::default();
        let records = batch(7, &[("a", "{}"), ("b", "{\"x\":1}"), ("a", "{}")]);
        assert_eq!(blackhole.offer(&records, 1), 2);
        let standing = blackhole.standing();
        assert_eq!((standing.acked_upto, standing.acked_records), (9, 2));
        assert_eq!(standing.bytes_out, Bytes(9));
        assert_eq!(standing.in_flight_records, 0);
    }
}
