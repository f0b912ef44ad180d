// resize
//
//   y[n,c,oy,ox] = Σ_{iy,ix} b(iy - p(oy)) · b(ix - p(ox)) · x[n,c,iy,ix],   p(o) = (o + 1/2) · SCALE - 1/2
//
//   b(d) = max(1 - |d|, 0); without LINEAR, it is 1 for the pixel whose area contains p, and 0 for all others
//
// Layout      x, y: channel-packed vectors
// Workgroup   THREADS outputs of four channels
// Thread      four channels of one output pixel per trip of a grid-stride loop
// Grid        grid-stride over LEN threads, x only
// Memory      none
// Barriers    none
// Edges       positions outside the image are moved to its first or last row or column
// Host        src/kernels/resize.rs     Reference  src/reference/resize.rs

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
// Rows and columns of the image for one of the result.
override SCALE_H: f32;
override SCALE_W: f32;
override LINEAR: bool;
override STRIDE_THREADS: u32;

const THREADS: u32 = 256u;

// The two rows or columns around a position, and how far it is from the first one.
struct Tap {
    before: u32,
    after: u32,
    fraction: f32,
}

fn tap(o: u32, scale: f32, size: u32) -> Tap {
    let position = (f32(o) + 0.5) * scale;
    if !LINEAR {
        let nearest = min(u32(position), size - 1u);
        return Tap(nearest, nearest, 0.0);
    }
    let from_center = max(position - 0.5, 0.0);
    let before = min(u32(from_center), size - 1u);
    return Tap(before, min(before + 1u, size - 1u), from_center - f32(before));
}

fn row(base: u32, column: Tap) -> vec4<f32> {
    let before = widened(input[base + column.before]);
    let after = widened(input[base + column.after]);
    return before + (after - before) * column.fraction;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) global: vec3<u32>) {
    for (var output_ix = global.x; output_ix < LEN; output_ix += STRIDE_THREADS) {
        let column = tap(output_ix % OUT_W, SCALE_W, IN_W);
        let line = tap(output_ix / OUT_W % OUT_H, SCALE_H, IN_H);
        // A group of channels holds one image after another, and group follows group.
        let image = output_ix / (OUT_W * OUT_H) * IN_H;
        if LINEAR {
            let above = row((image + line.before) * IN_W, column);
            let below = row((image + line.after) * IN_W, column);
            output[output_ix] = narrowed(above + (below - above) * line.fraction);
        } else {
            output[output_ix] = input[(image + line.before) * IN_W + column.before];
        }
    }
}
