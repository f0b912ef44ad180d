// linear
//
//   y[n,o] = bias[o] + Σ_i w[o,i] · x[n,i]
//
// Layout      x, y: channel-packed vec4<f32>, one pixel per image   w: [o / 4][i / 4] as four vec4 over i, one per o   bias: [o], zero-padded
// Workgroup   four outputs of one image
// Thread      every THREADS-th group of four inputs, then a tree over the workgroup
// Grid        [OUT / 4, N, 1], rounded up
// Memory      partial THREADS·16 B of workgroup memory
// Barriers    one per level of the tree; no invocation returns before the last one
// Edges       input and output tails have zero weights and bias
// Host        src/kernels/linear.rs     Reference  src/reference/linear.rs

// Four channels of a pixel as they lie in memory.
alias Stored = vec4<f32>;

fn widened(stored: Stored) -> vec4<f32> {
    return stored;
}

fn narrowed(value: vec4<f32>) -> Stored {
    return value;
}

@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weight: array<Stored>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4<f32>>;

override IN_GROUPS: u32;
override BATCH: u32;

const THREADS: u32 = 64u;

var<workgroup> partial: array<vec4<f32>, THREADS>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let o_group = workgroup.x;
    let n = workgroup.y;
    var sum = vec4<f32>();
    for (var i_group = thread; i_group < IN_GROUPS; i_group += THREADS) {
        let x = input[i_group * BATCH + n];
        let weight_ix = (o_group * IN_GROUPS + i_group) * 4u;
        sum += vec4<f32>(
            dot(widened(weight[weight_ix]), x),
            dot(widened(weight[weight_ix + 1u]), x),
            dot(widened(weight[weight_ix + 2u]), x),
            dot(widened(weight[weight_ix + 3u]), x),
        );
    }
    partial[thread] = sum;
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (thread < half) {
            partial[thread] += partial[thread + half];
        }
    }
    if (thread == 0u) {
        output[o_group * BATCH + n] = partial[0] + bias[o_group];
    }
}
