// blur_pool
//
//   y[n,c,oy,ox] = Σ_{ky,kx} b[ky]·b[kx] · x[n,c, m(oy·STRIDE_H+ky-1), m(ox·STRIDE_W+kx-1)],   b = [1 2 1] / 4
//
// Layout      x, y: channel-packed vectors
// Workgroup   THREADS outputs of four channels
// Thread      four channels of one output pixel per trip of a grid-stride loop
// Grid        grid-stride over LEN threads, x only
// Memory      none
// Barriers    none
// Edges       m mirrors a position outside the image at the first or last row or column, which is not repeated
// Host        src/kernels/blur_pool.rs     Reference  src/reference/blur_pool.rs

// Four channels of a pixel as they lie in memory.
alias Stored = vec4<f32>;

fn widened(stored: Stored) -> vec4<f32> {
    return stored;
}

fn narrowed(value: vec4<f32>) -> Stored {
    return value;
}

@group(0) @binding(0) var<storage, read> input: array<Stored>;
@group(0) @binding(1) var<storage, read_write> output: array<Stored>;

// Vectors of the result.
override LEN: u32;
override IN_H: u32;
override IN_W: u32;
override OUT_H: u32;
override OUT_W: u32;
override STRIDE_H: u32;
override STRIDE_W: u32;
override STRIDE_THREADS: u32;

const THREADS: u32 = 256u;

fn mirrored(position: u32, size: u32) -> u32 {
    // Counted from one before the first pixel, so that it is never negative.
    let from_start = abs(i32(position) - 1);
    let last = i32(size) - 1;
    return u32(min(from_start, 2 * last - from_start));
}

fn row(base: u32, ox: u32) -> vec4<f32> {
    let left = widened(input[base + mirrored(ox * STRIDE_W, IN_W)]);
    let middle = widened(input[base + ox * STRIDE_W]);
    let right = widened(input[base + mirrored(ox * STRIDE_W + 2u, IN_W)]);
    return 0.25 * left + 0.5 * middle + 0.25 * right;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) global: vec3<u32>) {
    for (var output_ix = global.x; output_ix < LEN; output_ix += STRIDE_THREADS) {
        let ox = output_ix % OUT_W;
        let oy = output_ix / OUT_W % OUT_H;
        // A group of channels holds one image after another, and group follows group.
        let image = output_ix / (OUT_W * OUT_H) * IN_H;
        let above = row((image + mirrored(oy * STRIDE_H, IN_H)) * IN_W, ox);
        let middle = row((image + oy * STRIDE_H) * IN_W, ox);
        let below = row((image + mirrored(oy * STRIDE_H + 2u, IN_H)) * IN_W, ox);
        output[output_ix] = narrowed(0.25 * above + 0.5 * middle + 0.25 * below);
    }
}
