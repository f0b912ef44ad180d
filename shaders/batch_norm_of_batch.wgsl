// batch_norm_of_batch
//
//   y[n,c,h,w] = act( (x[n,c,h,w] − μ[c]) · γ[c] / √(σ²[c] + ε) + β[c] ),   μ, σ² over n, h and w of this x
//
// Layout      x, y: channel-packed vectors   gamma, beta: [c], zero-padded
// Workgroup   four channels of the whole batch
// Thread      every THREADS-th pixel, three times: mean, variance, result
// Grid        [C / 4, 1, 1], rounded up
// Memory      partial THREADS·16 B of workgroup memory
// Barriers    two trees, one per sum; no invocation returns before the last one
// Edges       any number of pixels; lanes past C have zero gamma and beta, and a variance that is
//             kept from zero, so tails stay zero
// Host        src/kernels/batch_norm_of_batch.rs     Reference  src/reference/batch_norm.rs

// Four channels of a pixel as they lie in memory.
alias Stored = vec4<f32>;

fn widened(stored: Stored) -> vec4<f32> {
    return stored;
}

fn narrowed(value: vec4<f32>) -> Stored {
    return value;
}

@group(0) @binding(0) var<storage, read> input: array<Stored>;
@group(0) @binding(1) var<storage, read> gamma: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> beta: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> output: array<Stored>;

// Pixels of the whole batch.
override PIXELS: u32;
override EPSILON: f32;
override RELU: bool;

const THREADS: u32 = 256u;

// The smallest normal number: a channel without variance must not become 0 · ∞.
const LEAST: f32 = 1.17549435e-38;

var<workgroup> partial: array<vec4<f32>, THREADS>;

// The sum over all threads, known to all of them.
fn total(thread: u32, value: vec4<f32>) -> vec4<f32> {
    partial[thread] = value;
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (thread < half) {
            partial[thread] += partial[thread + half];
        }
    }
    workgroupBarrier();
    let sum = partial[0];
    workgroupBarrier();
    return sum;
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let c_group = workgroup.x;
    let first = c_group * PIXELS;

    // 1. Mean
    var sum = vec4<f32>();
    for (var pixel = thread; pixel < PIXELS; pixel += THREADS) {
        sum += widened(input[first + pixel]);
    }
    let mean = total(thread, sum) / f32(PIXELS);

    // 2. Variance, from the distances to the mean: x² − μ² would suffer from cancellation
    sum = vec4<f32>();
    for (var pixel = thread; pixel < PIXELS; pixel += THREADS) {
        let distance = widened(input[first + pixel]) - mean;
        sum += distance * distance;
    }
    let variance = total(thread, sum) / f32(PIXELS);

    // 3. Result
    let scale = gamma[c_group] / sqrt(max(variance + EPSILON, vec4<f32>(LEAST)));
    let shift = beta[c_group];
    for (var pixel = thread; pixel < PIXELS; pixel += THREADS) {
        let y = (widened(input[first + pixel]) - mean) * scale + shift;
        output[first + pixel] = narrowed(select(y, vec4<f32>(), (y < vec4<f32>()) & vec4<bool>(RELU)));
    }
}
