//! The options of `tow keys`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use towline::identity::Profile;

use crate::commands::known::Known;

/// The original's name for it.
const PRIVATE_DIR: &str = "my-keep-private-dir";
/// The original's name for it.
const CERTS_DIR: &str = "certs";

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Make an authority: the key that says which other keys belong together
    Ca(Ca),
    /// Make a key and its certificate, and the authority too if there is none yet
    New(New),
    /// Show certificates in full, and whose a private key is
    Show(Show),
    /// Check that certificates were signed by an authority and are valid now
    Verify(Verify),
    /// Make a file of 32 random bytes: a key that two machines share
    Psk(Psk),
    /// List keys and certificates, and until when they are valid
    List(List),
    /// Make a new certificate for a key, or for the authority, that overlaps with the old one
    Renew(Renew),
    /// Set, change or take off the passphrase of a private key
    Passphrase(Passphrase),
    /// See and change the list of known keys
    #[command(subcommand)]
    Known(Known),
}

/// Where the authority is.
#[derive(Debug, Args)]
pub(crate) struct AuthorityArgs {
    /// Where the authority is: ca.key and ca.crt
    #[arg(long, default_value = PRIVATE_DIR, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) ca_dir: PathBuf,

    /// First line of this file is the passphrase of the authority's key [else that of the file
    /// TOW_CA_PASSPHRASE_FILE, else TOW_CA_PASSPHRASE, else the terminal is asked]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ca_passphrase_file: Option<PathBuf>,
}

/// What a new certificate says.
#[derive(Debug, Args)]
pub(crate) struct CertificateArgs {
    /// How many days it is valid [default: an authority 3650, others 1095; with --profile selfy 36600]
    #[arg(long, value_name = "DAYS")]
    pub(crate) days: Option<u32>,

    /// What the certificate says: towline, or selfy, byte for byte as the original's
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<Profile>,
}

/// Whether and how a new private key is protected.
#[derive(Debug, Args)]
pub(crate) struct ProtectArgs {
    /// Protect the private key by a passphrase: of the file TOW_PASSPHRASE_FILE, or TOW_PASSPHRASE, or
    /// the terminal is asked twice
    #[arg(long)]
    pub(crate) protect: bool,

    /// Protect it by the first line of this file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) passphrase_file: Option<PathBuf>,
}

impl ProtectArgs {
    pub(crate) fn is_wanted(&self) -> bool {
        self.protect || self.passphrase_file.is_some()
    }
}

#[derive(Debug, Args)]
pub(crate) struct Ca {
    /// Where to keep it; back this directory up and show it to nobody
    #[arg(long, default_value = PRIVATE_DIR, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,

    #[command(flatten)]
    pub(crate) certificate: CertificateArgs,

    /// Protect the private key by a passphrase: of the file TOW_CA_PASSPHRASE_FILE, or
    /// TOW_CA_PASSPHRASE, or the terminal is asked twice
    #[arg(long)]
    pub(crate) protect: bool,

    /// Protect it by the first line of this file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) passphrase_file: Option<PathBuf>,

    /// Replace an authority that is there: its keys are then worthless
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct New {
    /// Its name: NAME.key and NAME.crt; servers use `node`, clients `client`
    pub(crate) name: String,

    /// E-mail address in the certificate; NAME@HOST if none is given
    #[arg(long, short, value_name = "ADDRESS")]
    pub(crate) email: Option<String>,

    /// Where the key goes
    #[arg(long, short, default_value = CERTS_DIR, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) out: PathBuf,

    #[command(flatten)]
    pub(crate) authority: AuthorityArgs,

    #[command(flatten)]
    pub(crate) certificate: CertificateArgs,

    #[command(flatten)]
    pub(crate) protect: ProtectArgs,

    /// Replace a key of that name (the original does so without being told), and trust this authority
    /// beside a foreign one that is trusted there
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Certificate or key files
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,

    /// First line of this file is the passphrase of protected keys [else that of the file
    /// TOW_PASSPHRASE_FILE, else TOW_PASSPHRASE, else the terminal is asked]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Certificate files
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,

    /// Where the authority's certificate, ca.crt, is
    #[arg(long, default_value = PRIVATE_DIR, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) ca_dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Psk {
    /// The file's name
    pub(crate) name: String,

    /// Where to keep it
    #[arg(long, default_value = PRIVATE_DIR, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Directories to look into [default: certs and my-keep-private-dir here]
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dirs: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Renew {
    /// The key whose certificate, NAME.crt, is renewed
    #[arg(required_unless_present = "ca", conflicts_with = "ca")]
    pub(crate) name: Option<String>,

    /// Renew the authority itself, and bring ca.crt beside the keys up to date
    #[arg(long)]
    pub(crate) ca: bool,

    /// Make a new private key too. With --ca the old authority stays trusted beside the new one
    #[arg(long)]
    pub(crate) new_key: bool,

    /// End an overlap: trust the present authority, no longer those that it succeeded, and change
    /// nothing else; refused while certificates depend on them
    #[arg(long, requires = "ca", conflicts_with = "new_key")]
    pub(crate) retire_old: bool,

    /// End it all the same: those certificates are then worthless
    #[arg(long, requires = "retire_old")]
    pub(crate) force: bool,

    /// With --ca: another directory of keys, whose ca.crt is brought up to date too and whose
    /// certificates are looked at; may be given several times
    #[arg(long, value_name = "DIR", requires = "ca", value_hint = ValueHint::DirPath)]
    pub(crate) also: Vec<PathBuf>,

    /// Where the keys are
    #[arg(long, short, default_value = CERTS_DIR, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) out: PathBuf,

    #[command(flatten)]
    pub(crate) authority: AuthorityArgs,

    #[command(flatten)]
    pub(crate) certificate: CertificateArgs,

    #[command(flatten)]
    pub(crate) protect: ProtectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Passphrase {
    /// The key, NAME.key
    #[arg(required_unless_present = "ca", conflicts_with = "ca")]
    pub(crate) name: Option<String>,

    /// The authority's key, ca.key
    #[arg(long)]
    pub(crate) ca: bool,

    /// Take the passphrase off: from then on the file's mode alone guards the key
    #[arg(long, conflicts_with = "new_passphrase_file")]
    pub(crate) remove: bool,

    /// First line of this file is the present passphrase, if the key has one [else as for all
    /// commands: that of the file TOW_PASSPHRASE_FILE, else TOW_PASSPHRASE (with --ca TOW_CA_…), else
    /// the terminal is asked]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) passphrase_file: Option<PathBuf>,

    /// First line of this file is the new one [else that of the file TOW_NEW_PASSPHRASE_FILE, else
    /// TOW_NEW_PASSPHRASE, else the terminal is asked twice]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) new_passphrase_file: Option<PathBuf>,

    /// Where the key is
    #[arg(long, short, default_value = CERTS_DIR, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) out: PathBuf,

    /// Where the authority is
    #[arg(long, default_value = PRIVATE_DIR, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) ca_dir: PathBuf,
}

/// Where `tow keys list` looks unless told otherwise.
pub(crate) const LISTED: [&str; 2] = [CERTS_DIR, PRIVATE_DIR];
