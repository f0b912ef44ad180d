// similarity
//
//   y[r] = Σ_k x[r,k]·q[k],   for vectors of length 1 the cosine of the angle between them
//
// Layout      x: rows of WIDTH vec4<f32>, one after another   q: one such row   y: one f32 for each row
// Workgroup   ROWS rows
// Thread      every LANES-th vector of a row, then a tree over the LANES
// Grid        [ceil(rows / ROWS), 1, 1]
// Memory      partial ROWS·LANES·4 B of workgroup memory
// Barriers    one per level of the tree; no invocation returns before the last one
// Edges       rows past the last one are not read; what rounding adds to a cosine beyond ±1 is cut off
// Host        src/kernels/similarity.rs     Reference  tests/similarity.rs

@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> query: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

override WIDTH: u32;

const ROWS: u32 = 4u;
const LANES: u32 = 16u;
const THREADS: u32 = 64u;

/// The sum of each thread.
var<workgroup> partial: array<f32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = workgroup.x * ROWS + thread / LANES;
    let lane = thread % LANES;
    let inside = row < arrayLength(&output);
    var sum = 0.0;
    if (inside) {
        for (var k = lane; k < WIDTH; k += LANES) {
            sum += dot(input[row * WIDTH + k], query[k]);
        }
    }
    partial[thread] = sum;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (lane < half) {
            partial[thread] += partial[thread + half];
        }
    }
    if (inside && lane == 0u) {
        output[row] = clamp(partial[thread], -1.0, 1.0);
    }
}
