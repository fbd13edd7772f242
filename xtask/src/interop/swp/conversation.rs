//! One conversation of two ends over a broker of its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use super::super::case::Outcome;
use super::super::child::{Deadline, Program};

/// What towline is played against.
#[derive(Clone, Copy)]
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) is_original: bool,
}

/// How long a broker may take to end.
const BROKER_ENDS: Duration = Duration::from_secs(20);

/// The programs of both ends; ours is the broker's handle and the relay, too.
#[derive(Clone)]
pub(super) struct Programs {
    pub(super) ours: PathBuf,
    pub(super) theirs: PathBuf,
}

/// Options and tasks of one end.
#[derive(Clone, Default)]
pub(super) struct End {
    pub(super) options: &'static str,
    pub(super) tasks: String,
}

impl End {
    pub(super) fn new(tasks: impl Into<String>) -> Self {
        Self {
            options: "",
            tasks: tasks.into(),
        }
    }

    pub(super) const fn with(mut self, options: &'static str) -> Self {
        self.options = options;
        self
    }
}

/// Where the original fails on its own: what the program that fails then writes, and the pitfall.
#[derive(Clone, Copy)]
pub(super) struct Defect {
    pub(super) says: &'static str,
    pub(super) pitfall: &'static str,
    pub(super) what: &'static str,
}

/// Two ends, a and b, and what is between them.
#[derive(Clone)]
pub(super) struct Conversation {
    /// a is towline's, b the peer's; or the reverse.
    pub(super) ours_is_a: bool,
    pub(super) a: End,
    pub(super) b: End,
    /// a opens; b opens as well, or waits for it.
    pub(super) both_open: bool,
    /// What the relay loses, if there is one.
    pub(super) losses: Option<Vec<String>>,
    /// What the peer may have failed to send, so that nothing of it is lost.
    pub(super) may_be_absent: bool,
    pub(super) defect: Option<Defect>,
}

impl Conversation {
    pub(super) fn new(ours_is_a: bool, a: End, b: End) -> Self {
        Self {
            ours_is_a,
            a,
            b,
            both_open: false,
            losses: None,
            may_be_absent: false,
            defect: None,
        }
    }

    pub(super) fn through_relay(mut self, losses: &[&str]) -> Self {
        self.losses = Some(losses.iter().map(|&loss| loss.to_owned()).collect());
        self
    }

    /// Plays it to its end.
    pub(super) fn play(&self, programs: &Programs, deadline: Deadline) -> Result<Outcome> {
        let (input, kept) = std::io::pipe()?;
        let mut broker = Program::start_with(
            Command::new(&programs.ours).arg("broker"),
            Stdio::from(input),
        )?;
        let port = broker.line(deadline, |line| {
            Some(line.strip_prefix("listening on port ")?.to_owned())
        })?;
        let outcome = self.play_through(&port, programs, deadline);
        // Its end is waited for: killed, the handle would leave the broker behind.
        drop(kept);
        let ended = broker.end(Deadline::after(BROKER_ENDS));
        let outcome = outcome?;
        ended?.expect_code(0)?;
        Ok(outcome)
    }

    /// The same through a broker that is there.
    fn play_through(&self, port: &str, programs: &Programs, deadline: Deadline) -> Result<Outcome> {
        let url = |account: &str| format!("nats://{account}:{account}@127.0.0.1:{port}");
        let mut relay = match &self.losses {
            Some(losses) => {
                let mut command = Command::new(&programs.ours);
                command.args(["relay", &url("a"), &url("b"), "a", "b"]);
                let mut relay = Program::start(command.args(losses))?;
                relay.line(deadline, is_ready)?;
                Some(relay)
            }
            None => None,
        };
        // Without a relay both ends are of one account.
        let url_b = url(if relay.is_some() { "b" } else { "a" });
        let (program_a, program_b) = if self.ours_is_a {
            (&programs.ours, &programs.theirs)
        } else {
            (&programs.theirs, &programs.ours)
        };
        let start_b = || {
            let role = if self.both_open { "connect" } else { "accept" };
            start(program_b, &self.b, [&url_b, "b", "a", role])
        };
        let mut b = start_b()?;
        if !self.both_open {
            b.line(deadline, is_ready)?;
        }
        let a = start(program_a, &self.a, [&url("a"), "a", "b", "connect"])?;
        let played = [("a", a), ("b", b)].map(|(name, program)| {
            let ended = program.end(deadline)?;
            let is_known = self.defect.is_some_and(|it| ended.text.contains(it.says));
            if is_known {
                return Ok(true);
            }
            let done = ended.expect_code(0).and_then(|it| it.expect_text("done"));
            done.map(|_| false).with_context(|| format!("end {name}"))
        });
        if let (Some(defect), true) = (
            self.defect,
            played.iter().any(|end| matches!(end, Ok(true))),
        ) {
            return Ok(Outcome::Known(defect.pitfall, defect.what));
        }
        let [a, b] = played;
        match (a, b) {
            (Err(a), Err(b)) => return Err(anyhow!("{a:#}\n{b:#}")),
            (Err(one), Ok(_)) | (Ok(_), Err(one)) => return Err(one),
            (Ok(_), Ok(_)) => {}
        }
        if let (Some(relay), Some(losses)) = (&mut relay, &self.losses) {
            self.check_losses(relay, losses, deadline)?;
        }
        Ok(Outcome::Pass)
    }

    /// A run in which nothing was lost would have shown nothing.
    fn check_losses(
        &self,
        relay: &mut Program,
        losses: &[String],
        deadline: Deadline,
    ) -> Result<()> {
        if self.may_be_absent {
            return Ok(());
        }
        let mut left: BTreeSet<String> = losses
            .iter()
            .map(|loss| match loss.as_str() {
                "cross" => "crossed".to_owned(),
                loss => format!("lost {loss}"),
            })
            .collect();
        ensure!(!left.is_empty() || losses.is_empty(), "no losses");
        while !left.is_empty() {
            let line = relay
                .line(deadline, |line| Some(line.to_owned()))
                .with_context(|| format!("not seen by the relay: {left:?}"))?;
            left.remove(&line);
        }
        Ok(())
    }
}

fn is_ready(line: &str) -> Option<()> {
    (line == "ready").then_some(())
}

fn start(program: &Path, end: &End, place: [&str; 4]) -> Result<Program> {
    let mut command = Command::new(program);
    command
        .args(end.options.split_whitespace())
        .args(place)
        .args(end.tasks.split_whitespace());
    Program::start(&mut command)
}
