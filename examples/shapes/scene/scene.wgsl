// scene
//
//   One solid of SHAPE per picture (or another thing, nothing, a drawing), ray-marched through its signed distance field, over a ground and
//   under a sky, lit by one light; rgb is encoded sRGB, a the share of the pixel that the solid covers
//   (the board in front of it counts as covering nothing).
//
// Workgroup   8 × 8 pixels of one picture
// Grid        [ceil(size / 8), ceil(size / 8), pictures]
// Host        examples/shapes/scene/renderer.rs, which appends `other_thing` and `drawing`: those of
//             nothing.wgsl for NOTHING, and none for a solid, whose pipeline would take as long to compile
//
// The field is given in the solid's own frame, in which it lies within the unit sphere, and never
// exceeds the distance to the surface. The ground and the sky are computed, not marched.

override SHAPE: u32;
// Rays along each side of a pixel.
override RAYS: u32;

struct Scene {
    eye: vec3<f32>,          // of the camera; the solid's centre is the origin
    focal: f32,              // 1 / tan(half the field of view)
    right: vec3<f32>,
    centre_x: f32,           // where the solid's centre is in the picture, -1 to 1
    up: vec3<f32>,
    centre_y: f32,
    forward: vec3<f32>,
    size: f32,               // sides of the picture in pixels
    frame_x: vec3<f32>,      // the solid's axes in the world
    proportion_x: f32,
    frame_y: vec3<f32>,
    proportion_y: f32,
    frame_z: vec3<f32>,
    seed: u32,
    light: vec3<f32>,        // direction to it
    shadow: f32,             // 0 for none to 1 for black
    tile: vec2<u32>,         // the picture's corner in the target
    solid_a: u32,            // colours: red in the lowest byte, encoded sRGB
    solid_b: u32,
    ground_a: u32,
    ground_b: u32,
    sky_top: u32,
    sky_bottom: u32,
    light_colour: u32,
    board_colour: u32,
    solid_pattern: u32,
    ground_pattern: u32,
    solid_scale: f32,        // repetitions of the pattern per unit
    ground_scale: f32,
    ground_height: f32,      // below -100: no ground
    sky_clouds: f32,         // 0 to 1
    specular: f32,
    shininess: f32,
    ambient: f32,
    noise: f32,              // standard deviation of the sensor's noise
    board_direction: vec2<f32>, // unit vector across the board, in the picture
    board_inner: f32,        // its edges, in the units of centre_x, from the centre of the solid
    board_outer: f32,
    board_length: f32,       // half of it; 0: no board
    exposure: f32,
    @size(24) drawing: u32,  // 0: none; and padding to 256 bytes, at which a binding may start
}

@group(0) @binding(0) var<storage, read> scenes: array<Scene>;
@group(0) @binding(1) var target_texture: texture_storage_2d<rgba8unorm, write>;

const TILE: u32 = 8u;
const MAX_STEPS: u32 = 72u;
const SHADOW_STEPS: u32 = 28u;
const TOUCHING: f32 = 0.001;

const PATTERN_CHECKER: u32 = 1u;
const PATTERN_STRIPES: u32 = 2u;
const PATTERN_NOISE: u32 = 3u;

// The class without a solid.
const NOTHING: u32 = 12u;

const PI: f32 = 3.14159265;

// ---- Solids: the order is that of `Shape` ----

fn sphere(p: vec3<f32>) -> f32 {
    return length(p) - 0.9;
}

fn cube(p: vec3<f32>) -> f32 {
    let q = abs(p) - 0.57;
    return length(max(q, vec3(0.0))) + min(max(q.x, max(q.y, q.z)), 0.0);
}

fn cylinder(p: vec3<f32>, radius: f32, half_height: f32) -> f32 {
    let q = vec2(length(p.xz) - radius, abs(p.y) - half_height);
    return length(max(q, vec2(0.0))) + min(max(q.x, q.y), 0.0);
}

// Between the base at -half_height and the tip at +half_height.
fn cone(p: vec3<f32>, radius: f32, half_height: f32) -> f32 {
    let slope = normalize(vec2(2.0 * half_height, radius));
    let side = dot(vec2(length(p.xz), p.y - half_height), slope);
    return max(side, -p.y - half_height);
}

fn torus(p: vec3<f32>, ring: f32, tube: f32) -> f32 {
    return length(vec2(length(p.xz) - ring, p.y)) - tube;
}

fn pyramid(p: vec3<f32>, half_side: f32, half_height: f32) -> f32 {
    let slope = normalize(vec2(2.0 * half_height, half_side));
    let side = dot(vec2(max(abs(p.x), abs(p.z)), p.y - half_height), slope);
    return max(side, -p.y - half_height);
}

