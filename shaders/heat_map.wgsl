// heat_map
//
//   y[oy,ox] = color(s · (m(oy,ox) − low)),   m = the cubic B-spline whose coefficients are the map, at the centre of the pixel
//   low, s     the smallest of m at the centres of the map's values and 1 / (largest − smallest); 0 and 1 for a map that is shown
//              as it is
//
// Layout      x: channel-packed vec4<f32>, one channel: the map of one image starts at FIRST
//             y: one u32 a pixel, PITCH to a row: a color of the table, or the bits of an f32
//             table: TABLE_HEADER integers (see below), then 256 colors
// Workgroup   8 × 8 pixels of y
// Thread      every THREADS-th value of the map for the smallest and largest, then one pixel: four by four values
// Grid        [ceil(OUT_W / 8), ceil(OUT_H / 8), 1]
// Memory      lows, highs THREADS·4 B each of workgroup memory
// Barriers    one per level of the tree; no invocation returns before the last one
// Edges       pixels past the last row or column are skipped; beyond its borders the map is extended by its outermost values; a
//             constant map stretches to 0
// Host        src/kernels/heat_map.rs     Reference  src/reference/heat_map.rs

@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> table: array<u32>;
@group(0) @binding(2) var<storage, read_write> output: array<u32>;

const SIDE: u32 = 8u;
const THREADS: u32 = SIDE * SIDE;

// The integers of the header.
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
// From pixels to positions among the values, as the bits of f32.
const SCALE_X: u32 = 8u;
const OFFSET_X: u32 = 9u;
const SCALE_Y: u32 = 10u;
const OFFSET_Y: u32 = 11u;
const TABLE_HEADER: u32 = 12u;

var<workgroup> lows: array<f32, THREADS>;
var<workgroup> highs: array<f32, THREADS>;

/// The position of a pixel's centre among the values.
fn position(pixel: u32, scale: u32, offset: u32) -> f32 {
    return f32(pixel) * bitcast<f32>(table[scale]) + bitcast<f32>(table[offset]);
}

/// The weights of the four values around a position, from first to last.
fn weights(way: f32) -> vec4<f32> {
    let rest = 1.0 - way;
    let square = way * way;
    return vec4<f32>(
        rest * rest * rest,
        3.0 * square * way - 6.0 * square + 4.0,
        3.0 * rest * rest * rest - 6.0 * rest * rest + 4.0,
        square * way,
    ) / 6.0;
}

/// The spline at a position, in units of the map's values.
fn spline(x: f32, y: f32) -> f32 {
    let first = vec2<i32>(floor(vec2(x, y)));
    let across = weights(x - f32(first.x));
    let down = weights(y - f32(first.y));
    let last = vec2<i32>(vec2(table[MAP_W], table[MAP_H])) - 1;
    var sum = 0.0;
    for (var j = 0; j < 4; j++) {
        for (var i = 0; i < 4; i++) {
            let at = clamp(first + vec2(i, j) - 1, vec2<i32>(), last);
            let ix = table[FIRST] + u32(at.y) * table[MAP_W] + u32(at.x);
            sum += across[i] * down[j] * input[ix].x;
        }
    }
    return sum;
}

@compute @workgroup_size(SIDE, SIDE)
fn main(
    @builtin(global_invocation_id) global: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    // 1. Smallest and largest
    var low = spline(0.0, 0.0);
    var high = low;
    for (var ix = thread; ix < table[MAP_W] * table[MAP_H]; ix += THREADS) {
        let value = spline(f32(ix % table[MAP_W]), f32(ix / table[MAP_W]));
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
    var value = spline(
        position(global.x, SCALE_X, OFFSET_X),
        position(global.y, SCALE_Y, OFFSET_Y),
    );
    if (table[STRETCH] != 0u) {
        value = select(0.0, (value - low) / (high - low), high > low);
    }

    // 3. Store
    let color = table[TABLE_HEADER + u32(clamp(value, 0.0, 1.0) * 255.0 + 0.5)];
    output[global.y * table[PITCH] + global.x] =
        select(bitcast<u32>(value), color, table[COLOR] != 0u);
}
