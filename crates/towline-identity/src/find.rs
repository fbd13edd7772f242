//! Where the credentials are: the original's place, and those that towline adds (docs/wire I27).

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// Why no directory with credentials was found.
#[derive(Debug)]
#[non_exhaustive]
pub struct FindError {
    name: String,
    looked: Vec<PathBuf>,
}

impl FindError {
    /// The directories that were looked into, in order.
    pub fn looked(&self) -> &[PathBuf] {
        &self.looked
    }
}

impl fmt::Display for FindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<_> = self
            .looked
            .iter()
            .map(|dir| dir.display().to_string())
            .collect();
        write!(
            f,
            "no key named {:?} (files {name}.key and {name}.crt) in {}: make one with `tow keys new {name}`",
            self.name,
            places.join(", "),
            name = self.name,
        )
    }
}

impl std::error::Error for FindError {}

/// The directory that holds the identity `name`.
///
/// An explicit directory is the only one looked into. Otherwise the first of these that holds
/// `NAME.key` or `NAME.crt`: `certs` in the current directory, `$XDG_CONFIG_HOME/towline/certs`,
/// `$HOME/.config/towline/certs`, `$HOME/.config/rpc25519/certs` (where later releases of the
/// original keep keys).
///
/// ```
/// use std::path::Path;
///
/// let error = towline_identity::find_certs_dir(Some(Path::new("/nowhere")), "node").unwrap_err();
/// assert!(error.to_string().contains("tow keys new node"));
/// ```
///
/// # Errors
///
/// [`FindError`], which lists the places and the command that makes keys.
pub fn find_certs_dir(explicit: Option<&Path>, name: &str) -> Result<PathBuf, FindError> {
    let places = match explicit {
        Some(dir) => vec![dir.to_owned()],
        None => places(
            Path::new(""),
            env::var_os("XDG_CONFIG_HOME"),
            env::var_os("HOME"),
        ),
    };
    search(places, name)
}

/// Relative values of the two variables are ignored, as the XDG specification asks.
fn places(current: &Path, config_home: Option<OsString>, home: Option<OsString>) -> Vec<PathBuf> {
    let absolute =
        |value: Option<OsString>| value.map(PathBuf::from).filter(|dir| dir.is_absolute());
    let config = absolute(home).map(|home| home.join(".config"));
    let mut places = vec![current.join("certs")];
    places.extend(absolute(config_home).map(|dir| dir.join("towline/certs")));
    for sub in ["towline/certs", "rpc25519/certs"] {
        places.extend(
            config
                .iter()
                .map(|dir| dir.join(sub))
                .filter(|dir| !places.contains(dir))
                .collect::<Vec<_>>(),
        );
    }
    places
}

fn search(places: Vec<PathBuf>, name: &str) -> Result<PathBuf, FindError> {
    let found = places
        .iter()
        .find(|dir| {
            ["key", "crt"]
                .iter()
                .any(|kind| dir.join(format!("{name}.{kind}")).is_file())
        })
        .cloned();
    found.ok_or_else(|| FindError {
        name: name.to_owned(),
        looked: places,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_first_place_with_the_key_wins_and_the_error_lists_all() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let all = || {
            places(
                root,
                Some(root.join("xdg").into()),
                Some(root.join("home").into()),
            )
        };
        assert_eq!(
            all(),
            [
                root.join("certs"),
                root.join("xdg/towline/certs"),
                root.join("home/.config/towline/certs"),
                root.join("home/.config/rpc25519/certs"),
            ]
        );
        let error = search(all(), "node").unwrap_err();
        assert_eq!(error.looked(), all());
        for part in ["tow keys new node", "home/.config/rpc25519/certs"] {
            assert!(error.to_string().contains(part), "{error}");
        }
        for place in all().iter().rev() {
            fs::create_dir_all(place).unwrap();
            fs::write(place.join("node.key"), "").unwrap();
            assert_eq!(&search(all(), "node").unwrap(), place);
        }
        assert!(search(all(), "client").is_err());
    }

    #[test]
    fn relative_and_missing_variables_are_passed_over() {
        let places = places(Path::new(""), Some("relative".into()), None);
        assert_eq!(places, [PathBuf::from("certs")]);
    }

    #[test]
    fn a_config_home_that_is_the_usual_one_is_listed_once() {
        let places = places(Path::new(""), Some("/h/.config".into()), Some("/h".into()));
        assert_eq!(
            places,
            [
                "certs",
                "/h/.config/towline/certs",
                "/h/.config/rpc25519/certs"
            ]
            .map(PathBuf::from)
        );
    }
}
