//! Finds the smallest slots by exhaustive search, if few values are alive at the same time.
//!
//! At each point in time, the state is which slots are taken, and until when. Few slots have few
//! states, so for given slot sizes every placement is tried, and each state only once. Combinations
//! of sizes are tried in order of their sum: the first that holds all values is the best.

use std::collections::HashSet;

/// Limits for values alive at the same time and for distinct sizes; beyond them it would take too
/// long.
const MAX_ALIVE: usize = 4;
const MAX_SIZES: usize = 16;

/// A value: its size, and the first and last step of its life.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    pub(super) bytes: u64,
    pub(super) first: usize,
    pub(super) last: usize,
}

/// Returns the slot of each value and the sizes of the slots, if their sum is less than `limit`.
///
/// There are as many slots as values alive at the same time, or one more. `None` if no placement is
/// found, or if too many values are alive at the same time.
pub(super) fn place(lives: &[Life], limit: u64) -> Option<(Vec<usize>, Vec<u64>)> {
    let mut order: Vec<usize> = (0..lives.len()).collect();
    order.sort_by_key(|&value| lives[value].first);
    let alive_with = |life: &Life| {
        let step = life.first;
        let alive = lives.iter().filter(|l| l.first <= step && step <= l.last);
        (alive.clone().count(), alive.map(|l| l.bytes).sum::<u64>())
    };
    let alive = lives.iter().map(|life| alive_with(life).0).max()?;
    let least = lives.iter().map(|life| alive_with(life).1).max()?;
    let mut sizes: Vec<u64> = lives.iter().map(|life| life.bytes).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    sizes.dedup();
    if alive > MAX_ALIVE || sizes.len() > MAX_SIZES {
        return None;
    }
    let mut all_slots = Vec::new();
    for count in [alive, alive + 1] {
        // The largest value needs the largest slot.
        descending(&sizes, vec![sizes[0]], count, &mut all_slots);
    }
    all_slots.retain(|slots| (least..limit).contains(&slots.iter().sum()));
    all_slots.sort_by_key(|slots| slots.iter().sum::<u64>());
    all_slots.into_iter().find_map(|slots| {
        let mut search = Search {
            lives,
            order: &order,
            slots: &slots,
            slot_of: vec![0; lives.len()],
            failed: HashSet::new(),
        };
        let found = search.from(0, &vec![None; slots.len()]);
        found.then(|| (search.slot_of.clone(), slots.clone()))
    })
}

/// All non-increasing lists of `count` sizes that begin with `start`.
fn descending(sizes: &[u64], start: Vec<u64>, count: usize, all: &mut Vec<Vec<u64>>) {
    if start.len() == count {
        all.push(start);
        return;
    }
    for &size in sizes.iter().filter(|size| start.last() >= Some(size)) {
        let longer = [&start[..], &[size]].concat();
        descending(sizes, longer, count, all);
    }
}

struct Search<'a> {
    lives: &'a [Life],
    /// The values, ordered by the start of their lives.
    order: &'a [usize],
    slots: &'a [u64],
    slot_of: Vec<usize>,
    /// States from which the remaining values cannot be placed.
    failed: HashSet<(usize, Vec<Option<usize>>)>,
}

impl Search<'_> {
    /// Places the values from `index` on; `until` is the last step for which each slot is taken.
    fn from(&mut self, index: usize, until: &[Option<usize>]) -> bool {
        let Some(&value) = self.order.get(index) else {
            return true;
        };
        let life = self.lives[value];
        let state: Vec<Option<usize>> = until
            .iter()
            .map(|last| last.filter(|&last| last >= life.first))
            .collect();
        let key = (index, state);
        if self.failed.contains(&key) {
            return false;
        }
        let mut tried = None;
        for (slot, &bytes) in self.slots.iter().enumerate() {
            // Of several free slots of the same size, only one is tried.
            if key.1[slot].is_some() || bytes < life.bytes || tried == Some(bytes) {
                continue;
            }
            tried = Some(bytes);
            let mut next = key.1.clone();
            next[slot] = Some(life.last);
            self.slot_of[value] = slot;
            if self.from(index + 1, &next) {
                return true;
            }
        }
        self.failed.insert(key);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(bytes: u64, first: usize, last: usize) -> Life {
        Life { bytes, first, last }
    }

    #[test]
    fn what_the_greedy_order_wastes_is_found() {
        // 8 and 4 alive, then 4 and 8: two slots of 8 would do, 8 and 4 do not.
        let crossing = [life(8, 0, 1), life(4, 1, 2), life(8, 2, 3)];
        let (slot_of, slots) = place(&crossing, 100).unwrap();
        assert_eq!(slots, [8, 4], "the two of 8 share a slot");
        assert_eq!(slot_of[0], slot_of[2]);
        // Alternating, a chain needs both slots for the large values.
        let chain = [life(8, 0, 1), life(8, 1, 2), life(4, 2, 3), life(8, 3, 4)];
        let (_, slots) = place(&chain, 100).unwrap();
        assert_eq!(slots, [8, 8]);
    }

    #[test]
    fn only_something_smaller_is_found() {
        let two = [life(8, 0, 1), life(4, 1, 2)];
        assert!(place(&two, 13).is_some());
        assert!(place(&two, 12).is_none(), "12 is what they need");
        assert!(place(&[], 12).is_none(), "nothing to place");
        let many: Vec<Life> = (0..9).map(|first| life(1, first, 20)).collect();
        assert!(place(&many, 100).is_none(), "nine at once");
    }
}
