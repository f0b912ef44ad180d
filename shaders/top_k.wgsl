// top_k
//
//   y = the K pairs (r, x[r]) with the largest x[r], and of equal ones those with the smaller r; in any order
//
// Layout      x: one f32 for each row, none of them NaN   y: K pairs of the row and the bits of its number
// Workgroup   all rows: it finds the K-th pair by its digits, the first one first, then stores those that are not behind it
// Thread      every THREADS-th row
// Grid        [1, 1, 1]
// Memory      counts BINS·4 B of workgroup memory, and four numbers
// Barriers    three per digit, one after the last; no invocation returns before the last one
// Edges       K ≤ rows
// Host        src/kernels/top_k.rs     Reference  tests/similarity.rs

@group(0) @binding(0) var<storage, read> input: array<u32>;
@group(0) @binding(1) var<storage, read_write> output: array<vec2<u32>>;

override K: u32;

const THREADS: u32 = 256u;
// One for each value of a digit, and for each thread.
const BINS: u32 = 256u;
const DIGIT_BITS: u32 = 8u;
const DIGITS: u32 = 8u;

var<workgroup> counts: array<atomic<u32>, BINS>;
/// The digits of the K-th pair that are known, and how many of the pairs that have them are among the K.
var<workgroup> prefix: vec2<u32>;
var<workgroup> missing: u32;
/// Whether all pairs with these digits are among the K.
var<workgroup> found: u32;
var<workgroup> stored: atomic<u32>;

/// The pair of a row as an integer of 64 bits, which is larger the earlier it comes.
fn key(row: u32) -> vec2<u32> {
    var bits = input[row];
    // Zero has two signs and one value.
    if (bits == 0x80000000u) {
        bits = 0u;
    }
    let ordered = select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
    return vec2(ordered, ~row);
}

/// A digit of a key, the first one of the largest weight.
fn digit_of(key: vec2<u32>, digit: u32) -> u32 {
    let word = select(key.y, key.x, digit < DIGITS / 2u);
    return (word >> (24u - DIGIT_BITS * (digit % (DIGITS / 2u)))) & (BINS - 1u);
}

/// The bits of the first digits of a key.
fn mask_of(digits: u32) -> vec2<u32> {
    let in_word = vec2(min(digits, DIGITS / 2u), max(digits, DIGITS / 2u) - DIGITS / 2u);
    // A shift by all 32 bits would be one by none.
    return select(~(vec2(0xffffffffu) >> (in_word * DIGIT_BITS)), vec2(0xffffffffu), in_word == vec2(DIGITS / 2u));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) thread: u32) {
    let rows = arrayLength(&input);
    if (thread == 0u) {
        prefix = vec2<u32>();
        missing = K;
        atomicStore(&stored, 0u);
    }
    var digits = 0u;
    var done = false;
    while (digits < DIGITS && !done) {
        // 1. Count the next digit of the pairs that begin like the K-th
        atomicStore(&counts[thread], 0u);
        workgroupBarrier();
        let mask = mask_of(digits);
        let begin = prefix;
        for (var row = thread; row < rows; row += THREADS) {
            let pair = key(row);
            if (all((pair & mask) == begin)) {
                atomicAdd(&counts[digit_of(pair, digits)], 1u);
            }
        }
        workgroupBarrier();

        // 2. Find the one that the K-th has
        if (thread == 0u) {
            var left = missing;
            var digit = BINS - 1u;
            while (digit > 0u && atomicLoad(&counts[digit]) < left) {
                left -= atomicLoad(&counts[digit]);
                digit--;
            }
            let shift = 24u - DIGIT_BITS * (digits % (DIGITS / 2u));
            prefix |= select(vec2(0u, digit << shift), vec2(digit << shift, 0u), digits < DIGITS / 2u);
            missing = left;
            found = u32(atomicLoad(&counts[digit]) == left);
        }
        digits++;
        done = workgroupUniformLoad(&found) == 1u;
    }

    // 3. Store the pairs that are not behind it
    let mask = mask_of(digits);
    let last = workgroupUniformLoad(&prefix);
    for (var row = thread; row < rows; row += THREADS) {
        let first = key(row) & mask;
        if (first.x > last.x || (first.x == last.x && first.y >= last.y)) {
            let at = atomicAdd(&stored, 1u);
            if (at < K) {
                output[at] = vec2(row, input[row]);
            }
        }
    }
}
