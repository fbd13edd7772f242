//! UltraCDC.

use super::{ChunkParams, Chunker};

/// Bytes of the window that slides.
const WINDOW: usize = 8;
/// Equal windows in a row after which bytes are cut for want of anything else.
const LOW_ENTROPY: u32 = 64;
/// Which bits of the distance must be zero before the size aimed at, and after it.
const MASKS: (u32, u32) = (0x2F, 0x2C);

/// The original's UltraCDC, in the form that its author mended two days after v1.6.8
/// (docs/wire D4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UltraCdc {
    params: ChunkParams,
}

impl UltraCdc {
    /// A chunker of these sizes.
    pub const fn new(params: ChunkParams) -> Self {
        Self { params }
    }
}

impl Chunker for UltraCdc {
    fn name(&self) -> &'static str {
        "ultracdc-glycerine-golang-implementation"
    }

    fn params(&self) -> ChunkParams {
        self.params
    }

    fn first_cut(&self, data: &[u8]) -> usize {
        let (min, max) = (self.params.min(), self.params.max());
        if data.len() <= min {
            return data.len();
        }
        let end = data.len().min(max).max(1);
        let mut normal = self.params.target();
        if data.len() < max && data.len() <= normal {
            normal = data.len();
        }
        let Some((first, rest)) = data
            .get(min..end)
            .and_then(|data| data.split_at_checked(WINDOW))
        else {
            return end;
        };
        let mut out = first;
        let mut distance: u32 = out.iter().map(|&byte| distance_of(byte)).sum();
        let mut equal = 0;
        for (step, window) in rest.chunks_exact(WINDOW).enumerate() {
            let at = min + WINDOW * (step + 1);
            let mask = if at < normal { MASKS.0 } else { MASKS.1 };
            if window == out {
                equal += 1;
                if equal >= LOW_ENTROPY {
                    return at + WINDOW;
                }
                continue;
            }
            equal = 0;
            // The distance is that of eight bytes, so it never falls below those that leave.
            for (offset, (&entering, &leaving)) in window.iter().zip(out).enumerate() {
                if distance & mask == 0 {
                    return at + offset;
                }
                distance = (distance + distance_of(entering)).wrapping_sub(distance_of(leaving));
            }
            out = window;
        }
        end
    }
}

/// How far a byte is from the pattern of alternating bits.
const fn distance_of(byte: u8) -> u32 {
    (byte ^ 0xAA).count_ones()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_is_that_of_the_original() {
        assert_eq!(
            (distance_of(0), distance_of(0xAA), distance_of(0x55)),
            (4, 0, 8)
        );
    }
}
