// avg_pool_gradient
//
//   y[n,c,iy,ix] = Σ_{oy,ox} x[n,c,oy,ox] / COUNT   over the windows (oy,ox) that cover (iy,ix), which all have COUNT pixels
//
// Layout      x, y: channel-packed vec4<f32>
// Workgroup   THREADS vectors
// Thread      one vector of y per trip of a grid-stride loop
// Grid        grid-stride over LEN threads, x only
// Memory      none
// Barriers    none
// Edges       pixels that no window covers are 0; there is no padding
// Host        src/kernels/avg_pool_gradient.rs     Reference  src/reference/avg_pool_gradient.rs

@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;

// The number of vectors in y.
override LEN: u32;
override IN_H: u32;
override IN_W: u32;
override OUT_H: u32;
override OUT_W: u32;
override KERNEL_H: u32;
override KERNEL_W: u32;
override STRIDE_H: u32;
override STRIDE_W: u32;
override STRIDE_THREADS: u32;

const THREADS: u32 = 256u;

/// The first window that covers a pixel.
fn first(position: u32, kernel: u32, stride: u32) -> u32 {
    return select(0u, (position - kernel) / stride + 1u, position >= kernel);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) global: vec3<u32>) {
    for (var ix = global.x; ix < LEN; ix += STRIDE_THREADS) {
        let image = ix / (OUT_H * OUT_W);
        let iy = ix / OUT_W % OUT_H;
        let column = ix % OUT_W;
        var sum = vec4<f32>();
        let last_y = min(iy / STRIDE_H + 1u, IN_H);
        let last_x = min(column / STRIDE_W + 1u, IN_W);
        for (var oy = first(iy, KERNEL_H, STRIDE_H); oy < last_y; oy++) {
            for (var ox = first(column, KERNEL_W, STRIDE_W); ox < last_x; ox++) {
                sum += input[(image * IN_H + oy) * IN_W + ox];
            }
        }
        output[ix] = sum / f32(KERNEL_H * KERNEL_W);
    }
}
