//! Where the stored bytes of an open file lie.

use std::io;
use std::sync::{Mutex, PoisonError};

/// The extent that was last asked for.
///
/// The system may have to walk over an extent to find its end, so a file that is one extent must not be asked
/// before each read: that would cost the square of its length.
#[derive(Debug, Default)]
pub(super) struct LastExtent(Mutex<Option<Extent>>);

/// A hole and the stored bytes behind it.
#[derive(Debug, Clone, Copy)]
struct Extent {
    /// In the hole, if there is one.
    from: u64,
    /// The first stored byte.
    start: u64,
    /// Behind the last one.
    end: u64,
}

impl LastExtent {
    /// Whether no byte of a range is stored: all are zero. `ask` gives the next extent at or behind an offset.
    pub(super) fn is_hole(
        &self,
        offset: u64,
        length: u64,
        ask: impl FnOnce(u64) -> io::Result<Option<(u64, u64)>>,
    ) -> io::Result<bool> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let extent = match *last {
            Some(extent) if (extent.from..extent.end).contains(&offset) => extent,
            _ => {
                let (start, end) = ask(offset)?.unwrap_or((u64::MAX, u64::MAX));
                *last.insert(Extent {
                    from: offset,
                    start,
                    end,
                })
            }
        };
        Ok(extent.start >= offset.saturating_add(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extent_is_asked_for_once() {
        let last = LastExtent::default();
        // Stored are 100 to 200 and 300 to 400.
        let asked = std::cell::Cell::new(0);
        let is_hole = |offset, length| {
            let ask = |offset| {
                asked.set(asked.get() + 1);
                let extents = [(100, 200), (300, 400)];
                let next = extents.into_iter().find(|(_, end)| *end > offset);
                Ok(next.map(|(start, end)| (start.max(offset), end)))
            };
            last.is_hole(offset, length, ask).unwrap()
        };
        for offset in (0..200).step_by(10) {
            assert_eq!(is_hole(offset, 10), offset < 100, "{offset}");
        }
        assert!(!is_hole(90, 11), "it reaches into stored bytes");
        assert_eq!(asked.get(), 1);
        for offset in (200..400).step_by(10) {
            assert_eq!(is_hole(offset, 10), offset < 300, "{offset}");
        }
        assert_eq!(asked.get(), 2);
        for offset in (400..600).step_by(10) {
            assert!(is_hole(offset, 10), "{offset}");
        }
        assert_eq!(asked.get(), 3);
        // Backwards it is asked again.
        assert!(is_hole(0, 100) && !is_hole(150, 1));
        assert_eq!(asked.get(), 4);
    }
}
