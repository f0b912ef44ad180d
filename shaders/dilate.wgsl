// dilate
//
//   y[n,c,STRIDE_H·oy,STRIDE_W·ox] = x[n,c,oy,ox], every other pixel is 0
//
// Layout      x, y: channel-packed vec4<f32>
// Workgroup   THREADS vectors
// Thread      one vector of y per trip of a grid-stride loop
// Grid        grid-stride over LEN threads, x only
// Memory      none
// Barriers    none
// Edges       rows and columns past the last ones of x are 0
// Host        src/kernels/dilate.rs     Reference  src/reference/dilate.rs

@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;

// The number of vectors in y.
override LEN: u32;
override IN_H: u32;
override IN_W: u32;
override OUT_H: u32;
override OUT_W: u32;
override STRIDE_H: u32;
override STRIDE_W: u32;
override STRIDE_THREADS: u32;

const THREADS: u32 = 256u;

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) global: vec3<u32>) {
    for (var ix = global.x; ix < LEN; ix += STRIDE_THREADS) {
        let image = ix / (OUT_H * OUT_W);
        let row = ix / OUT_W % OUT_H;
        let column = ix % OUT_W;
        let oy = row / STRIDE_H;
        let ox = column / STRIDE_W;
        let on_grid = row % STRIDE_H == 0u && column % STRIDE_W == 0u && oy < IN_H && ox < IN_W;
        var y = vec4<f32>();
        if (on_grid) {
            y = input[(image * IN_H + oy) * IN_W + ox];
        }
        output[ix] = y;
    }
}
