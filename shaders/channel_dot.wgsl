// channel_dot
//
//   y[n,0,h,w] = Σ_c g(x[n,c,h,w]) · activation[n,c,h,w],   g = max(·, 0) if POSITIVE, else the identity
//
// Layout      x, activation, y: channel-packed vec4<f32>; y has one channel
// Workgroup   one pixel
// Thread      every THREADS-th group of four channels, then a tree over the workgroup
// Grid        [PIXELS, 1, 1] as two dimensions of GRID_X
// Memory      partial THREADS·4 B of workgroup memory
// Barriers    one per level of the tree; no invocation returns before the last one
// Edges       channel tails add 0; the other lanes of y store 0
// Host        src/kernels/channel_dot.rs     Reference  src/reference/channel_dot.rs

@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> activation: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> output: array<vec4<f32>>;

override C_GROUPS: u32;
// Pixels of the whole batch.
override PIXELS: u32;
override GRID_X: u32;
override POSITIVE: bool;

const THREADS: u32 = 64u;

var<workgroup> partial: array<f32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let pixel = workgroup.y * GRID_X + workgroup.x;
    // The last row of workgroups may reach past the last pixel, which it then repeats.
    let read = min(pixel, PIXELS - 1u);
    var sum = 0.0;
    for (var c_group = thread; c_group < C_GROUPS; c_group += THREADS) {
        let ix = c_group * PIXELS + read;
        let x = input[ix];
        sum += dot(select(x, max(x, vec4<f32>()), POSITIVE), activation[ix]);
    }
    partial[thread] = sum;
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (thread < half) {
            partial[thread] += partial[thread + half];
        }
    }
    if (thread == 0u && pixel < PIXELS) {
        output[pixel] = vec4<f32>(partial[0], 0.0, 0.0, 0.0);
    }
}
