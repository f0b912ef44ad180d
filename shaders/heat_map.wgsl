// heat_map
//
//   y[oy,ox] = color(s · (m(oy,ox) − low)),   m = the map at the centre of the pixel, bilinear, clamped at its borders
//   low, s     the map's smallest value and 1 / (largest − smallest); 0 and 1 for a map that is shown as it is
//
// Layout      x: channel-packed vec4<f32>, one channel: the map of one image starts at FIRST
//             y: one u32 a pixel, PITCH to a row: a color of the table, or the bits of an f32
//             table: TABLE_HEADER integers (see below), then 256 colors
// Workgroup   8 × 8 pixels of y
// Thread      every THREADS-th value of the map for the smallest and largest, then one pixel
// Grid        [ceil(OUT_W / 8), ceil(OUT_H / 8), 1]
// Memory      lows, highs THREADS·4 B each of workgroup memory
// Barriers    one per level of the tree; no invocation returns before the last one
// Edges       pixels past the last row or column are skipped; a constant map that is stretched is 0
// Host        src/kernels/heat_map.rs     Reference  src/reference/heat_map.rs

@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> table: array<u32>;
@group(0) @binding(2) var<storage, read_write> output: array<u32>;

const SIDE: u32 = 8u;
const THREADS: u32 = SIDE * SIDE;

// What the integers of the header are.
const OUT_W: u32 = 0u;
const OUT_H: u32 = 1u;
const PITCH: u32 = 2u;
const FIRST: u32 = 3u;
const MAP_W: u32 = 4u;
const MAP_H: u32 = 5u;
// Whether the map is stretched to 0..1.
const STRETCH: u32 = 6u;
// Whether values become colors of the table.
const COLOR: u32 = 7u;
const TABLE_HEADER: u32 = 8u;

var<workgroup> lows: array<f32, THREADS>;
var<workgroup> highs: array<f32, THREADS>;

/// The first of the two values between which a pixel lies, and how far it is on the way from there.
fn position(pixel: u32, pixels: u32, values: u32) -> vec2<f32> {
    let center = (f32(pixel) + 0.5) * f32(values) / f32(pixels) - 0.5;
    let clamped = clamp(center, 0.0, f32(values - 1u));
    let first = min(floor(clamped), f32(max(values, 2u) - 2u));
    return vec2<f32>(first, clamped - first);
}

fn map_at(x: u32, y: u32) -> f32 {
    let last = vec2(table[MAP_W] - 1u, table[MAP_H] - 1u);
    let at = min(vec2(x, y), last);
    return input[table[FIRST] + at.y * table[MAP_W] + at.x].x;
}

@compute @workgroup_size(SIDE, SIDE)
fn main(
    @builtin(global_invocation_id) global: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    // 1. Smallest and largest
    var low = input[table[FIRST]].x;
    var high = low;
    for (var ix = thread; ix < table[MAP_W] * table[MAP_H]; ix += THREADS) {
        let value = input[table[FIRST] + ix].x;
        low = min(low, value);
        high = max(high, value);
    }
    lows[thread] = low;
    highs[thread] = high;
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (thread < half) {
            lows[thread] = min(lows[thread], lows[thread + half]);
            highs[thread] = max(highs[thread], highs[thread + half]);
        }
    }
    workgroupBarrier();
    low = lows[0];
    high = highs[0];

    // 2. Interpolate
    if (global.x >= table[OUT_W] || global.y >= table[OUT_H]) {
        return;
    }
    let x = position(global.x, table[OUT_W], table[MAP_W]);
    let y = position(global.y, table[OUT_H], table[MAP_H]);
    let ix = u32(x.x);
    let iy = u32(y.x);
    let above = mix(map_at(ix, iy), map_at(ix + 1u, iy), x.y);
    let below = mix(map_at(ix, iy + 1u), map_at(ix + 1u, iy + 1u), x.y);
    var value = mix(above, below, y.y);
    if (table[STRETCH] != 0u) {
        value = select(0.0, (value - low) / (high - low), high > low);
    }

    // 3. Store
    let color = table[TABLE_HEADER + u32(clamp(value, 0.0, 1.0) * 255.0 + 0.5)];
    output[global.y * table[PITCH] + global.x] =
        select(bitcast<u32>(value), color, table[COLOR] != 0u);
}
