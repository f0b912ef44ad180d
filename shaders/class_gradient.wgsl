// class_gradient
//
//   y[n,c,h,w] = weight[k,c,h,w],   k = choice if that is 0 or more, else the first of the largest logits of image n
//
// Layout      logits: channel-packed vec4<f32>, one pixel per image   y: channel-packed vec4<f32>
//             weight: [k], each row channel-packed as one image of y   choice: one scalar in a vector
// Workgroup   THREADS vectors of one image of y
// Thread      every THREADS-th logit, a tree over the workgroup, then one vector
// Grid        [ceil(LEN / THREADS), N, 1]
// Memory      best THREADS·4 B, best_class THREADS·4 B of workgroup memory
// Barriers    one per level of the tree; no invocation returns before the last one
// Edges       a class past the last one is the last one
// Host        src/kernels/class_gradient.rs     Reference  src/reference/class_gradient.rs

@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> choice: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4<f32>>;

override CLASSES: u32;
override BATCH: u32;
// The number of vectors, and of pixels, in one image of y.
override LEN: u32;
override PIXELS: u32;

const THREADS: u32 = 64u;
const LOWEST: f32 = -3.40282346e38;

var<workgroup> best: array<f32, THREADS>;
var<workgroup> best_class: array<u32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let n = workgroup.y;

    // 1. Choose
    best[thread] = LOWEST;
    best_class[thread] = CLASSES - 1u;
    for (var k = thread; k < CLASSES; k += THREADS) {
        let logit = input[k / 4u * BATCH + n][k % 4u];
        if (logit > best[thread]) {
            best[thread] = logit;
            best_class[thread] = k;
        }
    }
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (thread < half) {
            let other = best[thread + half];
            let first = best_class[thread + half] < best_class[thread];
            if (other > best[thread] || (other == best[thread] && first)) {
                best[thread] = other;
                best_class[thread] = best_class[thread + half];
            }
        }
    }
    workgroupBarrier();
    var k = best_class[0];
    if (choice[0].x >= 0.0) {
        k = min(u32(choice[0].x), CLASSES - 1u);
    }

    // 2. Store
    let ix = workgroup.x * THREADS + thread;
    if (ix < LEN) {
        let c_group = ix / PIXELS;
        output[(c_group * BATCH + n) * PIXELS + ix % PIXELS] = weight[k * LEN + ix];
    }
}
