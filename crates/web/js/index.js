// ResNets on WebGPU, or in WebAssembly where there is none. See index.d.ts.
import init, { Gpu, Instance, Model, heat, version } from "./resnet_web.js";
import { processor, taken } from "./processor.js";

export { version };

let loaded;

/** The module itself, which workers can share. */
async function compiled(wasm) {
  if (wasm instanceof WebAssembly.Module) return wasm;
  if (wasm instanceof ArrayBuffer || ArrayBuffer.isView(wasm)) return WebAssembly.compile(wasm);
  const response = wasm instanceof Response ? wasm : await fetch(wasm);
  if (!response.ok) refuse(`'${response.url}' cannot be loaded: the server answers ${response.status}`);
  const streamed = response.headers.get("content-type")?.startsWith("application/wasm");
  return streamed ? WebAssembly.compileStreaming(response) : WebAssembly.compile(await response.arrayBuffer());
}

/** Loads the module once; `wasm` is where it is, if not beside this file. */
export function load(wasm = new URL("./resnet_web_bg.wasm", import.meta.url)) {
  loaded ??= compiled(wasm).then(async (module) => {
    await init({ module_or_path: module });
    return module;
  });
  return loaded;
}

/** What a user of the page gets to read, and the stage that failed. */
export class NetworkError extends Error {
  constructor(message, kind) {
    super(message);
    this.name = "NetworkError";
    this.kind = kind;
  }
}

const refuse = (message, kind = "usage") => {
  throw new NetworkError(message, kind);
};

/** Errors of the module become those of this file. */
async function named(work) {
  try {
    return await work();
  } catch (error) {
    if (error?.name === "NetworkError") throw new NetworkError(error.message, error.kind);
    throw error;
  }
}

const frame = () =>
  new Promise((done) =>
    globalThis.document?.visibilityState === "visible"
      ? requestAnimationFrame(() => done())
      : setTimeout(done),
  );

/** The limits that larger networks and pictures profit from. */
const LIMITS = ["maxBufferSize", "maxStorageBufferBindingSize", "maxTextureDimension2D"];

/** Asks the browser for a device that suits networks; null where there is no WebGPU. */
export async function requestDevice(options = {}) {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance", ...options });
  if (!adapter) return null;
  const requiredFeatures = ["timestamp-query", "shader-f16"].filter((name) => adapter.features.has(name));
  const requiredLimits = Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]]));
  return adapter.requestDevice({ requiredFeatures, requiredLimits });
}

/** What older browsers do not say about a device. */
const UNKNOWN = { vendor: "", architecture: "", description: "", device: "", subgroupMinSize: 4, subgroupMaxSize: 128 };

/** wgpu asks `navigator.gpu` for its device: for a moment that is one that gives it the page's. */
function instanceOf(device) {
  const gpu = navigator.gpu;
  if (!device.adapterInfo) Object.defineProperty(device, "adapterInfo", { value: UNKNOWN });
  const adapter = {
    features: device.features,
    limits: device.limits,
    info: device.adapterInfo,
    isFallbackAdapter: false,
    requestDevice: async () => device,
  };
  const shown = {
    requestAdapter: async () => adapter,
    getPreferredCanvasFormat: () => gpu.getPreferredCanvasFormat(),
    wgslLanguageFeatures: gpu.wgslLanguageFeatures,
  };
  Object.defineProperty(navigator, "gpu", { configurable: true, value: shown });
  try {
    return new Instance();
  } finally {
    delete navigator.gpu;
  }
}

/** Width and height of anything that can be classified. */
export function sizeOf(source) {
  const width = source.videoWidth ?? source.naturalWidth ?? source.displayWidth ?? source.width;
  const height = source.videoHeight ?? source.naturalHeight ?? source.displayHeight ?? source.height;
  return width > 0 && height > 0 ? [width, height] : refuse("the picture is empty or not loaded yet");
}

const isTexture = (source) => globalThis.GPUTexture !== undefined && source instanceof GPUTexture;

