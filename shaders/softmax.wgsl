// softmax
//
//   y[n,c] = exp(x[n,c] − m) / Σ_c exp(x[n,c] − m),   m = max_c x[n,c]
//
// Layout      x, y: channel-packed vec4<f32>, one pixel per image
// Workgroup   one image
// Thread      every THREADS-th group of four channels, then a tree over the workgroup, twice
// Grid        [N, 1, 1]
// Memory      partial THREADS·4 B of workgroup memory
// Barriers    one per level of each tree and one between them; no invocation returns before the last one
// Edges       lanes past C neither win the maximum nor add to the sum, and store 0
// Host        src/kernels/softmax.rs     Reference  src/reference/softmax.rs

@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;

override CHANNELS: u32;
override BATCH: u32;

const THREADS: u32 = 64u;
const LOWEST: f32 = -3.40282346e38;

var<workgroup> partial: array<f32, THREADS>;

/// Which lanes of a channel group are channels.
fn inside(c_group: u32) -> vec4<bool> {
    return vec4(4u * c_group) + vec4(0u, 1u, 2u, 3u) < vec4(CHANNELS);
}

fn exponentials(c_group: u32, n: u32, highest: f32) -> vec4<f32> {
    let e = exp(input[c_group * BATCH + n] - highest);
    return select(vec4<f32>(), e, inside(c_group));
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let n = workgroup.x;
    let c_groups = (CHANNELS + 3u) / 4u;

    // 1. Maximum
    var highest = vec4<f32>(LOWEST);
    for (var c_group = thread; c_group < c_groups; c_group += THREADS) {
        let x = input[c_group * BATCH + n];
        highest = max(highest, select(vec4<f32>(LOWEST), x, inside(c_group)));
    }
    partial[thread] = max(max(highest.x, highest.y), max(highest.z, highest.w));
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (thread < half) {
            partial[thread] = max(partial[thread], partial[thread + half]);
        }
    }
    let m = workgroupUniformLoad(&partial[0]);

    // 2. Sum
    var sum = vec4<f32>();
    for (var c_group = thread; c_group < c_groups; c_group += THREADS) {
        sum += exponentials(c_group, n, m);
    }
    partial[thread] = dot(sum, vec4<f32>(1.0));
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (thread < half) {
            partial[thread] += partial[thread + half];
        }
    }
    let total = workgroupUniformLoad(&partial[0]);

    // 3. Store
    for (var c_group = thread; c_group < c_groups; c_group += THREADS) {
        output[c_group * BATCH + n] = exponentials(c_group, n, m) / total;
    }
}
