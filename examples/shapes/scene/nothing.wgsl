// nothing
//
//   What is none of the solids, appended to scene.wgsl for the class NOTHING: other things, as distance fields
//   under the conditions that scene.wgsl states, and drawings, which fill the picture in place of a scene.

// ---- Other things: what is none of the solids. `vary` is 0 to 1 ----

fn box(p: vec3<f32>, half: vec3<f32>) -> f32 {
    let q = abs(p) - half;
    return length(max(q, vec3(0.0))) + min(max(q.x, max(q.y, q.z)), 0.0);
}

// Points in the cube from -1 to 1, the same for the same `vary`.
fn scattered(vary: f32, i: u32) -> vec3<f32> {
    let start = hash(bitcast<u32>(vary) + 31u * i);
    return 2.0 * vec3(random(start), random(start + 1u), random(start + 2u)) - 1.0;
}

fn blob(p: vec3<f32>, vary: f32) -> f32 {
    var d = 2.0;
    for (var i = 0u; i < 5u; i++) {
        let at = scattered(vary, i);
        let other = length(p - 0.42 * at) - 0.16 - 0.06 * at.x;
        // The polynomial smooth minimum.
        let h = max(0.2 - abs(d - other), 0.0) / 0.2;
        d = min(d, other) - 0.05 * h * h;
    }
    return d;
}

fn pile(p: vec3<f32>, vary: f32) -> f32 {
    var d = 2.0;
    for (var i = 0u; i < 6u; i++) {
        let at = 0.46 * scattered(vary, i);
        let ball = length(p - at) - 0.19;
        d = min(d, select(ball, box(p - at, vec3(0.14)), (i & 1u) == 1u));
    }
    return d;
}

// Three by three blocks, of which some are missing: letters, steps, hooks.
fn letter(p: vec3<f32>, vary: f32) -> f32 {
    let bits = hash(bitcast<u32>(vary));
    var d = box(p, vec3(0.19, 0.19, 0.2));
    for (var i = 0u; i < 9u; i++) {
        if ((bits >> i) & 1u) == 1u {
            let at = vec3(f32(i % 3u) - 1.0, f32(i / 3u) - 1.0, 0.0);
            d = min(d, box(p - 0.38 * at, vec3(0.19, 0.19, 0.2)));
        }
    }
    return d;
}

fn table(p: vec3<f32>, vary: f32) -> f32 {
    let top = box(p - vec3(0.0, 0.4, 0.0), vec3(0.65, 0.06, 0.35 + 0.15 * vary));
    let leg = box(vec3(abs(p.x) - 0.55, p.y + 0.1, abs(p.z) - 0.3), vec3(0.06, 0.5, 0.06));
    return min(top, leg);
}

fn frame_of_cube(p: vec3<f32>, vary: f32) -> f32 {
    let edge = 0.05 + 0.05 * vary;
    let q = abs(p) - 0.55;
    let w = abs(q + edge) - edge;
    let x = length(max(vec3(q.x, w.y, w.z), vec3(0.0))) + min(max(q.x, max(w.y, w.z)), 0.0);
    let y = length(max(vec3(w.x, q.y, w.z), vec3(0.0))) + min(max(w.x, max(q.y, w.z)), 0.0);
    let z = length(max(vec3(w.x, w.y, q.z), vec3(0.0))) + min(max(w.x, max(w.y, q.z)), 0.0);
    return min(x, min(y, z));
}

