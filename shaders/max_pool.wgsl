// max_pool
//
//   y[n,c,oy,ox] = max_{ky,kx} x[n,c, oy·STRIDE_H+ky-PAD_TOP, ox·STRIDE_W+kx-PAD_LEFT]
//
// Layout      x, y: channel-packed vectors
// Workgroup   THREADS outputs of four channels
// Thread      four channels of one output pixel per trip of a grid-stride loop
// Grid        grid-stride over GROUPS · OUT_PIXELS threads, x only
// Memory      none
// Barriers    none
// Edges       positions outside the image are skipped, or count as 0 when ZERO_PADDED; no window lies entirely outside
// Host        src/kernels/max_pool.rs     Reference  src/reference/max_pool.rs

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

override GROUPS: u32;
override IN_H: u32;
override IN_W: u32;
override IN_PIXELS: u32;
override OUT_H: u32;
override OUT_W: u32;
override OUT_PIXELS: u32;
override KERNEL_H: u32;
override KERNEL_W: u32;
override STRIDE_H: u32;
override STRIDE_W: u32;
override PAD_TOP: u32;
override PAD_LEFT: u32;
override ZERO_PADDED: bool;
override STRIDE_THREADS: u32;

const THREADS: u32 = 256u;
const LOWEST: f32 = -3.40282346e38;

fn pool(c_group: u32, px: u32) -> vec4<f32> {
    let ox = px % OUT_W;
    let row = px / OUT_W;
    let oy = row % OUT_H;
    let n = row / OUT_H;
    var y = vec4<f32>(LOWEST);
    for (var ky = 0u; ky < KERNEL_H; ky++) {
        let iy = i32(oy * STRIDE_H + ky) - i32(PAD_TOP);
        for (var kx = 0u; kx < KERNEL_W; kx++) {
            let ix = i32(ox * STRIDE_W + kx) - i32(PAD_LEFT);
            if (iy >= 0 && iy < i32(IN_H) && ix >= 0 && ix < i32(IN_W)) {
                let input_ix = c_group * IN_PIXELS + (n * IN_H + u32(iy)) * IN_W + u32(ix);
                y = max(y, widened(input[input_ix]));
            } else if (ZERO_PADDED) {
                y = max(y, vec4<f32>());
            }
        }
    }
    return y;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) global: vec3<u32>) {
    for (var output_ix = global.x; output_ix < GROUPS * OUT_PIXELS; output_ix += STRIDE_THREADS) {
        output[output_ix] = narrowed(pool(output_ix / OUT_PIXELS, output_ix % OUT_PIXELS));
    }
}
