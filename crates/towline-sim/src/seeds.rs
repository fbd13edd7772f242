//! Which seeds a simulation runs, and which of them failed.

use std::{
    env,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// The seeds of a simulation, as the environment says.
///
/// `TOWLINE_SEED=S` asks for one, to see a failure again; `TOWLINE_SIM_SEEDS=N` asks for the first N.
///
/// ```
/// use towline_sim::{Rng, Seeds};
///
/// let mut heads = 0;
/// let seeds = Seeds::from_env(100);
/// seeds.run(|seed| heads += Rng::from_seed(seed).below(2));
/// // A simulation that no longer meets what it is for would pass for ever.
/// assert!(!seeds.are_usual() || heads > 20);
/// ```
#[derive(Debug, Clone)]
pub struct Seeds {
    range: Range<u64>,
    usual: u64,
}

impl Seeds {
    /// What the environment asks for; else the first `usual` seeds.
    ///
    /// # Panics
    ///
    /// If one of the two variables is not a number.
    pub fn from_env(usual: u64) -> Self {
        let range = match number("TOWLINE_SEED") {
            Some(seed) => seed..seed.saturating_add(1),
            None => 0..number("TOWLINE_SIM_SEEDS").unwrap_or(usual),
        };
        Self { range, usual }
    }

    /// True if there are at least as many as usual, so that every kind of run is among them.
    pub fn are_usual(&self) -> bool {
        self.range.end - self.range.start >= self.usual
    }

    /// Runs a simulation with every seed.
    ///
    /// # Panics
    ///
    /// If a run panics: with what it said, its seed, and how to see it again.
    #[expect(clippy::panic, reason = "a test fails by panicking")]
    pub fn run(&self, mut simulation: impl FnMut(u64)) {
        for seed in self.range.clone() {
            let Err(cause) = catch_unwind(AssertUnwindSafe(|| simulation(seed))) else {
                continue;
            };
            let cause = cause
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| cause.downcast_ref::<&str>().copied())
                .unwrap_or("a panic without a text");
            panic!("seed {seed}: {cause}; repeat it with TOWLINE_SEED={seed}");
        }
    }
}

#[expect(clippy::panic, reason = "a test fails by panicking")]
fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is not a number")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_its_seed() {
        let seeds = Seeds {
            range: 3..9,
            usual: 6,
        };
        assert!(seeds.are_usual());
        let mut ran = Vec::new();
        let failure = catch_unwind(AssertUnwindSafe(|| {
            seeds.run(|seed| {
                ran.push(seed);
                assert!(seed < 5, "too large");
            });
        }))
        .expect_err("the run with seed 5 fails");
        assert_eq!(
            failure.downcast_ref::<String>().map(String::as_str),
            Some("seed 5: too large; repeat it with TOWLINE_SEED=5")
        );
        assert_eq!(ran, [3, 4, 5]);
    }
}
