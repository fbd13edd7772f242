//! Where passphrases come from: a file, an environment variable, a terminal, in this order. Never the
//! command line, which others can see.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use towline::identity::{Passphrase, PassphraseError, PassphraseSource, Protection};

use crate::failure::{Exit, Failure};

/// The passphrase of our own key.
pub(crate) const OWN: &str = "TOW_PASSPHRASE";
/// The passphrase of the authority's key.
pub(crate) const AUTHORITY: &str = "TOW_CA_PASSPHRASE";

/// Gives the passphrases of one kind of key.
#[derive(Debug, Clone)]
pub(crate) struct Passphrases {
    file: Option<PathBuf>,
    variable: &'static str,
    may_ask: bool,
}

impl Passphrases {
    /// For keys that programs of ours use.
    pub(crate) fn own(file: Option<PathBuf>) -> Self {
        Self {
            file,
            variable: OWN,
            may_ask: true,
        }
    }

    /// For the key of an authority.
    pub(crate) fn authority(file: Option<PathBuf>) -> Self {
        Self {
            variable: AUTHORITY,
            ..Self::own(file)
        }
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
        let passphrase = match self.silent() {
            Some(given) => given,
            None => self.ask(&format!("New passphrase for {what}: ")),
        };
        let passphrase = passphrase.map_err(|error| self.failure(what, &error))?;
        let protection = Protection::new(passphrase.clone());
        protection
            .validate()
            .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        if self.silent().is_none() {
            let again = self
                .ask("The same passphrase again: ")
                .map_err(|error| self.failure(what, &error))?;
            if again != passphrase {
                return Err(Failure::new(
                    Exit::Failed,
                    "the two passphrases differ; nothing was written",
                ));
            }
        }
        Ok(protection)
    }

    /// From the file or the variable, if either is there.
    fn silent(&self) -> Option<Result<Passphrase, PassphraseError>> {
        if let Some(file) = &self.file {
            return Some(Passphrase::from_file(file));
        }
        let value = std::env::var_os(self.variable)?;
        Some(Ok(Passphrase::new(value.into_encoded_bytes())))
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
        let option = if self.variable == AUTHORITY {
            "--ca-passphrase-file"
        } else {
            "--passphrase-file"
        };
        format!(
            "give it with {option} FILE or in the environment variable {}, or run from a terminal",
            self.variable
        )
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
