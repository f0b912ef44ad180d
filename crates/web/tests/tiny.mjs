// A network of one block, in the library's own safetensors form: few kernels, which software compiles soon.
const CLASSES = 10, CHANNELS = 8;

/** The bytes of a file whose numbers follow from `seed`. */
export function tiny(seed) {
  let state = seed;
  const number = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
  const shapes = { "conv.weight": [CHANNELS, 3, 3, 3], "conv.bias": [CHANNELS],
    "block.weight": [CHANNELS, CHANNELS, 1, 1], "fc.weight": [CLASSES, CHANNELS], "fc.bias": [CLASSES] };
  const layers = [
    { name: "conv", inputs: ["input"], op: "conv2d", weight: "conv.weight", bias: "conv.bias", stride: [2, 2], padding: [1, 1, 1, 1], groups: 1 },
    { name: "relu", inputs: ["conv"], op: "relu" },
    { name: "block", inputs: ["relu"], op: "conv2d", weight: "block.weight", stride: [1, 1], padding: [0, 0, 0, 0], groups: 1 },
    { name: "add", inputs: ["block", "relu"], op: "add" },
    { name: "out", inputs: ["add"], op: "relu" },
    { name: "pool", inputs: ["out"], op: "global_avg_pool" },
    { name: "fc", inputs: ["pool"], op: "linear", weight: "fc.weight", bias: "fc.bias" },
  ];
  const graph = { version: 2, input: "input", size: [32, 32], layers, feature_map: "out", features: "pool", logits: "fc" };
  const preprocess = { size: [32, 32], resize: "squash", filter: "bilinear", crop: "round", mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25],
    channels: "rgb" };
  const header = { __metadata__: { format: "pt", architecture: "tiny", activation: "softmax", graph: JSON.stringify(graph),
    preprocess: JSON.stringify(preprocess) } };
  const numbers = [];
  for (const [name, shape] of Object.entries(shapes)) {
    const begin = 4 * numbers.length;
    const count = shape.reduce((product, size) => product * size, 1);
    for (let i = 0; i < count; i++) numbers.push(2 * number());
    header[name] = { dtype: "F32", shape, data_offsets: [begin, 4 * numbers.length] };
  }
  const text = JSON.stringify(header);
  const padded = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, padded, Buffer.from(new Float32Array(numbers).buffer)]);
}
