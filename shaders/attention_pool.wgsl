// attention_pool
//
//   z[n,h,c] = Σ_j a[n,h,j] · y[n,j,c],   a[n,h,·] = softmax over j of Σ_c q[n,h,c] · y[n,j,c]
//   y[n,0,c] = mean of x[n,c,·] + position[0,c],   y[n,1+p,c] = x[n,c,p] + position[1+p,c]
//
// Layout      x, q, z: channel-packed vec4<f32>; q and z have one pixel and C channels for each query
//             position: [c / 4][j], four channels to a vector
// Workgroup   one query of one image
// Thread      every THREADS-th pixel, then every THREADS-th vector of channels
// Grid        [queries, N, 1]
// Memory      weights MAX_TOKENS·4 B, partial THREADS·4 B of workgroup memory
// Barriers    one tree for the mean, and three between scores and weights
// Edges       C is a multiple of four and there are MAX_TOKENS − 1 pixels at most: the graph checks both
// Host        src/kernels/attention_pool.rs     Reference  src/reference/attention_pool.rs

@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> queries: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> position: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4<f32>>;

override CHANNEL_GROUPS: u32;
override BATCH: u32;
// Pixels of one image.
override PLANE: u32;

const THREADS: u32 = 64u;
const MAX_TOKENS: u32 = 2048u;

var<workgroup> weights: array<f32, MAX_TOKENS>;
var<workgroup> partial: array<f32, THREADS>;

// The sum over all threads, known to all of them.
fn total(thread: u32, value: f32) -> f32 {
    partial[thread] = value;
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (thread < half) {
            partial[thread] += partial[thread + half];
        }
    }
    workgroupBarrier();
    let sum = partial[0];
    workgroupBarrier();
    return sum;
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let first_query = workgroup.x * CHANNEL_GROUPS;
    let n = workgroup.y;
    let tokens = PLANE + 1u;

    // 1. Scores; that of the mean is the mean of the pixels' own, without their positions
    var own = 0.0;
    for (var p = thread; p < PLANE; p += THREADS) {
        var pixel = 0.0;
        var place = 0.0;
        for (var g = 0u; g < CHANNEL_GROUPS; g++) {
            let query = queries[(first_query + g) * BATCH + n];
            pixel += dot(query, input[(g * BATCH + n) * PLANE + p]);
            place += dot(query, position[g * tokens + p + 1u]);
        }
        own += pixel;
        weights[p + 1u] = pixel + place;
    }
    let mean = total(thread, own) / f32(PLANE);
    if (thread == 0u) {
        var place = 0.0;
        for (var g = 0u; g < CHANNEL_GROUPS; g++) {
            place += dot(queries[(first_query + g) * BATCH + n], position[g * tokens]);
        }
        weights[0] = mean + place;
    }
    workgroupBarrier();

    // 2. Weights, before their division by their sum
    var highest = weights[0];
    for (var j = 1u; j < tokens; j++) {
        highest = max(highest, weights[j]);
    }
    workgroupBarrier();
    for (var j = thread; j < tokens; j += THREADS) {
        weights[j] = exp(weights[j] - highest);
    }
    workgroupBarrier();
    var sum = 0.0;
    for (var j = 0u; j < tokens; j++) {
        sum += weights[j];
    }

    // 3. Sums of tokens; every pixel has its share in the mean
    let share = weights[0] / f32(PLANE);
    for (var g = thread; g < CHANNEL_GROUPS; g += THREADS) {
        var z = weights[0] * position[g * tokens];
        for (var p = 0u; p < PLANE; p++) {
            let weight = weights[p + 1u];
            z += (weight + share) * input[(g * BATCH + n) * PLANE + p];
            z += weight * position[g * tokens + p + 1u];
        }
        output[(first_query + g) * BATCH + n] = z / sum;
    }
}
