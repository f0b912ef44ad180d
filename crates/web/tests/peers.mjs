// Times a network in a browser: here, or in onnxruntime-web. For scripts/peers; the answer is JSON on the last line.
//
//     node peers.mjs '{"engine": "resnet", "backend": "webgpu", "model": "FILE.onnx", "image": "FILE", "batch": 1,
//                      "size": [H, W], "runs": 10, "warmup": 3, "seconds": 3}'
//
// The backends are `webgpu`, on the browser's software GPU, and `wasm`, with one thread. The image, N×3×H×W numbers of
// 32 bits, is onnxruntime-web's; this project's package takes pictures one by one, and gets as many of the same size.
import path from "node:path";
import { serve, start } from "./browser.mjs";

const { NODE_MODULES, SITE } = process.env;

/** In the page: the milliseconds of each run, after some that are not counted. */
async function measure({ engine, backend, batch, size: [height, width], runs, warmup, seconds }) {
  const fetched = async (name) => (await fetch(`/peers/${name}`)).arrayBuffer();
  const bytes = new Uint8Array(await fetched("model"));
  let used = "one thread";
  let run, version, result;
  if (engine === "resnet") {
    const { Network, load, version: ours } = await import("/pkg/index.js");
    await load();
    const network = await Network.open(bytes, { backend, name: "model.onnx" });
    const picture = new ImageData(width, height);
    picture.data.forEach((_, index, data) => (data[index] = (index * 73) % 256));
    run = async () => {
      let sum = 0;
      result = [];
      for (let index = 0; index < batch; index++) {
        const answer = await network.classify(picture);
        result.push(...answer.probabilities);
        sum += answer.times.network;
      }
      return sum;
    };
    version = ours();
    if (batch > 1) used += ", picture by picture";
  } else {
    const ort = await import(backend === "webgpu" ? "/ort/ort.webgpu.min.mjs" : "/ort/ort.wasm.min.mjs");
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmPaths = "/ort/";
    const session = await ort.InferenceSession.create(bytes, { executionProviders: [backend] });
    const image = new ort.Tensor("float32", new Float32Array(await fetched("image")), [batch, 3, height, width]);
    const feeds = { [session.inputNames[0]]: image };
    run = async () => {
      const begin = performance.now();
      result = await (await session.run(feeds))[session.outputNames[0]].getData();
      return performance.now() - begin;
    };
    version = ort.env.versions.web;
  }
  if (backend === "webgpu") {
    const { vendor, architecture } = (await navigator.gpu.requestAdapter()).info;
    used = used.replace("one thread", `WebGPU, ${vendor} ${architecture}`);
  }
  // Shaders are compiled in the first run.
  for (let count = 0, begin = performance.now(); count === 0 || (count < warmup && performance.now() - begin < seconds * 1e3); count++)
    await run();
  const sum = result.reduce((sum, value) => sum + value, 0);
  if (!(Math.abs(sum - batch) < 1e-3 * batch)) throw new Error(`these are no probabilities: their sum is ${sum}`);
  const samples = [];
  for (const begin = performance.now(); samples.length < runs; ) {
    samples.push(await run());
    if (performance.now() - begin >= seconds * 1e3) break;
  }
  // Those of another picture are not comparable.
  const probabilities = engine === "resnet" ? undefined : [...result];
  return { samples_ms: samples, used, version, probabilities };
}

const options = JSON.parse(process.argv[2]);
const server = await serve({
  peers: { model: options.model, image: options.image },
  pkg: path.join(SITE, "pkg"),
  ort: path.join(NODE_MODULES, "onnxruntime-web/dist"),
});
const browser = await start();
try {
  const page = await browser.context.newPage();
  page.setDefaultTimeout(0);
  // Any document of the server that runs nothing itself.
  await page.goto(`http://127.0.0.1:${server.address().port}/samples/torus.png`);
  const answer = await page.evaluate(measure, options);
  answer.used += `, Chromium ${browser.context.browser()?.version() ?? ""}`.trimEnd();
  console.log(JSON.stringify(answer));
} catch (error) {
  console.error(error.message.split("\n")[0]);
  process.exitCode = 1;
} finally {
  await browser.close().catch(() => {});
  server.close();
}