/** The pixels of a picture, no larger than `most` on its longer side. */
function pixelsOf(source, most) {
  if (source.data && !isTexture(source)) return source; // ImageData
  const [width, height] = sizeOf(source);
  const scale = Math.min(1, most / Math.max(width, height));
  const canvas = new OffscreenCanvas(Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

/** A network on a device. */
export class Network {
  #model;
  #gpu;
  #cpu;
  #device;
  #texture;
  #queue = Promise.resolve();
  #lost;
  #looked = false;
  #warm = false;

  static async open(bytes, options = {}) {
    const { name = "weights", settings, entry, variant, size, precision = "f32", backend = "auto" } = options;
    const progress = options.progress ?? (() => {});
    if (!["auto", "webgpu", "wasm"].includes(backend)) refuse(`there is no backend '${backend}'`);
    await load();
    const data = bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes);
    progress("reading", 0, 1);
    await frame();
    return named(async () => {
      const network = new Network();
      const settled = JSON.stringify({ settings, entry, variant, size });
      const device = backend === "wasm" ? null : (options.device ?? (await requestDevice()));
      if (!device) {
        if (backend === "webgpu") refuse("this browser has no WebGPU", "adapter");
        await network.#onCpu(name, data, settled);
        progress("reading", 1, 1);
        return network;
      }
      network.#model = new Model(name, data, settled);
      network.info = JSON.parse(network.#model.description());
      progress("reading", 1, 1);
      await frame();
      await network.#onGpu(device, precision, progress);
      network.#model.release();
      return network;
    });
  }

  async #onGpu(device, precision, progress) {
    this.#device = device;
    this.backend = "webgpu";
    device.lost.then((info) => (this.#lost = info));
    const instance = instanceOf(device);
    const { vendor, architecture } = device.adapterInfo;
    const halves = precision === "f16";
    this.#gpu = await Gpu.open(instance, this.#model, vendor, architecture, halves, progress);
    this.plan = JSON.parse(this.#gpu.report());
  }

  async #onCpu(name, data, settled) {
    this.backend = "wasm";
    this.plan = null;
    const cpu = await processor(await load());
    try {
      this.info = JSON.parse(await cpu.open(name, data, settled));
    } catch (error) {
      cpu.close();
      throw error;
    }
    this.#cpu = cpu;
  }

  /** The device that the network is on; null in WebAssembly. */
  get device() {
    return this.#device ?? null;
  }

  /** One run after the other: they share buffers. */
  #inTurn(work) {
    const turn = this.#queue.then(() => named(work));
    this.#queue = turn.catch(() => {});
    return turn;
  }

  #alive() {
    if (!this.#gpu && !this.#cpu) refuse("the network is closed");
    if (this.#lost) refuse(`the device is lost (${this.#lost.message || this.#lost.reason}); open the network again`, "gpu");
  }

  /** Compiles what the driver compiles at the first run, a little in each frame. */
  prewarm(progress = () => {}) {
    return this.#inTurn(async () => {
      this.#alive();
      if (!this.#gpu || this.#warm) return;
      if (!this.#looked) await this.#look(new ImageData(8, 8));
      for (let done = 0, total = 1; done < total; ) {
        [done, total] = this.#gpu.prewarm(2);
        progress("pipelines", done, total);
        await this.#device.queue.onSubmittedWorkDone();
        this.#alive();
        await frame();
      }
      this.#warm = true;
    });
  }

  classify(source, options = {}) {
    return this.#inTurn(async () => {
      this.#alive();
      const { top = 5, slices = 1, class: chosen } = options;
      const start = performance.now();
      if (this.#cpu) {
        const { data, width, height } = pixelsOf(source, 2048);
        const uploaded = performance.now();
        const answer = await this.#cpu.run(new Uint8Array(data.buffer, data.byteOffset, data.length), width, height);
        return this.#result(answer, top, start, uploaded);
      }
      const [width, height] = await this.#look(source);
      if (this.info.no_map === null) this.#gpu.select_class(chosen ?? undefined);
      const uploaded = performance.now();
      const total = this.#gpu.start();
      const each = Math.ceil(total / Math.max(1, slices));
      while (!this.#gpu.step(each)) await frame();
      const answer = await Promise.race([this.#gpu.read(), this.#device.lost.then(() => null)]);
      if (!answer) this.#alive();
      return this.#result({ ...taken(answer), seen: this.#model.seen(height, width) }, top, start, uploaded);
    });
  }

  /** Gives the GPU something to look at, and returns its width and height. */
  async #look(source) {
    const gpu = this.#gpu;
    if (isTexture(source)) {
      if (gpu.needs_pixels()) refuse("this network takes no textures; give it a picture");
      await gpu.read_texture(source);
      this.#looked = true;
      return [source.width, source.height];
    }
    const most = this.#device.limits.maxTextureDimension2D;
    const [width, height] = sizeOf(source);
    if (gpu.needs_pixels() || width > most || height > most) {
      const pixels = pixelsOf(source, 4096);
      gpu.read_pixels(new Uint8Array(pixels.data.buffer), pixels.height);
      return [width, height];
    }
    if (this.#texture?.width !== width || this.#texture?.height !== height) {
      this.#texture?.destroy();
      const { TEXTURE_BINDING, COPY_DST, RENDER_ATTACHMENT } = GPUTextureUsage;
      const usage = TEXTURE_BINDING | COPY_DST | RENDER_ATTACHMENT;
      this.#texture = this.#device.createTexture({ size: [width, height], format: "rgba8unorm", usage });
      await gpu.read_texture(this.#texture);
    }
    this.#device.queue.copyExternalImageToTexture({ source }, { texture: this.#texture }, [width, height]);
    this.#looked = true;
    return [width, height];
  }

  #result({ logits, probabilities, map, grid, seen: [first, end, left, right] }, top, start, uploaded) {
    const done = performance.now();
    const scores = probabilities ?? logits ?? new Float32Array();
    const order = [...scores.keys()].sort((a, b) => scores[b] - scores[a]).slice(0, top);
    const { labels } = this.info;
    return {
      top: order.map((index) => ({
        class: index,
        label: labels?.[index] ?? `class ${index}`,
        probability: probabilities?.[index] ?? null,
        logit: logits?.[index] ?? null,
      })),
      logits,
      probabilities,
      seen: { left, top: first, width: right - left, height: end - first },
      times: { upload: uploaded - start, network: done - uploaded },
      heat(columns, rows) {
        if (!map) return null;
        const pixels = heat(map, grid, rows, columns);
        return new ImageData(new Uint8ClampedArray(pixels.buffer), columns, rows);
      },
    };
  }

  /** The milliseconds of every kernel, from the device's timestamps; null where there are none. */
  layers() {
    return this.#inTurn(async () => {
      this.#alive();
      const text = this.#gpu && (await this.#gpu.layers());
      return text ? JSON.parse(text) : null;
    });
  }

  /** Gives back what the network holds; the device stays the page's. */
  close() {
    return this.#inTurn(() => {
      this.#texture?.destroy();
      this.#gpu?.free();
      this.#cpu?.close();
      this.#model?.free();
      this.#texture = this.#gpu = this.#cpu = this.#model = undefined;
    });
  }
}
