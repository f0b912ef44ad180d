// global_avg_pool
//
//   y[n,c] = Σ_{h,w} x[n,c,h,w] / (H·W)
//
// Layout      x, y: channel-packed vec4<f32>
// Workgroup   four channels of one image
// Thread      every THREADS-th pixel, then a tree over the workgroup
// Grid        [C / 4, N, 1], rounded up
// Memory      partial THREADS·16 B of workgroup memory
// Barriers    one per level of the tree; no invocation returns before the last one
// Edges       any number of pixels, including fewer than THREADS
// Host        src/kernels/global_avg_pool.rs     Reference  src/reference/global_avg_pool.rs

// Four channels of a pixel as they lie in memory.
alias Stored = vec4<f32>;

fn widened(stored: Stored) -> vec4<f32> {
    return stored;
}

fn narrowed(value: vec4<f32>) -> Stored {
    return value;
}

@group(0) @binding(0) var<storage, read> input: array<Stored>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;

// Pixels of one image.
override PIXELS: u32;
override BATCH: u32;

const THREADS: u32 = 64u;

var<workgroup> partial: array<vec4<f32>, THREADS>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let c_group = workgroup.x;
    let n = workgroup.y;
    let first = (c_group * BATCH + n) * PIXELS;
    var sum = vec4<f32>();
    for (var pixel = thread; pixel < PIXELS; pixel += THREADS) {
        sum += widened(input[first + pixel]);
    }
    partial[thread] = sum;
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (thread < half) {
            partial[thread] += partial[thread + half];
        }
    }
    if (thread == 0u) {
        output[c_group * BATCH + n] = partial[0] / f32(PIXELS);
    }
}
