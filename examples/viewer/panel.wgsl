// panel
//
//   Overlapping rectangles: a plain colour, a letter, or the picture that the network sees with the
//   heat map over it. Colours are encoded sRGB; LINEAR says that the target does the encoding.
//
// Draw    4 vertices (a strip) per instance; an instance is one rectangle
// Host    examples/viewer/panel.rs

override LINEAR: bool;

struct Quad {
    @location(0) rect: vec4<f32>,    // left, top, width, height in the pixels of the target
    @location(1) source: vec4<f32>,  // the same in its texture, from 0 to 1
    @location(2) colour: vec4<f32>,  // of a picture: alpha is the strength of the heat map
    @location(3) kind: u32,
}

struct Corner {
    @builtin(position) position: vec4<f32>,
    @location(0) source: vec2<f32>,
    @location(1) @interpolate(flat) colour: vec4<f32>,
    @location(2) @interpolate(flat) kind: u32,
}

@group(0) @binding(0) var<uniform> target_size: vec4<f32>;
@group(0) @binding(1) var glyphs: texture_2d<f32>;
@group(0) @binding(2) var picture: texture_2d<f32>;
@group(0) @binding(3) var heat_map: texture_2d<f32>;
@group(0) @binding(4) var smooth_sampler: sampler;

const KIND_LETTER: u32 = 1u;
const KIND_PICTURE: u32 = 2u;

@vertex
fn corner(@builtin(vertex_index) index: u32, quad: Quad) -> Corner {
    let unit = vec2(f32(index & 1u), f32(index >> 1u));
    let at = (quad.rect.xy + unit * quad.rect.zw) / target_size.xy;
    var out: Corner;
    out.position = vec4(2.0 * at.x - 1.0, 1.0 - 2.0 * at.y, 0.0, 1.0);
    out.source = quad.source.xy + unit * quad.source.zw;
    out.colour = quad.colour;
    out.kind = quad.kind;
    return out;
}

fn decoded(c: vec3<f32>) -> vec3<f32> {
    return select(pow((c + 0.055) / 1.055, vec3(2.4)), c / 12.92, c <= vec3(0.04045));
}

@fragment
fn shade(in: Corner) -> @location(0) vec4<f32> {
    // An explicit level, because the texture that is read differs from pixel to pixel.
    var colour = in.colour;
    if in.kind == KIND_LETTER {
        colour.a *= textureSampleLevel(glyphs, smooth_sampler, in.source, 0.0).r;
    } else if in.kind == KIND_PICTURE {
        let seen = textureSampleLevel(picture, smooth_sampler, in.source, 0.0).rgb;
        let heat = textureSampleLevel(heat_map, smooth_sampler, in.source, 0.0);
        colour = vec4(mix(seen, heat.rgb, heat.a * in.colour.a), 1.0);
    }
    if LINEAR {
        colour = vec4(decoded(colour.rgb), colour.a);
    }
    return colour;
}
