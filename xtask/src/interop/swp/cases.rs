//! What is played.

use std::path::Path;
use std::process::Command;

use super::super::case::{Case, Outcome, Scope};
use super::super::child::Program;
use super::conversation::{Conversation, Defect, End, Peer, Programs};
use crate::process;

const MIB: usize = 1 << 20;

/// The original's own call for a file gives up when its data is not there yet.
const NO_WAIT: Defect = Defect {
    says: "got BigFile without checksum",
    pitfall: "P102",
    what: "RecvFile fails when the data has not come yet",
};
/// A FIN that is lost is never sent again, and its sender stops.
const ONE_FIN: Defect = Defect {
    says: "the peer has not been heard of",
    pitfall: "P101",
    what: "the one FIN was lost; its receiver hears of the end by silence",
};

/// Each packet that is lost in a run of its own; a opens.
const LOSSES: [&str; 17] = [
    "a/SYN/1",
    "b/SYNACK/1",
    "a/ESTABACK/1",
    "a/DATA/0",
    "b/DATA/0",
    "a/DATA/1",
    "b/DATA/1",
    "a/DATA/9",
    "b/DATA/9",
    "a/DATAACK/1",
    "b/DATAACK/1",
    "a/DATAACK/2",
    "b/DATAACK/2",
    "a/KEEPALIVE/1",
    "b/KEEPALIVE/1",
    "a/FIN/1",
    "b/FINACK/1",
];

/// What is lost together in the one run of the quick matrix.
const QUICK_LOSSES: [&str; 6] = [
    "a/SYN/1",
    "a/ESTABACK/1",
    "a/DATA/0",
    "b/DATA/0",
    "b/DATA/5",
    "b/DATAACK/1",
];

/// Our peer's tests hold it against real bytes of the original.
pub(super) fn tests_of_our_peer() -> Case {
    Case::new("swp: gopeer's tests".to_owned(), |lab| {
        for task in ["vet", "test"] {
            let mut command = Command::new("go");
            command
                .args([task, "./..."])
                .current_dir(process::root().join(Path::new("interop/swp/gopeer")));
            Program::start(&mut command)?
                .end(lab.deadline())?
                .expect_code(0)?;
        }
        Ok(Outcome::Pass)
    })
}

/// Everything that is played with one peer.
pub(super) fn of(scope: Scope, peer: Peer, programs: &Programs) -> Vec<Case> {
    let mut all = Plan {
        peer,
        programs,
        cases: Vec::new(),
    };
    for ours_is_a in [true, false] {
        all.direct(scope, ours_is_a);
        all.simultaneous(scope, ours_is_a);
        all.losses(scope, ours_is_a);
    }
    all.cases
}

struct Plan<'a> {
    peer: Peer,
    programs: &'a Programs,
    cases: Vec<Case>,
}

