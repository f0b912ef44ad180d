//! Decides which activations share a buffer, by liveness and a greedy assignment of slots.
//!
//! A pure function from steps and sizes to slots. A value lives from the step that writes it to the
//! last step that reads it. Values may share a slot if their lives do not overlap; a value may also
//! take over the slot of one that it replaces element by element (the in-place residual), although
//! that one is read while it is written. Buffers and textures never share a slot.

use std::cmp::Reverse;

use crate::kernels::Storage;

mod exact;

/// The size of a value, and its kind of storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Size in bytes.
    pub bytes: u64,
    /// Values of different storage never share a slot.
    pub storage: Storage,
}

impl Footprint {
    /// A value in a buffer.
    pub const fn buffer(bytes: u64) -> Self {
        Self {
            bytes,
            storage: Storage::Buffer,
        }
    }
}

/// A step, reduced to what the memory planner needs; values are indices into the list of sizes.
#[derive(Clone, Debug, Default)]
pub struct StepUse {
    /// Values that the step reads.
    pub reads: Vec<usize>,
    /// The value that it writes.
    pub write: usize,
    /// A value among `reads` that `write` may replace element by element.
    pub in_place: Option<usize>,
}

/// The slots of all values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// The slot of each value; `None` for values that no step writes.
    pub slot_of: Vec<Option<usize>>,
    /// Size and storage of each slot.
    pub slots: Vec<Footprint>,
    /// The largest number of bytes alive at the same time, below which no assignment can go.
    pub lower_bound_bytes: u64,
}

impl Assignment {
    /// Total size of all slots in bytes.
    pub fn total_bytes(&self) -> u64 {
        self.slots.iter().map(|slot| slot.bytes).sum()
    }
}

/// The first and last step of each value's life; `None` for values that no step writes.
fn lives(values: &[Footprint], steps: &[StepUse], kept: &[usize]) -> Vec<Option<(usize, usize)>> {
    let mut lives: Vec<Option<(usize, usize)>> = vec![None; values.len()];
    for (index, step) in steps.iter().enumerate() {
        lives[step.write] = Some((index, index));
        for &read in &step.reads {
            if let Some((_, last)) = &mut lives[read] {
                *last = index;
            }
        }
    }
    for &value in kept {
        if let Some((_, last)) = &mut lives[value] {
            *last = steps.len();
        }
    }
    lives
}

/// Whether the step's output takes over the slot of a value that is not used after this step.
fn takes_over(
    index: usize,
    step: &StepUse,
    values: &[Footprint],
    lives: &[Option<(usize, usize)>],
) -> Option<usize> {
    let source = step.in_place?;
    let (_, last) = lives[source]?;
    let only_read_once = step.reads.iter().filter(|&&r| r == source).count() == 1;
    (last == index && only_read_once && values[source] == values[step.write]).then_some(source)
}

/// Assigns slots; `kept` values remain intact until after the last step.
///
/// Values joined by in-place steps share a slot by definition; `search` describes how the others
/// are placed.
pub fn assign(values: &[Footprint], steps: &[StepUse], kept: &[usize]) -> Assignment {
    let lives = lives(values, steps, kept);

    // Values joined by in-place steps form a chain that lives in one slot.
    let mut chain_of: Vec<Option<usize>> = vec![None; values.len()];
    let mut chains: Vec<Chain> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let Some(life) = lives[step.write] else {
            continue;
        };
        if let Some(chain) = takes_over(index, step, values, &lives).and_then(|s| chain_of[s]) {
            chains[chain].last = life.1;
            chain_of[step.write] = Some(chain);
        } else {
            chain_of[step.write] = Some(chains.len());
            chains.push(Chain {
                size: values[step.write],
                first: life.0,
                last: life.1,
            });
        }
    }

    let alive = |step: usize| -> u64 {
        let alive = chains.iter().filter(|c| c.first <= step && step <= c.last);
        alive.map(|c| c.size.bytes).sum()
    };
    let lower_bound_bytes = (0..steps.len()).map(alive).max().unwrap_or(0);
    let (slot_of_chain, slots) = search(&chains);
    Assignment {
        slot_of: chain_of
            .iter()
            .map(|chain| chain.map(|c| slot_of_chain[c]))
            .collect(),
        slots,
        lower_bound_bytes,
    }
}

/// Values that share a slot because each takes over from the one before.
struct Chain {
    size: Footprint,
    first: usize,
    last: usize,
}

impl Chain {
    fn life(&self) -> exact::Life {
        exact::Life {
            bytes: self.size.bytes,
            first: self.first,
            last: self.last,
        }
    }
}

/// The slot of each chain, and the slots.
type Placement = (Vec<usize>, Vec<Footprint>);

/// Searches for the smallest placement.
///
/// The greedy placement is tried in three orders: as the chains are written; the largest first
/// (Pisarchyk & Lee 2020, arXiv:2001.03288); and, among equally large ones, the longest-lived first
/// and later ones before earlier ones. If few chains are alive at once, an exhaustive search then
/// looks for a smaller placement, for textures and buffers separately.
fn search(chains: &[Chain]) -> Placement {
    let in_order: Vec<usize> = (0..chains.len()).collect();
    let mut largest_first = in_order.clone();
    largest_first.sort_by_key(|&c| Reverse(chains[c].size.bytes));
    let mut longest_first: Vec<usize> = in_order.iter().rev().copied().collect();
    longest_first.sort_by_key(|&c| {
        let chain = &chains[c];
        Reverse((chain.size.bytes, chain.last - chain.first))
    });
    let placed = [in_order, largest_first, longest_first].map(|order| place(chains, &order));
    let best = placed.into_iter().min_by_key(|(_, slots)| bytes_of(slots));
    let mut best = best.unwrap_or_default();
    for storage in [Storage::Buffer, Storage::Texture] {
        improve(&mut best, chains, storage);
    }
    best
}

