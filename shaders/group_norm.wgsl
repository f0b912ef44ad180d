// group_norm
//
//   y[n,c,h,w] = (x[n,c,h,w] − μ[n,g]) · γ[c] / √(σ²[n,g] + ε) + β[c],   g = c / SIZE; μ, σ² over the channels of g, h and w
//
// Layout      x, y: channel-packed vectors   gamma, beta: [c], zero-padded
// Workgroup   VECTORS vectors of channels of one image: the fewest that whole groups fill, four at most
// Thread      every THREADS-th scalar of each group, twice: mean, variance; then every THREADS-th vector
// Grid        [ceil(C / 4 / VECTORS), N, 1]
// Memory      partial THREADS·4 B of workgroup memory
// Barriers    two trees per group; no invocation returns before the last one
// Edges       any number of pixels; lanes past C have zero gamma and beta, so tails stay zero
// Host        src/kernels/group_norm.rs     Reference  src/reference/group_norm.rs

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

override CHANNELS: u32;
// Pixels of the whole batch, and of one image.
override PIXELS: u32;
override PLANE: u32;
// Channels of a group.
override SIZE: u32;
override VECTORS: u32;
override EPSILON: f32;

const THREADS: u32 = 256u;

// The smallest normal number: a group without variance must not become 0 · ∞.
const LEAST: f32 = 1.17549435e-38;

var<workgroup> partial: array<f32, THREADS>;

// The sum over all threads, known to all of them.
fn total(thread: u32, value: f32) -> f32 {
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

// One scalar of a group that begins with channel `first_c`.
fn scalar(first_c: u32, first_px: u32, i: u32) -> f32 {
    let c = first_c + i / PLANE;
    return widened(input[c / 4u * PIXELS + first_px + i % PLANE])[c % 4u];
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let first_vector = workgroup.x * VECTORS;
    let first_px = workgroup.y * PLANE;
    let groups = min(4u * VECTORS, CHANNELS - 4u * first_vector) / SIZE;
    let count = SIZE * PLANE;

    // 1. Statistics of each group
    var means = vec4<f32>();
    var scales = vec4<f32>();
    for (var group = 0u; group < groups; group++) {
        let first_c = 4u * first_vector + group * SIZE;
        var sum = 0.0;
        for (var i = thread; i < count; i += THREADS) {
            sum += scalar(first_c, first_px, i);
        }
        let mean = total(thread, sum) / f32(count);
        // From the distances to the mean: x² − μ² would suffer from cancellation
        sum = 0.0;
        for (var i = thread; i < count; i += THREADS) {
            let distance = scalar(first_c, first_px, i) - mean;
            sum += distance * distance;
        }
        let variance = total(thread, sum) / f32(count);
        // FXC unrolls a loop that writes to a component by number, and cannot unroll this one.
        let here = vec4<u32>(0u, 1u, 2u, 3u) == vec4<u32>(group);
        means = select(means, vec4<f32>(mean), here);
        scales = select(scales, vec4<f32>(1.0 / sqrt(max(variance + EPSILON, LEAST))), here);
    }

    // 2. Result
    let vectors = min(VECTORS, (CHANNELS + 3u) / 4u - first_vector);
    for (var i = thread; i < vectors * PLANE; i += THREADS) {
        let in_block = i / PLANE;
        let c_group = first_vector + in_block;
        let ix = c_group * PIXELS + first_px + i % PLANE;
        let group = min((vec4<u32>(4u * in_block) + vec4<u32>(0u, 1u, 2u, 3u)) / SIZE, vec4<u32>(3u));
        let mean = vec4<f32>(means[group.x], means[group.y], means[group.z], means[group.w]);
        let scale = vec4<f32>(scales[group.x], scales[group.y], scales[group.z], scales[group.w]);
        output[ix] = narrowed((widened(input[ix]) - mean) * scale * gamma[c_group] + beta[c_group]);
    }
}
