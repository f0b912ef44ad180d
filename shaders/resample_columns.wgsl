// resample_columns
//
//   y[oy,ox] = byte(Σ_k w[oy,k] · x[first[oy] + k, ox])
//
// Layout      x, y: RGBA8, one u32 each, red in the lowest byte; y starts at FIRST
//             table: TABLE_HEADER integers (see below), then three integers for each row of y: the first row of x that it
//             reads, how many, and where in the table their weights lie, in units of 2^−PRECISION_BITS
// Workgroup   8 × 8 pixels of y
// Thread      one pixel
// Grid        [ceil(OUT_W / 8), ceil(OUT_H / 8), 1]
// Memory      none
// Barriers    none
// Edges       pixels past the last row or column are skipped; alpha is ignored and stores 255
// Host        src/kernels/resample.rs     Reference  src/picture/resize.rs

@group(0) @binding(0) var<storage, read> input: array<u32>;
@group(0) @binding(1) var<storage, read> table: array<i32>;
@group(0) @binding(2) var<storage, read_write> output: array<u32>;

const SIDE: u32 = 8u;
const PRECISION_BITS: u32 = 22u;

// The integers of the header.
const OUT_W: u32 = 0u;
const OUT_H: u32 = 1u;
const FIRST: u32 = 2u;
const TABLE_HEADER: u32 = 3u;

@compute @workgroup_size(SIDE, SIDE)
fn main(@builtin(global_invocation_id) global: vec3<u32>) {
    let out_w = u32(table[OUT_W]);
    if (global.x >= out_w || global.y >= u32(table[OUT_H])) {
        return;
    }
    let tap = TABLE_HEADER + 3u * global.y;
    let first = u32(table[tap]);
    let count = u32(table[tap + 1u]);
    let weights = u32(table[tap + 2u]);
    var sum = vec3<i32>(1 << (PRECISION_BITS - 1u));
    for (var k = 0u; k < count; k++) {
        let pixel = input[(first + k) * out_w + global.x];
        let bytes = (vec3(pixel) >> vec3(0u, 8u, 16u)) & vec3(255u);
        sum += table[weights + k] * vec3<i32>(bytes);
    }
    let rgb = vec3<u32>(clamp(sum >> vec3(PRECISION_BITS), vec3(0), vec3(255)));
    output[u32(table[FIRST]) + global.y * out_w + global.x] =
        rgb.r | (rgb.g << 8u) | (rgb.b << 16u) | (255u << 24u);
}
