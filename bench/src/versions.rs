//! Which versions were built into this program.

/// What is worth naming beside a figure.
const NAMED: [&str; 13] = [
    "towline",
    "tarpc",
    "tonic",
    "tokio",
    "tokio-rustls",
    "rustls",
    "ring",
    "blake3",
    "yamux",
    "tokio-yamux",
    "muxado",
    "quinn",
    "h2",
];

/// The versions as the lock file has them, in one sentence.
pub(crate) fn sentence() -> String {
    let versions: Vec<_> = NAMED
        .iter()
        .map(|name| format!("{name} {}", of(name).unwrap_or("?")))
        .collect();
    format!("Versions: {}", versions.join(", "))
}

/// The locked version of a package.
pub(crate) fn of(package: &str) -> Option<&'static str> {
    let lock = include_str!("../Cargo.lock");
    let entry = lock
        .split("[[package]]")
        .find(|entry| field(entry, "name") == Some(package))?;
    field(entry, "version")
}

fn field<'a>(entry: &'a str, name: &str) -> Option<&'a str> {
    entry.lines().find_map(|line| {
        line.strip_prefix(name)?
            .strip_prefix(" = \"")?
            .strip_suffix('"')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_package_is_in_the_lock_file() {
        for name in NAMED {
            assert!(of(name).is_some(), "{name}");
        }
        assert_eq!(of("tarpc"), Some("0.38.0"));
    }

    #[test]
    fn the_release_profile_is_the_products() {
        let profile = |manifest: &'static str| -> Vec<&str> {
            manifest
                .lines()
                .skip_while(|line| *line != "[profile.release]")
                .skip(1)
                .take_while(|line| !line.starts_with('['))
                .map(str::trim)
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .collect()
        };
        let product = profile(include_str!("../../Cargo.toml"));
        assert!(!product.is_empty());
        assert_eq!(profile(include_str!("../Cargo.toml")), product);
    }
}
