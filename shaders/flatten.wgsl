// flatten
//
//   y[n,i] = x[n,c,h,w],   i = (c·H + h)·W + w, or (h·W + w)·C + c when CHANNELS_LAST
//
// Layout      x, y: channel-packed vec4<f32>; y has one pixel per image
// Workgroup   THREADS output vectors
// Thread      four scalars of one image per trip of a grid-stride loop
// Grid        grid-stride over ceil(C·H·W / 4) · BATCH threads, x only
// Memory      none
// Barriers    none
// Edges       lanes past C·H·W store 0
// Host        src/kernels/flatten.rs     Reference  src/reference/flatten.rs

@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;

override CHANNELS: u32;
// Pixels of one image.
override PIXELS: u32;
override BATCH: u32;
override CHANNELS_LAST: bool;
override STRIDE_THREADS: u32;

const THREADS: u32 = 64u;

fn scalar_at(i: u32, n: u32) -> f32 {
    if (i >= CHANNELS * PIXELS) {
        return 0.0;
    }
    let c = select(i / PIXELS, i % CHANNELS, CHANNELS_LAST);
    let pixel = select(i % PIXELS, i / CHANNELS, CHANNELS_LAST);
    return input[((c / 4u) * BATCH + n) * PIXELS + pixel][c % 4u];
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) global: vec3<u32>) {
    let groups = (CHANNELS * PIXELS + 3u) / 4u;
    for (var output_ix = global.x; output_ix < groups * BATCH; output_ix += STRIDE_THREADS) {
        let i = output_ix / BATCH * 4u;
        let n = output_ix % BATCH;
        output[output_ix] = vec4<f32>(
            scalar_at(i, n),
            scalar_at(i + 1u, n),
            scalar_at(i + 2u, n),
            scalar_at(i + 3u, n),
        );
    }
}
