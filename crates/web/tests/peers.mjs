// Times a network in a browser: here, or in onnxruntime-web. For scripts/peers; the answer is JSON on the last line.
//
//     node peers.mjs '{"engine": "resnet", "backend": "webgpu", "model": FILE.onnx, "batch": 1, "size": [H, W], "runs": 10, …}'
//
// The backends are `webgpu`, on the browser's software GPU, and `wasm`, with one thread.
import { createReadStream, statSync } from "node:fs";
import { createServer } from "node:http";
import path from "node:path";
import { start } from "./browser.mjs";

const { NODE_MODULES, SITE } = process.env;
const TYPES = { html: "text/html", js: "text/javascript", mjs: "text/javascript", wasm: "application/wasm" };

/** Serves an empty page, and beside it what is measured and the network. */
function serve(model) {
  const places = { pkg: path.join(SITE, "pkg"), ort: path.join(NODE_MODULES, "onnxruntime-web/dist") };
  const server = createServer((request, response) => {
    const [, place, name = ""] = new URL(request.url, "http://x").pathname.split("/");
    if (!name && place !== "model") return response.writeHead(200, { "content-type": TYPES.html }).end("<!doctype html>");
    const file = place === "model" ? model : path.join(places[place] ?? SITE, path.basename(name));
    const size = statSync(file, { throwIfNoEntry: false })?.size;
    if (size === undefined) return response.writeHead(404).end();
    const type = TYPES[path.extname(file).slice(1)] ?? "application/octet-stream";
    response.writeHead(200, { "content-type": type, "content-length": size });
    createReadStream(file).pipe(response);
  });
  return new Promise((done) => server.listen(0, "127.0.0.1", () => done(server)));
}

/** In the page: the milliseconds of each run, after some that are not counted. */
async function measure({ engine, backend, size: [height, width], runs, warmup, seconds }) {
  const bytes = new Uint8Array(await (await fetch("/model")).arrayBuffer());
  let run, used, version, result;
  if (engine === "resnet") {
    const { Network, load, version: ours } = await import("/pkg/index.js");
    await load();
    const network = await Network.open(bytes, { backend, name: "model.onnx" });
    const picture = new ImageData(width, height);
    picture.data.forEach((_, index, data) => (data[index] = (index * 73) % 256));
    run = async () => {
      const answer = await network.classify(picture);
      result = answer.probabilities;
      return answer.times.network;
    };
    used = network.plan?.device ?? "one thread";
    version = ours();
  } else {
    const ort = await import(backend === "webgpu" ? "/ort/ort.webgpu.min.mjs" : "/ort/ort.wasm.min.mjs");
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmPaths = "/ort/";
    const session = await ort.InferenceSession.create(bytes, { executionProviders: [backend] });
    const data = Float32Array.from({ length: 3 * height * width }, (_, index) => ((index * 73) % 256) / 128 - 1);
    const feeds = { [session.inputNames[0]]: new ort.Tensor("float32", data, [1, 3, height, width]) };
    run = async () => {
      const begin = performance.now();
      result = await (await session.run(feeds))[session.outputNames[0]].getData();
      return performance.now() - begin;
    };
    used = "one thread";
    version = ort.env.versions.web;
  }
  if (backend === "webgpu") {
    const { vendor, architecture } = (await navigator.gpu.requestAdapter()).info;
    used = `WebGPU, ${vendor} ${architecture}`;
  }
  // Shaders are compiled in the first run.
  for (let count = 0, begin = performance.now(); count === 0 || (count < warmup && performance.now() - begin < seconds * 1e3); count++)
    await run();
  const sum = result.reduce((sum, value) => sum + value, 0);
  if (!(Math.abs(sum - 1) < 1e-3)) throw new Error(`these are no probabilities: their sum is ${sum}`);
  const samples = [];
  for (const begin = performance.now(); samples.length < runs; ) {
    samples.push(await run());
    if (performance.now() - begin >= seconds * 1e3) break;
  }
  return { samples_ms: samples, used, version };
}

const options = JSON.parse(process.argv[2]);
const server = await serve(options.model);
const browser = await start();
try {
  const page = await browser.context.newPage();
  page.setDefaultTimeout(0);
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  const answer = await page.evaluate(measure, options);
  answer.used += `, Chromium ${browser.context.browser()?.version() ?? ""}`.trimEnd();
  console.log(JSON.stringify(answer));
} finally {
  await browser.close();
  server.close();
}
