//! A terminal for programs that ask for passphrases at one, as the original does.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;

use anyhow::{Context, Result};
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// The side of the person. The other side hangs up when this is dropped.
pub(super) struct Terminal {
    #[expect(dead_code, reason = "held open for as long as the program may read")]
    person: File,
}

impl Terminal {
    /// A terminal on which these lines have been typed already, as a program's standard input. The
    /// original reads one line a question and throws nothing away.
    pub(super) fn typed(lines: &[&str]) -> Result<(Self, Stdio)> {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&person)?;
        unlockpt(&person)?;
        let name = ptsname(&person, Vec::new())?;
        let name = name.to_str().context("the terminal's name")?;
        let program = File::options()
            .read(true)
            .write(true)
            .custom_flags(OFlags::NOCTTY.bits().cast_signed())
            .open(name)
            .with_context(|| format!("cannot open {name}"))?;
        let mut person = File::from(person);
        for line in lines {
            writeln!(person, "{line}").context("cannot type")?;
        }
        Ok((Self { person }, Stdio::from(program)))
    }
}
