//! Damaged files, to which no reader may react with a panic, a hang or excessive memory use.
//!
//! By default there are few rounds, always the same. `FUZZ_ROUNDS=1000000 FUZZ_SEED=2` or
//! `FUZZ_SECONDS=600` runs more; a failure says how to repeat its round.

#![allow(dead_code, reason = "each test uses a part")]
#![allow(
    unreachable_pub,
    reason = "the module is compiled into each test binary"
)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ops::Range;
use std::time::{Duration, Instant};

/// The longest that a file of a few kilobytes may take, even on the slowest machine.
const LONGEST: Duration = Duration::from_secs(20);

/// Most bytes that describe the rest of a file are this close to its start or end.
const ENDS: usize = 8192;

/// The rounds of a test, and the random numbers of each.
pub struct Fuzz {
    seed: u64,
    rounds: Range<u64>,
    end: Option<Instant>,
    /// When the round started.
    start: Instant,
    state: u64,
}

impl Fuzz {
    /// Runs this many rounds, unless the environment says otherwise.
    pub fn new(rounds: u64) -> Self {
        let number = |name| {
            let text = std::env::var(name).ok()?;
            let number = text.parse();
            Some(number.unwrap_or_else(|_| panic!("{name}='{text}' is no number")))
        };
        let seconds: Option<u64> = number("FUZZ_SECONDS");
        let rounds = match seconds {
            Some(_) => u64::MAX,
            None => number("FUZZ_ROUNDS").unwrap_or(rounds),
        };
        let start = Instant::now();
        Self {
            seed: number("FUZZ_SEED").unwrap_or(1),
            rounds: 0..rounds,
            end: seconds.map(|seconds| start + Duration::from_secs(seconds)),
            start,
            state: 0,
        }
    }

    /// Starts the next round, if there is one.
    pub fn next_round(&mut self) -> bool {
        let last = self.start.elapsed();
        assert!(last < LONGEST, "a round took {last:?}");
        if self.end.is_some_and(|end| Instant::now() >= end) {
            return false;
        }
        let Some(round) = self.rounds.next() else {
            return false;
        };
        self.state = self.seed.wrapping_add(round);
        self.start = Instant::now();
        true
    }

    /// The number of completed rounds.
    pub fn done(&self) -> u64 {
        self.rounds.start
    }

    /// A random number below a limit, by Steele and Vigna's splitmix64.
    pub fn below(&mut self, limit: usize) -> usize {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) >> 33).unwrap() % limit
    }

    /// Picks one of several values.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A copy of a file with a few changes. `tokens` are bytes with a meaning in the format.
    pub fn spoil(&mut self, file: &[u8], tokens: &[u8]) -> Vec<u8> {
        let mut spoilt = file.to_vec();
        for _ in 0..=self.below(5) {
            if spoilt.is_empty() {
                break;
            }
            let near = self.below(spoilt.len().min(ENDS));
            let at = match self.below(3) {
                0 => near,
                1 => spoilt.len() - 1 - near,
                _ => self.below(spoilt.len()),
            };
            self.change(&mut spoilt, at, tokens);
        }
        if self.below(32) == 0 {
            let length = self.below(spoilt.len() + 1);
            spoilt.truncate(length);
        }
        spoilt
    }

    fn change(&mut self, file: &mut Vec<u8>, at: usize, tokens: &[u8]) {
        match self.below(16) {
            0..4 => file[at] = self.pick(tokens),
            4..8 => file[at] ^= 1 << self.below(8),
            8..10 => file[at] = u8::try_from(self.below(256)).unwrap(),
            10..14 => {
                // A size or offset, of any width.
                let length = self.pick(&[1, 2, 4, 8]).min(file.len() - at);
                let value = self.pick(&[0, 1, 0x7f, 0x80, 0xff]);
                file[at..at + length].fill(value);
            }
            14 => {
                file.remove(at);
            }
            _ => {
                let to = self.below(file.len());
                let length = 1 + self.below(40);
                let piece = file[at..(at + length).min(file.len())].to_vec();
                file.splice(to..to, piece);
            }
        }
    }
}

impl Drop for Fuzz {
    fn drop(&mut self) {
        let round = self.rounds.start.saturating_sub(1);
        if std::thread::panicking() {
            let seed = self.seed.wrapping_add(round);
            eprintln!("in round {round}; again by FUZZ_SEED={seed} FUZZ_ROUNDS=1");
        } else if self.end.is_some() {
            eprintln!("{} rounds", self.rounds.start);
        }
    }
}
