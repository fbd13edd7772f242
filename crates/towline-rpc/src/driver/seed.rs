//! Where randomness enters.

use super::now;

/// A seed for the CallIDs of one connection or server.
#[expect(
    clippy::disallowed_methods,
    reason = "the driver is where randomness enters"
)]
pub(crate) fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    if let Err(error) = getrandom::fill(&mut seed) {
        // CallIDs need only differ within a connection; they are no secret.
        tracing::warn!(%error, "the system gives no random bytes; CallIDs are numbered from the time");
        let now = now().wall;
        seed[..8].copy_from_slice(&now.seconds().to_be_bytes());
        seed[8..12].copy_from_slice(&now.nanos().to_be_bytes());
    }
    seed
}