fn bytes_of(slots: &[Footprint]) -> u64 {
    slots.iter().map(|slot| slot.bytes).sum()
}

/// Replaces the slots of one kind of storage with those of the exhaustive search, if these are
/// smaller.
fn improve((slot_of, slots): &mut Placement, chains: &[Chain], storage: Storage) {
    let own: Vec<usize> = (0..chains.len())
        .filter(|&c| chains[c].size.storage == storage)
        .collect();
    let lives: Vec<exact::Life> = own.iter().map(|&c| chains[c].life()).collect();
    let old = slots.iter().enumerate();
    let old = old.filter(|(_, slot)| slot.storage == storage);
    let (old, sizes): (Vec<usize>, Vec<u64>) = old.map(|(i, slot)| (i, slot.bytes)).unzip();
    let Some((found, new)) = exact::place(&lives, sizes.iter().sum()) else {
        return;
    };
    // The remaining slots move up.
    let mut renumbered = vec![0; slots.len()];
    let mut kept = Vec::new();
    for (index, slot) in slots.iter().enumerate() {
        if !old.contains(&index) {
            renumbered[index] = kept.len();
            kept.push(*slot);
        }
    }
    for slot in slot_of.iter_mut() {
        *slot = renumbered[*slot];
    }
    for (&chain, index) in own.iter().zip(found) {
        slot_of[chain] = kept.len() + index;
    }
    kept.extend(new.into_iter().map(|bytes| Footprint { bytes, storage }));
    *slots = kept;
}

/// Gives each chain, in the given order, the free slot that wastes least space or grows least.
fn place(chains: &[Chain], order: &[usize]) -> Placement {
    let mut slot_of = vec![usize::MAX; chains.len()];
    let mut slots: Vec<(Footprint, Vec<usize>)> = Vec::new();
    for &index in order {
        let chain = &chains[index];
        let free = slots.iter().enumerate().filter(|(_, (slot, members))| {
            slot.storage == chain.size.storage
                && members
                    .iter()
                    .all(|&m| chains[m].last < chain.first || chain.last < chains[m].first)
        });
        let best = free
            .min_by_key(|(_, (slot, _))| {
                (
                    chain.size.bytes.saturating_sub(slot.bytes),
                    slot.bytes.saturating_sub(chain.size.bytes),
                )
            })
            .map(|(slot, _)| slot);
        let slot = best.unwrap_or_else(|| {
            slots.push((chain.size, Vec::new()));
            slots.len() - 1
        });
        slots[slot].0.bytes = slots[slot].0.bytes.max(chain.size.bytes);
        slots[slot].1.push(index);
        slot_of[index] = slot;
    }
    (slot_of, slots.into_iter().map(|(slot, _)| slot).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(reads: &[usize], write: usize, in_place: Option<usize>) -> StepUse {
        StepUse {
            reads: reads.to_vec(),
            write,
            in_place,
        }
    }

    #[test]
    fn a_chain_of_steps_needs_two_slots() {
        // Value 0 comes from the caller.
        let steps = [
            step(&[0], 1, None),
            step(&[1], 2, None),
            step(&[2], 3, None),
        ];
        let plan = assign(&[Footprint::buffer(8); 4], &steps, &[3]);
        assert_eq!(plan.slot_of[0], None, "the caller's value has no slot");
        assert_eq!(plan.slots, [Footprint::buffer(8); 2], "two slots");
        assert_eq!(plan.slot_of[1], plan.slot_of[3], "the first is reused");
        assert_eq!(plan.lower_bound_bytes, 16, "two values are alive at once");
    }

    #[test]
    fn an_in_place_step_takes_over_the_slot_only_when_the_value_dies_there() {
        let dies = [
            step(&[0], 1, None),
            step(&[0], 2, None),
            step(&[2, 1], 3, Some(1)),
        ];
        let plan = assign(&[Footprint::buffer(8); 4], &dies, &[3]);
        assert_eq!(
            plan.slot_of[1], plan.slot_of[3],
            "value 1 dies in the last step"
        );
        assert_ne!(
            plan.slot_of[2], plan.slot_of[3],
            "value 2 is read while 3 is written"
        );

        let kept = assign(&[Footprint::buffer(8); 4], &dies, &[1, 3]);
        assert_ne!(kept.slot_of[1], kept.slot_of[3], "value 1 is asked for");

        let read_twice = [step(&[0], 1, None), step(&[1, 1], 2, Some(1))];
        let plan = assign(&[Footprint::buffer(8); 3], &read_twice, &[2]);
        assert_ne!(
            plan.slot_of[1], plan.slot_of[2],
            "value 1 is also an ordinary input"
        );
    }
    #[test]
    fn a_texture_never_takes_the_slot_of_a_buffer() {
        let texture = Footprint {
            bytes: 8,
            storage: Storage::Texture,
        };
        let values = [Footprint::buffer(8), Footprint::buffer(8), texture, texture];
        let steps = [
            step(&[0], 1, None),
            step(&[1], 2, None),
            step(&[2], 3, None),
        ];
        let plan = assign(&values, &steps, &[3]);
        assert_eq!(plan.slots.len(), 3, "value 3 may not reuse the buffer");
        assert_eq!(plan.lower_bound_bytes, 16, "two values are alive at once");
        for (value, slot) in plan.slot_of.iter().enumerate().skip(1) {
            let slot = plan.slots[slot.unwrap()];
            assert_eq!(slot.storage, values[value].storage, "value {value}");
        }
    }
}