fn octahedron(p: vec3<f32>) -> f32 {
    let q = abs(p);
    return (q.x + q.y + q.z - 0.98) * 0.57735027;
}

fn capsule(p: vec3<f32>, radius: f32, half_length: f32) -> f32 {
    return length(vec3(p.x, p.y - clamp(p.y, -half_length, half_length), p.z)) - radius;
}

fn hexagonal_prism(p: vec3<f32>, radius: f32, half_height: f32) -> f32 {
    let q = abs(p);
    let side = max(q.x, 0.5 * q.x + 0.8660254 * q.z) - radius;
    return max(side, q.y - half_height);
}

fn star(p: vec3<f32>, inner: f32, half_depth: f32) -> f32 {
    // Folded into the tenth of the star between a tip, on the x axis, and the next notch.
    let fifth = 2.0 * PI / 5.0;
    let turn = atan2(p.x, p.y);
    let angle = abs(turn - fifth * round(turn / fifth));
    let q = length(p.xy) * vec2(cos(angle), sin(angle));
    let tip = vec2(0.94, 0.0);
    let notch = inner * vec2(cos(0.5 * fifth), sin(0.5 * fifth));
    let edge = normalize(notch - tip);
    return max(dot(q - tip, vec2(edge.y, -edge.x)), abs(p.z) - half_depth);
}

fn cross(p: vec3<f32>, half_width: f32, half_depth: f32) -> f32 {
    let q = abs(p);
    let long = max(q.x, q.y) - 0.88;
    let wide = min(q.x, q.y) - half_width;
    return max(max(long, wide), q.z - half_depth);
}

// Half a ring on two legs, with its opening down.
fn arch(p: vec3<f32>, thickness: f32, half_depth: f32) -> f32 {
    let q = vec3(p.x, p.y + 0.1, p.z);
    let ring = abs(length(vec2(q.x, max(q.y, 0.0))) - 0.55) - thickness;
    return max(max(ring, -q.y - 0.5), abs(q.z) - half_depth);
}

fn solid(p: vec3<f32>, proportions: vec2<f32>) -> f32 {
    switch SHAPE {
        case 0u: { return sphere(p); }
        case 1u: { return cube(p); }
        case 2u: { return cylinder(p, proportions.x, proportions.y); }
        case 3u: { return cone(p, proportions.x, proportions.y); }
        case 4u: { return torus(p, proportions.x, proportions.y); }
        case 5u: { return pyramid(p, proportions.x, proportions.y); }
        case 6u: { return octahedron(p); }
        case 7u: { return capsule(p, proportions.x, proportions.y); }
        case 8u: { return hexagonal_prism(p, proportions.x, proportions.y); }
        case 9u: { return star(p, proportions.x, proportions.y); }
        case 10u: { return cross(p, proportions.x, proportions.y); }
        case 11u: { return arch(p, proportions.x, proportions.y); }
        default: { return other_thing(p, u32(proportions.x), proportions.y); }
    }
}

// The gradient of the field, from differences at the corners of a tetrahedron.
fn normal_at(p: vec3<f32>, proportions: vec2<f32>) -> vec3<f32> {
    let e = vec2(0.002, -0.002);
    return normalize(e.xyy * solid(p + e.xyy, proportions) + e.yyx * solid(p + e.yyx, proportions)
        + e.yxy * solid(p + e.yxy, proportions) + e.xxx * solid(p + e.xxx, proportions));
}

// Where a ray is inside the unit sphere; y < x where it is not.
fn unit_sphere(origin: vec3<f32>, direction: vec3<f32>) -> vec2<f32> {
    let middle = -dot(origin, direction);
    let off_centre = origin + middle * direction;
    let half = 1.0 - dot(off_centre, off_centre);
    if half <= 0.0 {
        return vec2(1.0, 0.0);
    }
    return vec2(middle - sqrt(half), middle + sqrt(half));
}

// The distance along the ray to the solid; negative for a miss.
fn march(origin: vec3<f32>, direction: vec3<f32>, proportions: vec2<f32>) -> f32 {
    let inside = unit_sphere(origin, direction);
    if inside.y <= max(inside.x, 0.0) {
        return -1.0;
    }
    var t = max(inside.x, 0.0);
    for (var step = 0u; step < MAX_STEPS && t < inside.y; step++) {
        let d = solid(origin + t * direction, proportions);
        if d < TOUCHING {
            return t;
        }
        t += d;
    }
    return -1.0;
}

