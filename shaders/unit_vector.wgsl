// unit_vector
//
//   y[n,k] = x[n,k] / √Σ_k x[n,k]²
//
// Layout      x: channel-packed, WIDTH vec4<f32> of each of COUNT images   y: the same, image after image
// Workgroup   the vector of an image
// Thread      every THREADS-th part of it, then a tree over the threads
// Grid        [COUNT, 1, 1]
// Memory      largest, partial 2·THREADS·4 B of workgroup memory
// Barriers    one per level of each tree, and one between them; no invocation returns before the last one
// Edges       zeros, and a vector with a number that is not finite, have no direction: zeros
// Host        src/kernels/unit_vector.rs     Reference  tests/similarity.rs

@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;

override WIDTH: u32;
override COUNT: u32;

const THREADS: u32 = 64u;

// The bits of infinity and of the smallest number that every device keeps: as integers, magnitudes have the
// order of the numbers, and NaN is beyond infinity.
const INFINITY: u32 = 0x7f800000u;
const SMALLEST: u32 = 0x00800000u;
const MAGNITUDE: u32 = 0x7fffffffu;

/// The bits of the largest magnitude, for each thread; and the sums.
var<workgroup> largest: array<u32, THREADS>;
var<workgroup> partial: array<f32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let image = workgroup.x;
    // 1. The largest magnitude
    var most = vec4<u32>();
    for (var k = thread; k < WIDTH; k += THREADS) {
        most = max(most, bitcast<vec4<u32>>(input[k * COUNT + image]) & vec4(MAGNITUDE));
    }
    largest[thread] = max(max(most.x, most.y), max(most.z, most.w));
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (thread < half) {
            largest[thread] = max(largest[thread], largest[thread + half]);
        }
    }
    workgroupBarrier();
    let magnitude = largest[0];
    let directed = magnitude >= SMALLEST && magnitude < INFINITY;
    let scale = select(1.0, bitcast<f32>(magnitude), directed);

    // 2. The length, of numbers up to 1: no square overflows
    var sum = 0.0;
    for (var k = thread; k < WIDTH; k += THREADS) {
        let x = input[k * COUNT + image] / scale;
        sum += dot(x, x);
    }
    partial[thread] = sum;
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (thread < half) {
            partial[thread] += partial[thread + half];
        }
    }
    workgroupBarrier();
    let length = sqrt(partial[0]);

    // 3. Store
    for (var k = thread; k < WIDTH; k += THREADS) {
        var y = vec4<f32>();
        if (directed) {
            y = input[k * COUNT + image] / scale / length;
        }
        output[image * WIDTH + k] = y;
    }
}
