// node tint.mjs DAWN SHADERS PIPELINES: gives every shader on disk and every pipeline to Tint, the compiler of Chromium
// and Edge, by Dawn's backend without a device. Prints one JSON line for each: what, and what the compiler said.
import fs from 'node:fs';
import { createRequire } from 'node:module';

const [dawn, shaders, pipelines] = process.argv.slice(2);
const { create, globals } = createRequire(import.meta.url)(dawn);
Object.assign(globalThis, globals);
const gpu = create(['backend=null']); // in a variable: the program crashes once it is collected
const adapter = await gpu.requestAdapter();
const device = await adapter.requestDevice({
  requiredFeatures: ['shader-f16', 'subgroups', 'texture-formats-tier2'],
  requiredLimits: { maxImmediateSize: adapter.limits.maxImmediateSize },
});

// naga knows the functions, but not yet the directive that WGSL asks for.
const withDirective = code =>
  /\b(subgroup|quad)[A-Z]\w*\(|subgroup_/.test(code) ? 'enable subgroups;\n' + code : code;

// What the compiler says of a module, and of a pipeline if `layout` makes one.
async function complaints(code, pipeline) {
  const said = [];
  device.pushErrorScope('internal');
  device.pushErrorScope('validation');
  try {
    const module = device.createShaderModule({ code: withDirective(code) });
    for (const m of (await module.getCompilationInfo()).messages)
      said.push(`${m.type} ${m.lineNum}:${m.linePos} ${m.message}`);
    if (pipeline) await device.createComputePipelineAsync(pipeline(module));
  } catch (error) {
    said.push(error.message);
  }
  for (let scope = 0; scope < 2; scope++) {
    const error = await device.popErrorScope();
    if (error) said.push(error.message);
  }
  return said.join('\n');
}

function layoutOf({ bindings, precision, immediates }) {
  const format = precision === 'f16' ? 'rgba16float' : 'rgba32float';
  const texture = { Read: 'read-only', Write: 'write-only', ReadWrite: 'read-write' };
  const entries = bindings.map(({ storage, access }, binding) => {
    const entry = { binding, visibility: GPUShaderStage.COMPUTE };
    if (storage === 'Buffer') entry.buffer = { type: access === 'Read' ? 'read-only-storage' : 'storage' };
    else if (access === 'Sample') entry.texture = { sampleType: 'unfilterable-float' };
    else entry.storageTexture = { format, access: texture[access] };
    return entry;
  });
  const bindGroupLayouts = [device.createBindGroupLayout({ entries })];
  return device.createPipelineLayout({ bindGroupLayouts, immediateSize: immediates });
}

for (const file of fs.readdirSync(shaders, { recursive: true })) {
  if (!file.endsWith('.wgsl')) continue;
  const code = fs.readFileSync(`${shaders}/${file}`, 'utf8');
  if (code.includes('enable wgpu_')) continue; // an extension of wgpu's own
  console.log(JSON.stringify([`shaders/${file}`, await complaints(code)]));
}
for (const entry of JSON.parse(fs.readFileSync(`${pipelines}/index.json`))) {
  if (entry.cooperative) continue;
  const code = fs.readFileSync(`${pipelines}/${entry.id}.wgsl`, 'utf8');
  const pipeline = module => ({
    layout: layoutOf(entry),
    compute: { module, entryPoint: 'main', constants: entry.overrides },
  });
  console.log(JSON.stringify([entry.id, await complaints(code, pipeline)]));
}
process.exit(0);