// The share of the light that passes the solid, from the smallest angle between it and the ray.
fn light_at(origin: vec3<f32>, direction: vec3<f32>, proportions: vec2<f32>) -> f32 {
    let inside = unit_sphere(origin, direction);
    if inside.y <= max(inside.x, 0.0) {
        return 1.0;
    }
    var t = max(inside.x, 0.02);
    var share = 1.0;
    for (var step = 0u; step < SHADOW_STEPS && t < inside.y; step++) {
        let d = solid(origin + t * direction, proportions);
        share = min(share, 10.0 * d / t);
        if share < 0.01 {
            return 0.0;
        }
        t += clamp(d, 0.02, 0.3);
    }
    return smoothstep(0.0, 1.0, share);
}

// ---- Surfaces ----

fn decoded(colour: u32) -> vec3<f32> {
    return linear(unpack4x8unorm(colour).rgb);
}

fn linear(encoded: vec3<f32>) -> vec3<f32> {
    let c = clamp(encoded, vec3(0.0), vec3(1.0));
    return select(pow((c + 0.055) / 1.055, vec3(2.4)), c / 12.92, c <= vec3(0.04045));
}

fn encoded(light: vec3<f32>) -> vec3<f32> {
    let c = clamp(light, vec3(0.0), vec3(1.0));
    return select(1.055 * pow(c, vec3(1.0 / 2.4)) - 0.055, c * 12.92, c <= vec3(0.0031308));
}

// PCG (O'Neill 2014), its permutation alone.
fn hash(x: u32) -> u32 {
    let state = x * 747796405u + 2891336453u;
    let word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
    return (word >> 22u) ^ word;
}

fn random(x: u32) -> f32 {
    return f32(hash(x) >> 8u) * (1.0 / 16777216.0);
}

fn lattice(cell: vec3<i32>) -> f32 {
    let c = vec3<u32>(cell);
    return random(c.x ^ hash(c.y ^ hash(c.z)));
}

// Random values on a grid, blended between its points.
fn value_noise(p: vec3<f32>) -> f32 {
    let cell = floor(p);
    let c = vec3<i32>(cell);
    let f = p - cell;
    let w = f * f * (3.0 - 2.0 * f);
    var sum = 0.0;
    for (var corner = 0; corner < 8; corner++) {
        let offset = vec3(corner & 1, (corner >> 1u) & 1, corner >> 2u);
        let share = mix(1.0 - w, w, vec3<f32>(offset));
        sum += share.x * share.y * share.z * lattice(c + offset);
    }
    return sum;
}

// The mix of two colours at a point, 0 to 1.
fn pattern(kind: u32, p: vec3<f32>) -> f32 {
    switch kind {
        case PATTERN_CHECKER: {
            // Shifted, so that no face of a solid lies between two layers of cells.
            let cell = vec3<i32>(floor(p + 0.37));
            return f32((cell.x + cell.y + cell.z) & 1);
        }
        case PATTERN_STRIPES: {
            return smoothstep(-0.25, 0.25, sin(2.0 * PI * (p.y + 0.6 * p.x)));
        }
        case PATTERN_NOISE: {
            return smoothstep(0.2, 0.8, 0.65 * value_noise(2.0 * p) + 0.35 * value_noise(5.0 * p));
        }
        default: { return 0.0; }
    }
}

fn sky(direction: vec3<f32>, s: ptr<function, Scene>) -> vec3<f32> {
    let height = smoothstep(-0.5, 0.7, direction.y);
    var colour = mix(decoded((*s).sky_bottom), decoded((*s).sky_top), height);
    if (*s).sky_clouds > 0.0 {
        let p = 3.0 * direction + f32((*s).seed & 255u);
        let clouds = 0.6 * value_noise(p) + 0.4 * value_noise(2.7 * p);
        colour *= 1.0 + (*s).sky_clouds * (clouds - 0.5);
    }
    return colour;
}

fn in_frame(v: vec3<f32>, s: ptr<function, Scene>) -> vec3<f32> {
    return vec3(dot(v, (*s).frame_x), dot(v, (*s).frame_y), dot(v, (*s).frame_z));
}

