//! What the allocator does with the memory of parts that are gone.

use std::{hint::black_box, sync::Once};

/// The parts of fast streams come and go within this, in bytes.
const BLOCK: usize = 8 << 20;

/// Has glibc keep the memory of parts for the next ones. It gives the end of a heap back to the system as soon as
/// 128 KiB of it are free, to get it again page by page, cleared. Of its own accord it raises that limit to twice the
/// largest block that was ever freed; this frees one, in which no page was touched. Other allocators do not care.
pub(super) fn keep_for_parts() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(black_box(Vec::<u8>::with_capacity(BLOCK))));
}