impl Plan<'_> {
    fn add(&mut self, name: &str, slow: bool, conversation: Conversation) {
        let (from, to) = if conversation.ours_is_a {
            ("towline", self.peer.name)
        } else {
            (self.peer.name, "towline")
        };
        let programs = self.programs.clone();
        self.cases.push(Case {
            name: format!("swp: {from} opens to {to}: {name}"),
            slow,
            run: Box::new(move |lab| conversation.play(&programs, lab.deadline())),
        });
    }

    fn direct(&mut self, scope: Scope, ours_is_a: bool) {
        let is_whole = scope == Scope::Whole;
        let talk = |a: String, b: String| Conversation::new(ours_is_a, End::new(a), End::new(b));
        let bulk = if is_whole { 100 * MIB } else { 4 * MIB };
        self.add(
            "both ways at once, the opener closes",
            false,
            talk(format!("both:{bulk} close"), format!("both:{bulk} closed")),
        );
        self.add(
            "there and back, the listener closes",
            false,
            talk(
                "send:100000 recv:100000 closed".into(),
                "recv:100000 send:100000 close".into(),
            ),
        );
        let file = if is_whole { 32 * MIB } else { MIB };
        // The listener does not send before it has heard of its peer.
        self.add(
            "files",
            false,
            talk(
                format!("send:1 sendfile:{file} recvfile:{file} close"),
                format!("recv:1 recvfile:{file} sendfile:{file} closed"),
            ),
        );
        self.add(
            "slow receivers",
            false,
            Conversation::new(
                ours_is_a,
                End::new("send:10000000 slow:10000000 close").with("--window 16"),
                End::new("slow:10000000 send:10000000 closed").with("--window 16"),
            ),
        );
        if !is_whole {
            return;
        }
        self.add(
            "nothing is said for 30 s",
            true,
            talk(
                "both:1000 pause:30000 both:1000 close".into(),
                "both:1000 pause:30000 both:1000 closed".into(),
            ),
        );
        let (small, large) = ("--window 3", "--window 1000");
        let (a, b) = if ours_is_a {
            (large, small)
        } else {
            (small, large)
        };
        self.add(
            "a window of 3 against 1,000",
            false,
            Conversation::new(
                ours_is_a,
                End::new("both:2000000 close").with(a),
                End::new("both:2000000 closed").with(b),
            ),
        );
        let consuming = "--on-consume";
        let (a, b) = if ours_is_a {
            (consuming, "")
        } else {
            ("", consuming)
        };
        self.add(
            "towline acknowledges what was consumed",
            false,
            Conversation::new(
                ours_is_a,
                End::new("both:4000000 close").with(a),
                End::new("both:4000000 closed").with(b),
            ),
        );
        if self.peer.is_original {
            // Its reader finds nothing for a while.
            let (a, b) = if ours_is_a {
                (
                    "send:1 recv:1 pause:300 sendfile:100000 close",
                    "recv:1 send:1 barefile:100000 closed",
                )
            } else {
                (
                    "send:1 barefile:100000 close",
                    "recv:1 pause:300 sendfile:100000 closed",
                )
            };
            self.add(
                "a file by the original's own call",
                true,
                Conversation {
                    defect: Some(NO_WAIT),
                    ..talk(a.into(), b.into())
                },
            );
        }
    }

    fn simultaneous(&mut self, scope: Scope, ours_is_a: bool) {
        let crossing = |losses: &[&str]| {
            let mut all = vec!["cross"];
            all.extend(losses);
            Conversation {
                both_open: true,
                ..Conversation::new(
                    ours_is_a,
                    End::new("both:10000 pause:1200 both:1000 close"),
                    End::new("both:10000 pause:1200 both:1000 closed"),
                )
                .through_relay(&all)
            }
        };
        self.add("both open at once", false, crossing(&[]));
        if scope == Scope::Whole {
            for loss in ["a/ESTABACK/1", "b/ESTABACK/1"] {
                let name = format!("both open at once, without {loss}");
                self.add(&name, false, crossing(&[loss]));
            }
        }
    }

    fn losses(&mut self, scope: Scope, ours_is_a: bool) {
        let losing = |losses: &[&str]| {
            let talk = |end: &str| {
                End::new(format!("both:10000 pause:1200 both:5000 {end}")).with("--piece 1000")
            };
            Conversation::new(ours_is_a, talk("close"), talk("closed")).through_relay(losses)
        };
        if scope == Scope::Quick {
            self.add("without six packets", false, losing(&QUICK_LOSSES));
            return;
        }
        for loss in LOSSES {
            let mut conversation = losing(&[loss]);
            // The original's FINACK is a race that it loses half of the time.
            conversation.may_be_absent = self.peer.is_original && ours_is_a && loss == "b/FINACK/1";
            if self.peer.is_original && !ours_is_a && loss == "a/FIN/1" {
                conversation.defect = Some(ONE_FIN);
            }
            let slow = conversation.defect.is_some();
            self.add(&format!("without {loss}"), slow, conversation);
        }
    }
}
