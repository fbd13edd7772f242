//! Whole syncs.

use std::time::{Duration, Instant};

use towline_sim::{Conditions, Pair, Rng};
use towline_sync::engine::{Engine, Event, Filter, Options, Receiver, Sender};
use towline_sync::fs::Memory;
use towline_sync::wire::{Outcome, RelPath, Totals};

use crate::for_seeds;
use crate::node::End;
use crate::trees::{assert_equal, copy, facts, later, tree};

/// Bytes that a second run may send: entries of a listing and a few words.
const LISTING: u64 = 64 << 10;

pub(crate) fn mirror() -> Options {
    Options {
        delete: true,
        durable: true,
        report: true,
        ..Options::default()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "virtual time has to start somewhere"
)]
fn epoch() -> Instant {
    Instant::now()
}

pub(crate) fn pair(
    rng: &mut Rng,
    conditions: &Conditions,
    options: &Options,
    trees: (&Memory, &Memory),
) -> Pair<End, End> {
    pair_with(rng, conditions, options, &Filter::default(), trees)
}

/// The same, of what the patterns do not leave out.
pub(crate) fn pair_with(
    rng: &mut Rng,
    conditions: &Conditions,
    options: &Options,
    filter: &Filter,
    (from, to): (&Memory, &Memory),
) -> Pair<End, End> {
    let sender = Engine::Sender(Box::new(Sender::new(options, filter.clone(), None)));
    let receiver = Engine::Receiver(Box::new(Receiver::new(options.clone(), filter.clone())));
    let a = End::new(sender, from.clone(), rng.fork());
    let b = End::new(receiver, to.clone(), rng.fork());
    Pair::new(a, b, conditions, rng.fork(), epoch())
}

/// Runs a sync until nothing happens any more; true if it is complete.
pub(crate) fn run(pair: &mut Pair<End, End>) -> bool {
    pair.drive_bounded(3_000_000).unwrap();
    assert_eq!(pair.a.violation, None);
    assert_eq!(pair.b.violation, None);
    pair.a.engine.is_finished() && pair.b.engine.is_finished()
}

pub(crate) fn conditions(rng: &mut Rng) -> Conditions {
    let mut conditions = Conditions::default().buffer(1 << (12 + rng.below(8)));
    if rng.chance(1, 2) {
        conditions = conditions
            .delay(Duration::from_millis(rng.spread(300) as u64))
            .jitter(Duration::from_millis(rng.spread(100) as u64));
    }
    if rng.chance(1, 3) {
        conditions = conditions.bandwidth(100_000 + rng.spread(5_000_000) as u64);
    }
    if rng.chance(1, 3) {
        conditions = conditions.chop(1 << (8 + rng.below(8)));
    }
    conditions
}

pub(crate) fn failures(end: &End) -> Vec<String> {
    end.events
        .iter()
        .filter_map(|event| match event {
            Event::Item(item) if item.outcome == Outcome::Failed => Some(item.text.clone()),
            _ => None,
        })
        .collect()
}

/// What became of which entry, in the order of their paths.
pub(crate) fn said(end: &End) -> Vec<(RelPath, u8, u64)> {
    let items = end.events.iter().filter_map(|event| match event {
        Event::Item(item) => Some((item.path.clone(), item.outcome as u8, item.size)),
        _ => None,
    });
    let mut items: Vec<_> = items.collect();
    items.sort();
    items
}

/// Syncs, and then syncs again: the trees are equal, and nothing is sent or changed any more.
fn complete(rng: &mut Rng, from: &Memory, to: &Memory) -> Totals {
    let conditions = conditions(rng);
    let mut first = pair(rng, &conditions, &mirror(), (from, to));
    assert!(run(&mut first), "not complete: {:?}", first.b.engine);
    assert_eq!(failures(&first.b), Vec::<String>::new());
    assert_equal(to, from);
    let totals = first.b.engine.totals();
    let mut second = pair(rng, &Conditions::default(), &mirror(), (from, to));
    assert!(run(&mut second));
    let again = second.b.engine.totals();
    assert_eq!(
        (again.literal, again.files, again.deleted, again.failed),
        (0, 0, 0, 0)
    );
    assert!(second.a.sent < LISTING && second.b.sent < LISTING);
    let items = second
        .b
        .events
        .iter()
        .filter(|event| matches!(event, Event::Item(_)));
    assert_eq!(items.count(), 0);
    assert_equal(to, from);
    totals
}

#[test]
fn sim_any_tree_becomes_any_other() {
    for_seeds(|_, mut rng| {
        let old = tree(&mut rng);
        old.strict(rng.chance(1, 2));
        let new = if rng.chance(1, 3) {
            tree(&mut rng)
        } else {
            later(&mut rng, &old)
        };
        complete(&mut rng, &new, &old);
    });
}