fn other_thing(p: vec3<f32>, kind: u32, vary: f32) -> f32 {
    switch kind {
        case 1u: { return blob(p, vary); }
        case 2u: { return pile(p, vary); }
        case 3u: { return letter(p, vary); }
        case 4u: { return table(p, vary); }
        case 5u: { return frame_of_cube(p, vary); }
        case 6u: {
            // A dumbbell.
            let balls = length(vec3(p.x, abs(p.y) - 0.62, p.z)) - 0.22 - 0.12 * vary;
            return min(balls, cylinder(p, 0.09, 0.6));
        }
        case 7u: {
            // A ball full of holes: the gyroid's surface.
            let q = (5.0 + 3.0 * vary) * p;
            let sheet = abs(dot(sin(q), cos(q.yzx))) / (1.8 * (5.0 + 3.0 * vary)) - 0.05;
            return 0.8 * max(sheet, length(p) - 0.9);
        }
        case 8u: {
            // Two links of a chain.
            let tube = 0.08 + 0.05 * vary;
            return min(torus(p - vec3(0.3, 0.0, 0.0), 0.48, tube), torus(p.xzy + vec3(0.3, 0.0, 0.0), 0.48, tube));
        }
        case 9u: {
            // A bowl.
            return max(abs(length(p) - 0.75) - 0.05, p.y - 0.3 * vary + 0.1);
        }
        case 10u: {
            // A pebble.
            let axes = vec3(0.9, 0.22 + 0.12 * vary, 0.6);
            return 0.22 * (length(p / axes) - 1.0);
        }
        case 11u: {
            // A cube with a bite out of a corner.
            return max(cube(p), 0.6 + 0.2 * vary - length(p - 0.5));
        }
        case 12u: {
            // A mushroom.
            let hat = max(length(p - vec3(0.0, 0.15, 0.0)) - 0.7, 0.15 - p.y);
            return min(hat, cylinder(p + vec3(0.0, 0.3, 0.0), 0.12 + 0.12 * vary, 0.46));
        }
        case 13u: {
            // Steps.
            let low = box(p + vec3(0.0, 0.4, 0.0), vec3(0.6, 0.2, 0.4));
            let middle = box(p - vec3(0.2, 0.0, 0.0), vec3(0.4, 0.2, 0.4));
            return min(low, min(middle, box(p - vec3(0.4, 0.4, 0.0), vec3(0.2, 0.2, 0.4))));
        }
        // Nothing at all.
        default: { return 4.0; }
    }
}

// ---- Drawings: pictures without a scene ----

// A number that is the same in the whole picture.
fn chosen(s: ptr<function, Scene>, i: u32) -> f32 {
    return random((*s).seed ^ hash(i + 77u));
}

fn turned(at: vec2<f32>, turn: f32) -> vec2<f32> {
    let c = vec2(cos(turn), sin(turn));
    return vec2(c.x * at.x + c.y * at.y, c.x * at.y - c.y * at.x);
}

// Any colour, the same for the same `i`.
fn any_colour(s: ptr<function, Scene>, i: u32) -> vec3<f32> {
    let c = vec3(chosen(s, i), chosen(s, i + 1u), chosen(s, i + 2u));
    return mix(vec3(dot(c, vec3(0.333))), c, chosen(s, i + 3u));
}

fn gradient(at: vec2<f32>, s: ptr<function, Scene>) -> f32 {
    let along = turned(at, 2.0 * PI * chosen(s, 0u)).x;
    let out = length(at - vec2(chosen(s, 1u), chosen(s, 2u)) + 0.5);
    return smoothstep(-0.2, 1.2, select(0.5 + 0.5 * along, out, chosen(s, 3u) < 0.4));
}

fn noise_drawing(at: vec2<f32>, s: ptr<function, Scene>) -> vec3<f32> {
    let fineness = exp2(1.0 + 4.5 * chosen(s, 0u));
    let p = vec3(fineness * at, 9.0 * chosen(s, 1u));
    let a = value_noise(p);
    if chosen(s, 2u) < 0.4 {
        return vec3(a, value_noise(p + 31.0), value_noise(p + 67.0));
    }
    let rough = mix(a, value_noise(2.3 * p), 0.5 * chosen(s, 3u));
    return mix(any_colour(s, 4u), any_colour(s, 8u), smoothstep(0.25, 0.75, rough));
}

fn pattern_drawing(at: vec2<f32>, s: ptr<function, Scene>) -> vec3<f32> {
    let p = turned(at, 2.0 * PI * chosen(s, 0u)) * (1.0 + 6.0 * chosen(s, 1u));
    let cell = vec2<i32>(floor(p));
    var share = f32((cell.x + cell.y) & 1);
    let kind = chosen(s, 2u);
    if kind < 0.4 {
        share = smoothstep(-0.2, 0.2, sin(2.0 * PI * p.x));
    } else if kind < 0.6 {
        share = smoothstep(0.02, -0.02, length(fract(p) - 0.5) - 0.1 - 0.3 * chosen(s, 3u));
    } else if kind < 0.75 {
        share = smoothstep(-0.2, 0.2, sin(2.0 * PI * length(p)));
    }
    return mix(any_colour(s, 4u), any_colour(s, 8u), share);
}

