//! Two cores over seeded links in virtual time.
//!
//! `TOWLINE_SIM_SEEDS=N` runs N seeds (default 500), `TOWLINE_SEED=S` replays one.

mod client;
mod judging;
mod plan;
mod pushes;
mod server;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;

use client::{ClientNode, State};
use plan::Plan;
use server::ServerNode;
use towline_sim::{Pair, Rng, Seeds};

/// More than the longest run needs.
const STEPS: usize = 2_000_000;
/// What a header, a cancel or a refusal costs beside the body that the budget is checked for.
const SMALL: usize = 2_000;

/// What a run was like.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Outcome {
    transcript: u64,
    /// Pushes that were heard, and that a full listener lost.
    pushes: [usize; 2],
    /// How often a sender had to wait for credit, at the client and at the server.
    held_by_credit: [usize; 2],
    states: Vec<State>,
}

fn run(seed: u64) -> Outcome {
    let mut rng = Rng::from_seed(seed);
    let plan = Plan::new(&mut rng);
    let client = ClientNode::new(&plan, rng.fork());
    let server = ServerNode::new(&plan, rng.fork());
    let mut pair = Pair::with(
        client,
        server,
        plan.conditions.clone(),
        rng.fork(),
        support::start().instant,
    );
    let budgets = plan
        .outbox_bytes
        .map(|budget| budget + plan.largest + (1 + plan.operations.len()) * SMALL);

    pair.drive(STEPS, |pair| {
        assert!(
            pair.a.core.unsent() <= budgets[0],
            "{} bytes at the client",
            pair.a.core.unsent()
        );
        assert!(
            pair.b.core.unsent() <= budgets[1],
            "{} bytes at the server",
            pair.b.core.unsent()
        );
        let at_rest = pair.a.is_done()
            && pair.a.core.in_flight() == 0
            && pair.b.core.in_flight() == 0
            && pair.a.core.unsent() == 0
            && pair.a.hearer.is_done();
        !at_rest
    })
    .unwrap_or_else(|livelock| panic!("{livelock}"));
    pair.a.closing = true;
    pair.drive_bounded(STEPS)
        .unwrap_or_else(|livelock| panic!("{livelock}"));

    assert!(
        pair.a.is_done(),
        "some never ended: {:?}",
        pair.a.states().collect::<Vec<_>>()
    );
    assert_eq!(
        (pair.a.core.in_flight(), pair.b.core.in_flight()),
        (0, 0),
        "entries are left behind"
    );
    assert!(
        pair.a.over && pair.b.over,
        "an end never learned of the other's"
    );
    let states: Vec<State> = pair.a.states().collect();
    if !plan.may_be_cut {
        assert!(!states.contains(&State::Lost), "lost on a whole connection");
        let (sent, came) = (pair.a.notes_sent(), pair.b.notes);
        assert!(
            came <= sent && (came == sent || pair.b.core.refused() > 0),
            "{came} of {sent} one-ways came"
        );
        assert!(pair.a.hearer.is_done(), "pushes are missing");
    }
    let (pushed, heard, lost) = (pair.b.pusher.sent, pair.a.hearer.heard, pair.a.hearer.lost);
    assert!(
        heard + lost <= pushed,
        "{heard} and {lost} of {pushed} pushes"
    );
    Outcome {
        transcript: pair.transcript(),
        pushes: [heard, lost],
        held_by_credit: [pair.a.held_by_credit, pair.b.held_by_credit],
        states,
    }
}

/// Whatever the network does: every call ends once, with its own answer or an expected failure; parts
/// come in order, complete and once, and so do pushes, but for those that a full listener counts; queues and outboxes keep their limits; nothing is left behind; and
/// a seed repeats its run to the byte.
#[test]
fn simulated_connections_keep_their_promises() {
    let seeds = Seeds::from_env(500);
    let mut met: BTreeMap<String, usize> = BTreeMap::new();
    seeds.run(|seed| {
        let outcome = run(seed);
        if seed.is_multiple_of(8) {
            assert_eq!(run(seed), outcome, "it does not repeat");
        }
        let counted = ["heard", "lost by a listener", "held", "held at the server"];
        for (name, count) in counted
            .into_iter()
            .zip(outcome.pushes.into_iter().chain(outcome.held_by_credit))
        {
            *met.entry(name.to_owned()).or_default() += count;
        }
        for state in outcome.states {
            *met.entry(format!("{state:?}")).or_default() += 1;
        }
    });
    println!("{met:?}");
    // A simulation that no longer meets what it is for would pass for ever.
    if seeds.are_usual() {
        assert!(
            met["heard"] > 1000 && met["lost by a listener"] > 100,
            "{met:?}"
        );
        assert!(
            met["held"] > 100 && met["held at the server"] > 100,
            "{met:?}"
        );
        for state in [
            "answered",
            "net/rpc answered",
            "failed",
            "refused",
            "too many",
            "timed out",
            "sent",
        ] {
            let state = format!("{:?}", State::Ended(state));
            assert!(
                met.get(&state).is_some_and(|&times| times > 20),
                "{state} is missing in {met:?}"
            );
        }
        for state in [State::Left, State::Lost] {
            assert!(
                met.contains_key(&format!("{state:?}")),
                "{state:?} is missing in {met:?}"
            );
        }
    }
}