/// docs/wire D20: killed and cut off anywhere, any number of times, the last run completes, and what was
/// there between was always old or new.
#[test]
fn sim_kills_and_cuts_anywhere_are_made_up_for() {
    for_seeds(|_, mut rng| {
        let old = tree(&mut rng);
        old.strict(rng.chance(1, 2));
        let new = if rng.chance(1, 3) {
            tree(&mut rng)
        } else {
            later(&mut rng, &old)
        };
        let before = copy(&old);
        for _ in 0..1 + rng.below(4) {
            let mut conditions = conditions(&mut rng);
            if rng.chance(1, 2) {
                conditions = conditions.cut_after(1 + rng.spread(3_000_000) as u64);
            }
            let mut pair = pair(&mut rng, &conditions, &mirror(), (&new, &old));
            if rng.chance(2, 3) {
                old.kill_after(rng.spread(300) as u64);
            }
            run(&mut pair);
            drop(pair);
            if rng.chance(1, 4) {
                old.crash()
            } else {
                old.revive()
            }
            only_old_or_new(&old, &before, &new);
        }
        complete(&mut rng, &new, &old);
    });
}

/// Every file that users see is one of the two versions, whole.
fn only_old_or_new(now: &Memory, old: &Memory, new: &Memory) {
    let contents = |tree: &Memory| -> Vec<_> {
        facts(tree)
            .into_iter()
            .map(|(path, kind, bytes, ..)| (path, kind, bytes))
            .collect()
    };
    let (old, new) = (contents(old), contents(new));
    for fact in contents(now) {
        let name = fact.0.name();
        if name.starts_with(b".") && name.windows(5).any(|part| part == b".tow-") {
            continue;
        }
        // Hard links share the content of their first name, wherever that came from.
        let known = |tree: &[(_, _, bytes::Bytes)]| {
            tree.contains(&fact) || tree.iter().any(|other| other.2 == fact.2)
        };
        assert!(
            known(&old) || known(&new),
            "{} is neither old nor new",
            fact.0
        );
    }
}

/// docs/wire D20: what was verified before a cut is not sent again.
#[test]
fn sim_a_resumed_file_is_not_sent_again() {
    for_seeds(|seed, mut rng| {
        if seed % 10 != 0 {
            return;
        }
        let (from, to) = (Memory::new(), Memory::new());
        let path = RelPath::root().join(b"big");
        let bytes = rng.bytes(6 << 20);
        from.put(&path, &bytes, 0o644, Default::default()).unwrap();
        let mut literal = 0;
        for _ in 0..4 {
            let cut = Conditions::default().cut_after(1_500_000);
            let mut pair = pair(&mut rng, &cut, &mirror(), (&from, &to));
            run(&mut pair);
            literal += pair.b.engine.totals().literal;
            drop(pair);
            to.revive();
        }
        literal += complete(&mut rng, &from, &to).literal;
        // A piece that was on its way at each cut comes twice.
        assert!(literal < (6 << 20) + 4 * (600 << 10), "{literal}");
    });
}

/// docs/wire D21: what a dry run says is what the run does.
#[test]
fn sim_a_dry_run_says_what_the_run_does() {
    for_seeds(|_, mut rng| {
        let old = tree(&mut rng);
        let new = later(&mut rng, &old);
        let before = facts(&old);
        // Whether a file still shares its content when it is looked at depends on what was done before.
        if before.iter().any(|fact| fact.5 != fact.0) {
            return;
        }
        let dry = Options {
            dry_run: true,
            ..mirror()
        };
        let mut first = pair(&mut rng, &Conditions::default(), &dry, (&new, &old));
        assert!(run(&mut first));
        assert_eq!(facts(&old), before);
        let mut second = pair(&mut rng, &Conditions::default(), &mirror(), (&new, &old));
        assert!(run(&mut second));
        assert_eq!(said(&first.b), said(&second.b));
        // The sender hears the same.
        assert_eq!(said(&second.a), said(&second.b));
    });
}

#[test]
fn sim_a_limit_is_kept() {
    for_seeds(|seed, mut rng| {
        if seed % 20 != 0 {
            return;
        }
        let (from, to) = (Memory::new(), Memory::new());
        let path = RelPath::root().join(b"f");
        let bytes: Vec<u8> = (0..3_000_000_u32)
            .map(|n| (n.wrapping_mul(n) >> 7) as u8 | 1)
            .collect();
        from.put(&path, &bytes, 0o644, Default::default()).unwrap();
        let options = Options {
            limit: Some(1_000_000),
            ..mirror()
        };
        let mut pair = pair(&mut rng, &Conditions::default(), &options, (&from, &to));
        assert!(run(&mut pair));
        let took = pair.elapsed();
        assert!(
            took > Duration::from_millis(2200) && took < Duration::from_millis(3200),
            "{took:?}"
        );
    });
}

#[test]
fn sim_a_full_disk_fails_files_and_not_the_sync() {
    for_seeds(|_, mut rng| {
        let (new, old) = (tree(&mut rng), Memory::new());
        old.room(Some(rng.spread(500_000) as u64));
        let mut pair = pair(&mut rng, &Conditions::default(), &mirror(), (&new, &old));
        assert!(run(&mut pair));
        only_old_or_new(&old, &Memory::new(), &new);
        drop(pair);
        old.room(None);
        complete(&mut rng, &new, &old);
    });
}