fn solid_colour(t: f32, ray: vec3<f32>, s: ptr<function, Scene>) -> vec3<f32> {
    let proportions = vec2((*s).proportion_x, (*s).proportion_y);
    let p = in_frame((*s).eye + t * ray, s);
    let n_own = normal_at(p, proportions);
    let n = n_own.x * (*s).frame_x + n_own.y * (*s).frame_y + n_own.z * (*s).frame_z;
    let mixed = pattern((*s).solid_pattern, (*s).solid_scale * p + 7.0);
    let albedo = mix(decoded((*s).solid_a), decoded((*s).solid_b), mixed);
    let facing = dot(n, (*s).light);
    var direct = max(facing, 0.0);
    if direct > 0.0 {
        let passed = light_at(p + 0.01 * n_own, in_frame((*s).light, s), proportions);
        direct *= 1.0 - (*s).shadow * (1.0 - passed);
    }
    let light = decoded((*s).light_colour);
    let around = (*s).ambient * (0.75 + 0.25 * n.y);
    let half_way = normalize((*s).light - ray);
    let highlight = (*s).specular * pow(max(dot(n, half_way), 0.0), (*s).shininess) * direct;
    let rim = pow(1.0 - max(-dot(n, ray), 0.0), 4.0);
    let mirrored = 0.5 * (*s).specular * rim * sky(reflect(ray, n), s);
    return albedo * (around + direct * light) + highlight * light + mirrored;
}

fn ground_colour(t: f32, ray: vec3<f32>, s: ptr<function, Scene>) -> vec3<f32> {
    let proportions = vec2((*s).proportion_x, (*s).proportion_y);
    let p = (*s).eye + t * ray;
    let mixed = pattern((*s).ground_pattern, (*s).ground_scale * vec3(p.x, p.z, 0.0));
    let albedo = mix(decoded((*s).ground_a), decoded((*s).ground_b), mixed);
    let own = in_frame(p, s);
    var direct = max((*s).light.y, 0.0);
    direct *= 1.0 - (*s).shadow * (1.0 - light_at(own, in_frame((*s).light, s), proportions));
    let near = mix(0.45, 1.0, smoothstep(0.0, 0.5, solid(own, proportions)));
    let lit = albedo * (near * (*s).ambient + direct * decoded((*s).light_colour));
    return mix(sky(ray, s), lit, exp(-0.04 * t));
}

// Colour and coverage of one ray; `at` is in the units of centre_x.
fn trace(at: vec2<f32>, s: ptr<function, Scene>) -> vec4<f32> {
    if (*s).drawing > 0u {
        return vec4(linear(drawing(at, s)), 0.0);
    }
    let from_solid = at - vec2((*s).centre_x, (*s).centre_y);
    let across = dot(from_solid, (*s).board_direction);
    let along = dot(from_solid, vec2(-(*s).board_direction.y, (*s).board_direction.x));
    if abs(along) < (*s).board_length && across > (*s).board_inner && across < (*s).board_outer {
        let middle = 0.5 * ((*s).board_inner + (*s).board_outer);
        let round = 2.0 * (across - middle) / ((*s).board_outer - (*s).board_inner);
        return vec4(decoded((*s).board_colour) * (1.0 - 0.6 * round * round), 0.0);
    }
    let ray = normalize(from_solid.x * (*s).right + from_solid.y * (*s).up + (*s).focal * (*s).forward);
    let proportions = vec2((*s).proportion_x, (*s).proportion_y);
    let t = march(in_frame((*s).eye, s), in_frame(ray, s), proportions);
    if t > 0.0 {
        return vec4(solid_colour(t, ray, s), f32(SHAPE < NOTHING));
    }
    let to_ground = ((*s).ground_height - (*s).eye.y) / ray.y;
    if (*s).ground_height > -100.0 && to_ground > 0.0 {
        return vec4(ground_colour(to_ground, ray, s), 0.0);
    }
    return vec4(sky(ray, s), 0.0);
}

@compute @workgroup_size(TILE, TILE)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var scene = scenes[id.z];
    let size = u32(scene.size);
    if max(id.x, id.y) >= size {
        return;
    }
    var sum = vec4(0.0);
    for (var ray = 0u; ray < RAYS * RAYS; ray++) {
        let within = (vec2(f32(ray % RAYS), f32(ray / RAYS)) + 0.5) / f32(RAYS);
        let at = 2.0 * (vec2<f32>(id.xy) + within) / scene.size - 1.0;
        let seen = trace(vec2(at.x, -at.y), &scene);
        // A pixel is the mean of what a display would show, so that highlights do not bleed.
        sum += vec4(min(scene.exposure * seen.rgb, vec3(1.0)), seen.a);
    }
    let mean = sum / f32(RAYS * RAYS);
    var colour = encoded(mean.rgb);
    for (var channel = 0u; channel < 3u; channel++) {
        // Four uniform numbers have a variance of 1/3 and nearly a normal distribution.
        let start = hash(scene.seed ^ hash(4u * ((id.y * size + id.x) * 3u + channel)));
        let four = random(start) + random(start + 1u) + random(start + 2u) + random(start + 3u);
        colour[channel] += scene.noise * (four - 2.0) * sqrt(3.0);
    }
    textureStore(target_texture, scene.tile + id.xy, vec4(colour, mean.a));
}
