// similarity_texture
//
//   y[r] = Σ_k x[r,k]·q[k],   for vectors of length 1 the cosine of the angle between them
//
// Layout      x: folded texture, blocks of ROWS rows: [block][k][row of the block], one texel = four numbers of one row;
//             rows past the last one are zeros   q: folded texture, WIDTH texels   y: one f32 for each row
// Workgroup   a block: as many threads as a subgroup has lanes
// Thread      PER_THREAD rows, THREADS apart: the threads read texels side by side, and share that of the query
// Grid        [ceil(rows / ROWS), 1, 1]
// Memory      none
// Barriers    none
// Edges       rows past the last one are not stored; what rounding adds to a cosine beyond ±1 is cut off
// Host        src/kernels/textures/similarity_texture.rs     Reference  tests/similarity.rs

@group(0) @binding(0) var input: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var query: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

// Texels of a row.
override WIDTH: u32;

const THREADS: u32 = 8u;
const PER_THREAD: u32 = 8u;
const ROWS: u32 = THREADS * PER_THREAD;

// A texture is FOLD_WIDTH texels wide.
const FOLD_SHIFT: u32 = 10u;
const FOLD_WIDTH: i32 = 1 << FOLD_SHIFT;

fn folded(ix: i32) -> vec2<i32> {
    return vec2<i32>(ix & (FOLD_WIDTH - 1), ix >> FOLD_SHIFT);
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    var texel = i32(workgroup.x * WIDTH * ROWS + thread);
    var sums: array<vec4<f32>, PER_THREAD>;
    for (var k = 0; k < i32(WIDTH); k++) {
        let q = textureLoad(query, folded(k));
        for (var i = 0u; i < PER_THREAD; i++) {
            sums[i] += textureLoad(input, folded(texel + i32(i * THREADS))) * q;
        }
        texel += i32(ROWS);
    }
    for (var i = 0u; i < PER_THREAD; i++) {
        let row = workgroup.x * ROWS + i * THREADS + thread;
        if (row < arrayLength(&output)) {
            let sum = (sums[i][0] + sums[i][1]) + (sums[i][2] + sums[i][3]);
            output[row] = clamp(sum, -1.0, 1.0);
        }
    }
}
