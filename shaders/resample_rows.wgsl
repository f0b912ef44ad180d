// resample_rows
//
//   y[r,ox] = byte(Σ_k w[ox,k] · x[row(r), first[ox] + k]),   x = 255 · the encoded colour, rounded
//
// Layout      image: a view of the host's, any float format; of several PLANES its red channel is luma   y: RGBA8, one
//             u32 each, red in the lowest byte   chroma: a view of half the size, rounded up, Cb and Cr; of three PLANES
//             Cb alone, and cr the other; not read otherwise
//             table: TABLE_HEADER integers (see below), then three integers for each column of y: the first column of
//             the rectangle that it reads, how many, and where in the table their weights lie, in units of 2^−PRECISION_BITS
// Workgroup   8 × 8 pixels of y
// Thread      one pixel
// Grid        [ceil(OUT_W / 8), ceil(rows / 8), 1]
// Memory      none
// Barriers    none
// Edges       pixels past the last row or column are skipped; alpha is ignored and stores 255; chroma past an edge is
//             that at the edge
// Host        src/kernels/resample.rs     Reference  src/picture/resize.rs

@group(0) @binding(0) var image: texture_2d<f32>;
@group(0) @binding(1) var chroma: texture_2d<f32>;
@group(0) @binding(2) var cr: texture_2d<f32>;
@group(0) @binding(3) var<storage, read> table: array<i32>;
@group(0) @binding(4) var<storage, read_write> output: array<u32>;

// 1: colours, 2 and 3: video.
override PLANES: u32;

const SIDE: u32 = 8u;
const PRECISION_BITS: u32 = 22u;

// The integers of the header.
const OUT_W: u32 = 0u;
const ROWS: u32 = 1u;
const LEFT: u32 = 2u;
const TOP: u32 = 3u;
// 1 downwards, -1 upwards.
const ROW_STEP: u32 = 4u;
// Whether the colours are linear, as sampled from an sRGB view.
const LINEAR: u32 = 5u;
// Which channels are the colour: RGB, BGR, or the first alone.
const CHANNELS: u32 = 6u;
const BGR: i32 = 1;
const FIRST_ALONE: i32 = 2;
// The bits of the factor before the tone map; zero for none.
const EXPOSURE: u32 = 7u;
// The bits of the numbers of a Conversion.
const CONVERSION: u32 = 8u;
const TABLE_HEADER: u32 = 15u;

/// From samples of luma and chroma to red, green and blue.
struct Conversion {
    black: f32,
    luma_scale: f32,
    // Where Cb and Cr are zero.
    grey: f32,
    red_of_cr: f32,
    green_of_cb: f32,
    green_of_cr: f32,
    blue_of_cb: f32,
}

fn number(ix: u32) -> f32 {
    return bitcast<f32>(table[CONVERSION + ix]);
}

/// The sRGB transfer function, IEC 61966-2-1.
fn encoded(linear: vec3<f32>) -> vec3<f32> {
    let dark = linear * 12.92;
    let bright = 1.055 * pow(max(linear, vec3(1e-9)), vec3(1.0 / 2.4)) - 0.055;
    return select(bright, dark, linear <= vec3(0.0031308));
}

/// The filmic curve that Narkowicz fitted to ACES (2015): black stays black, 1 becomes 0.80, and light
/// without bound 1.
fn tone_mapped(light: vec3<f32>) -> vec3<f32> {
    // Beyond it the curve is 1, and infinity would be no number.
    let x = min(light, vec3(1e4));
    return x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14);
}

fn chroma_sample(at: vec2<i32>) -> vec2<f32> {
    var sample = textureLoad(chroma, at, 0).rg;
    if (PLANES == 3u) {
        sample.y = textureLoad(cr, at, 0).r;
    }
    return sample;
}

/// Chroma lies at the even columns of the luma, and halfway between an even row and the next one.
fn chroma_at(column: i32, row: i32) -> vec2<f32> {
    let last = vec2<i32>(textureDimensions(chroma)) - 1;
    let near = vec2(column, row) / 2;
    // Of an even column the neighbour is itself.
    let odd = vec2(column, row) % 2;
    let next = clamp(near + vec2(odd.x, 2 * odd.y - 1), vec2<i32>(), last);
    let near_row = chroma_sample(near) + chroma_sample(vec2(next.x, near.y));
    let next_row = chroma_sample(vec2(near.x, next.y)) + chroma_sample(next);
    return 0.375 * near_row + 0.125 * next_row;
}

fn color_of_video(column: i32, row: i32, by: Conversion) -> vec3<f32> {
    let luma = (textureLoad(image, vec2(column, row), 0).r - by.black) * by.luma_scale;
    var c = chroma_at(column, row) - by.grey;
    if (table[CHANNELS] == BGR) {
        c = c.yx;
    }
    return luma + vec3(by.red_of_cr * c.y, by.green_of_cb * c.x + by.green_of_cr * c.y, by.blue_of_cb * c.x);
}

/// A colour of video as bytes.
fn bytes_of_video(column: i32, row: i32, by: Conversion) -> vec3<i32> {
    let color = clamp(color_of_video(column, row, by), vec3<f32>(), vec3(1.0));
    return vec3<i32>(color * 255.0 + 0.5);
}

/// A colour as bytes; NaN becomes 0.
fn bytes_at(column: i32, row: i32) -> vec3<i32> {
    var color = textureLoad(image, vec2(column, row), 0).rgb;
    color = select(vec3<f32>(), color, color > vec3<f32>());
    if (table[EXPOSURE] != 0) {
        color = tone_mapped(color * bitcast<f32>(table[EXPOSURE]));
    }
    color = min(color, vec3(1.0));
    if (table[LINEAR] != 0) {
        color = encoded(color);
    }
    if (table[CHANNELS] == BGR) {
        color = color.bgr;
    } else if (table[CHANNELS] == FIRST_ALONE) {
        color = color.rrr;
    }
    return vec3<i32>(color * 255.0 + 0.5);
}

@compute @workgroup_size(SIDE, SIDE)
fn main(@builtin(global_invocation_id) global: vec3<u32>) {
    let out_w = u32(table[OUT_W]);
    if (global.x >= out_w || global.y >= u32(table[ROWS])) {
        return;
    }
    let tap = TABLE_HEADER + 3u * global.x;
    let row = table[TOP] + table[ROW_STEP] * i32(global.y);
    let first = table[LEFT] + table[tap];
    let count = table[tap + 1u];
    let weights = table[tap + 2u];
    var sum = vec3<i32>(1 << (PRECISION_BITS - 1u));
    if (PLANES > 1u) {
        let by = Conversion(number(0u), number(1u), number(2u), number(3u), number(4u), number(5u), number(6u));
        for (var k = 0; k < count; k++) {
            sum += table[weights + k] * bytes_of_video(first + k, row, by);
        }
    } else {
        for (var k = 0; k < count; k++) {
            sum += table[weights + k] * bytes_at(first + k, row);
        }
    }
    let rgb = vec3<u32>(clamp(sum >> vec3(PRECISION_BITS), vec3(0), vec3(255)));
    output[global.y * out_w + global.x] = rgb.r | (rgb.g << 8u) | (rgb.b << 16u) | (255u << 24u);
}
