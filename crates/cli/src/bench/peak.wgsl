// Multiply-adds on registers and nothing else: eight independent chains per thread, so that neither
// latency nor memory gets in the way. `main` leaves it to the driver whether a product and a sum
// become one instruction, `fused` asks for it; which is faster depends on the driver.

struct Work {
    factor: f32,
    term: f32,
    rounds: u32,
    // Written only if a sum ever hits one particular number, so that the computation is not removed.
    sink: f32,
}

@group(0) @binding(0) var<storage, read_write> work: Work;

const THREADS: u32 = 64u;

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) global: vec3<u32>) {
    let m = work.factor;
    let t = work.term;
    let rounds = work.rounds;
    var a = vec4<f32>(f32(global.x), 1.0, 2.0, 3.0);
    var b = vec4<f32>(4.0, 5.0, 6.0, f32(global.x));
    for (var round = 0u; round < rounds; round++) {
        a = a * m + t; b = b * m + t;
        a = a * m + t; b = b * m + t;
        a = a * m + t; b = b * m + t;
        a = a * m + t; b = b * m + t;
        a = a * m + t; b = b * m + t;
        a = a * m + t; b = b * m + t;
        a = a * m + t; b = b * m + t;
        a = a * m + t; b = b * m + t;
    }
    keep(a + b);
}

@compute @workgroup_size(THREADS)
fn fused(@builtin(global_invocation_id) global: vec3<u32>) {
    let m = vec4<f32>(work.factor);
    let t = vec4<f32>(work.term);
    let rounds = work.rounds;
    var a = vec4<f32>(f32(global.x), 1.0, 2.0, 3.0);
    var b = vec4<f32>(4.0, 5.0, 6.0, f32(global.x));
    for (var round = 0u; round < rounds; round++) {
        a = fma(a, m, t); b = fma(b, m, t);
        a = fma(a, m, t); b = fma(b, m, t);
        a = fma(a, m, t); b = fma(b, m, t);
        a = fma(a, m, t); b = fma(b, m, t);
        a = fma(a, m, t); b = fma(b, m, t);
        a = fma(a, m, t); b = fma(b, m, t);
        a = fma(a, m, t); b = fma(b, m, t);
        a = fma(a, m, t); b = fma(b, m, t);
    }
    keep(a + b);
}

fn keep(sums: vec4<f32>) {
    if dot(sums, vec4<f32>(1.0)) == 12345.678 {
        work.sink = sums.x;
    }
}
