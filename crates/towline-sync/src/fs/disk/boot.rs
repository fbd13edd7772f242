//! Which boot of the machine this is.

/// The kernel's number of this boot; where there is none, every process counts as a boot.
pub(super) fn boot() -> [u8; 16] {
    let text = std::fs::read("/proc/sys/kernel/random/boot_id")
        .unwrap_or_else(|_| std::process::id().to_string().into_bytes());
    let mut boot = [0; 16];
    boot.copy_from_slice(&blake3::hash(&text).as_bytes()[..16]);
    boot
}
