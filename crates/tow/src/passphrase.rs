//! Where passphrases come from, docs/wire I50: a file named on the command line, a file named by an
//! environment variable, the value of another, a terminal, in this order, whether a key is made or
//! opened. Never the command line itself, which others can see.

use std::fmt;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use towline::identity::{Passphrase, PassphraseError, PassphraseSource, Protection};

use crate::failure::{Exit, Failure};

/// Of which key, and what its passphrase is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Names {
    /// The option that names a file.
    option: &'static str,
    /// The environment variable that names a file.
    file: &'static str,
    /// The environment variable that is one.
    value: &'static str,
}

const OWN: Names = Names {
    option: "--passphrase-file",
    file: "TOW_PASSPHRASE_FILE",
    value: "TOW_PASSPHRASE",
};
const NEW: Names = Names {
    option: "--new-passphrase-file",
    file: "TOW_NEW_PASSPHRASE_FILE",
    value: "TOW_NEW_PASSPHRASE",
};
const AUTHORITY: Names = Names {
    option: "--ca-passphrase-file",
    file: "TOW_CA_PASSPHRASE_FILE",
    value: "TOW_CA_PASSPHRASE",
};

/// Gives the passphrases of one kind of key.
#[derive(Clone)]
pub(crate) struct Passphrases {
    file: Option<PathBuf>,
    names: Names,
    may_ask: bool,
    /// What came out of a pipe, which gives it once.
    piped: Arc<Mutex<Option<Passphrase>>>,
}

impl Passphrases {
    fn of(names: Names, file: Option<PathBuf>) -> Self {
        let variable = || std::env::var_os(names.file).filter(|name| !name.is_empty());
        Self {
            file: file.or_else(|| variable().map(PathBuf::from)),
            names,
            may_ask: true,
            piped: Arc::default(),
        }
    }

    /// For keys that programs of ours use.
    pub(crate) fn own(file: Option<PathBuf>) -> Self {
        Self::of(OWN, file)
    }

    /// For what takes the place of another passphrase.
    pub(crate) fn new_one(file: Option<PathBuf>) -> Self {
        Self::of(NEW, file)
    }

    /// For the key of an authority.
    pub(crate) fn authority(file: Option<PathBuf>) -> Self {
        Self::of(AUTHORITY, file)
    }

    /// The same, where the option for it has no `ca` in its name.
    pub(crate) fn of_the_authority_alone(file: Option<PathBuf>) -> Self {
        let names = Names {
            option: OWN.option,
            ..AUTHORITY
        };
        Self::of(names, file)
    }

    /// The same, but for when nobody sits at the terminal any more.
    pub(crate) fn without_terminal(self) -> Self {
        Self {
            may_ask: false,
            ..self
        }
    }

    /// How a new key is to be protected; `what` names it.
    pub(crate) fn protection(&self, what: &str) -> Result<Protection, Failure> {
        let refused = |error| self.failure(what, &error);
        let (passphrase, was_typed) = match self.silent() {
            Some(given) => (given.map_err(refused)?, false),
            None => {
                let typed = self.ask(&format!("New passphrase for {what}: "));
                (typed.map_err(refused)?, true)
            }
        };
        let protection = Protection::new(passphrase.clone());
        protection
            .validate()
            .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        if was_typed {
            let again = self.ask("The same passphrase again: ").map_err(refused)?;
            if again != passphrase {
                return Err(Failure::new(
                    Exit::Failed,
                    "the two passphrases differ; nothing was written",
                ));
            }
        }
        Ok(protection)
    }

    /// From a file or the environment, if it is there.
    fn silent(&self) -> Option<Result<Passphrase, PassphraseError>> {
        match &self.file {
            Some(file) => Some(self.read(file)),
            None => {
                let value = std::env::var_os(self.names.value)?;
                Some(Ok(Passphrase::new(value.into_encoded_bytes())))
            }
        }
    }

    /// A file is read whenever it is needed: it may have changed. A pipe, such as a shell's `<(…)`, is
    /// read once: to open it again would wait for another writer for ever.
    fn read(&self, file: &Path) -> Result<Passphrase, PassphraseError> {
        if file.metadata().is_ok_and(|found| found.is_file()) {
            return Passphrase::from_file(file);
        }
        let mut piped = self.piped.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(passphrase) = &*piped {
            return Ok(passphrase.clone());
        }
        let passphrase = Passphrase::from_file(file)?;
        Ok(piped.insert(passphrase).clone())
    }

    /// From the terminal, unseen. As the original, only where standard input is one.
    fn ask(&self, prompt: &str) -> Result<Passphrase, PassphraseError> {
        if !self.may_ask || !std::io::stdin().is_terminal() {
            let why = if self.may_ask {
                "there is no terminal to ask for it"
            } else {
                "it cannot be asked for while the program runs"
            };
            return Err(PassphraseError::NotGiven(why.to_owned()));
        }
        rpassword::prompt_password(prompt)
            .map(Passphrase::new)
            .map_err(|error| PassphraseError::NotGiven(format!("nothing was typed ({error})")))
    }

    fn failure(&self, what: &str, error: &PassphraseError) -> Failure {
        let text = format!("no passphrase for {what}: {error}");
        Failure::new(Exit::Failed, text).hint(self.hint())
    }

    /// How to give one.
    pub(crate) fn hint(&self) -> String {
        let Names {
            option,
            file,
            value,
        } = self.names;
        format!(
            "give it with {option} FILE, in a file that the environment variable {file} names, or in the \
             environment variable {value}, or run from a terminal"
        )
    }
}

impl fmt::Debug for Passphrases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passphrases")
            .field("file", &self.file)
            .field("value", &self.names.value)
            .finish_non_exhaustive()
    }
}

impl PassphraseSource for Passphrases {
    fn passphrase(&mut self, key_file: &Path) -> Result<Passphrase, PassphraseError> {
        match self.silent() {
            Some(given) => given,
            None => self.ask(&format!("Passphrase for {}: ", key_file.display())),
        }
    }
}