// Rows of signs of five by seven dots, as chance has them.
fn text_drawing(at: vec2<f32>, s: ptr<function, Scene>) -> vec3<f32> {
    let p = turned(at, 0.3 * (chosen(s, 0u) - 0.5)) * (2.0 + 5.0 * chosen(s, 1u)) + 40.0;
    let cell = vec2<u32>(vec2(1.6 * p.x, p.y));
    let sign = hash((*s).seed ^ hash(cell.x ^ hash(cell.y)));
    let within = fract(vec2(1.6 * p.x, p.y));
    let dot_at = vec2<u32>(within * vec2(6.5, 10.0));
    let bit = hash(sign + dot_at.x + 8u * dot_at.y) & 1u;
    let ink = bit == 1u && dot_at.x < 5u && dot_at.y < 7u && (sign & 7u) != 0u;
    return select(any_colour(s, 4u), any_colour(s, 8u), ink);
}

// Flat things over each other ("dead leaves"), the uppermost first.
fn leaves_drawing(at: vec2<f32>, s: ptr<function, Scene>) -> vec3<f32> {
    let count = 6u + u32(70.0 * chosen(s, 0u) * chosen(s, 0u));
    let largest = 0.25 + 0.6 * chosen(s, 1u);
    let grain = chosen(s, 2u);
    for (var i = 0u; i < count; i++) {
        let n = 16u * (i + 4u);
        let middle = 2.4 * vec2(chosen(s, n), chosen(s, n + 1u)) - 1.2;
        let half = largest * (0.15 + 0.85 * chosen(s, n + 2u) * chosen(s, n + 3u));
        let p = turned(at - middle, 2.0 * PI * chosen(s, n + 4u)) / half;
        let flat_by = 0.3 + 0.7 * chosen(s, n + 5u);
        var d = length(vec2(p.x, p.y / flat_by)) - 1.0;
        let kind = chosen(s, n + 6u);
        if kind < 0.4 {
            d = max(abs(p.x), abs(p.y) / flat_by) - 0.8;
        } else if kind < 0.6 {
            d = max(max(abs(p.x) + 0.5 * p.y, -p.y), abs(p.x) - flat_by) - 0.5;
        }
        if d < 0.0 {
            let shade = 1.0 + 0.5 * (chosen(s, n + 11u) - 0.5) * (p.x + p.y);
            let rough = 1.0 + grain * (value_noise(vec3(9.0 * p, f32(i))) - 0.5);
            return shade * rough * any_colour(s, n + 7u);
        }
    }
    return mix(any_colour(s, 4u), any_colour(s, 8u), gradient(at, s));
}

fn scribble_drawing(at: vec2<f32>, s: ptr<function, Scene>) -> vec3<f32> {
    let count = 2u + u32(10.0 * chosen(s, 0u));
    let thickness = 0.01 + 0.05 * chosen(s, 1u);
    var d = 2.0;
    var begin = 1.6 * vec2(chosen(s, 2u), chosen(s, 3u)) - 0.8;
    for (var i = 0u; i < count; i++) {
        let n = 16u * (i + 4u);
        let to = 2.0 * vec2(chosen(s, n), chosen(s, n + 1u)) - 1.0;
        let share = clamp(dot(at - begin, to - begin) / max(dot(to - begin, to - begin), 0.001), 0.0, 1.0);
        d = min(d, length(at - mix(begin, to, share)));
        begin = select(to, vec2(chosen(s, n + 2u), chosen(s, n + 3u)) - 0.5, chosen(s, n + 4u) < 0.4);
    }
    return select(any_colour(s, 4u), any_colour(s, 8u), d < thickness);
}

// A flat outline without a name.
fn blot_drawing(at: vec2<f32>, s: ptr<function, Scene>) -> vec3<f32> {
    let turn = atan2(at.y, at.x);
    var radius = 0.3 + 0.25 * chosen(s, 0u);
    for (var i = 2u; i < 7u; i++) {
        radius += 0.5 / f32(i) * (chosen(s, 16u * i) - 0.5) * cos(f32(i) * turn + 6.0 * chosen(s, 16u * i + 1u));
    }
    let ink = mix(any_colour(s, 8u), any_colour(s, 12u), 0.5 * gradient(at, s));
    return select(any_colour(s, 4u), ink, length(at) < radius);
}

// Encoded sRGB.
fn drawing(at: vec2<f32>, s: ptr<function, Scene>) -> vec3<f32> {
    switch (*s).drawing {
        case 1u: { return any_colour(s, 4u); }
        case 2u: { return mix(any_colour(s, 4u), any_colour(s, 8u), gradient(at, s)); }
        case 3u: { return noise_drawing(at, s); }
        case 4u: { return pattern_drawing(at, s); }
        case 5u: { return text_drawing(at, s); }
        case 6u: { return leaves_drawing(at, s); }
        case 7u: { return scribble_drawing(at, s); }
        default: { return blot_drawing(at, s); }
    }
}
