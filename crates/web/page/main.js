// The page: pictures in, labels out. Everything that computes is in the package.
import { Network, requestDevice } from "./pkg/index.js";
import { Camera } from "./camera.js";
import * as show from "./show.js";

const SAMPLES = ["torus", "cone", "cube", "star", "arch", "capsule", "cross", "cylinder", "hexagonal-prism", "octahedron",
  "pyramid", "sphere"];
const WEIGHTS = /\.(safetensors|pth|pt|bin|ckpt|onnx|h5|hdf5|keras)$/i;
const MAP_SIDE = 320;

const asked = new URLSearchParams(location.search);
const $ = (id) => document.getElementById(id);

/** What the page knows; `page.network` is null until the weights of `page.source` are loaded. */
const page = { network: null, source: null, device: null, picture: null, chosen: null, times: null };
let job = Promise.resolve();

/** One thing at a time: what is asked for last is done last. */
function next(work) {
  job = job.then(work).catch((error) => show.trouble(error)).finally(() => show.idle());
  return job;
}

async function download(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`'${url}' cannot be loaded: the server answers ${response.status}.`);
  const total = Number(response.headers.get("content-length")) || 0;
  const parts = [];
  let done = 0;
  const reader = response.body.getReader();
  for (;;) {
    const { done: end, value } = await reader.read();
    if (end) break;
    parts.push(value);
    done += value.length;
    show.progress("Downloading the network", done, total, "bytes");
  }
  return new Blob(parts);
}

const DOING = { reading: "Reading the file", weights: "Uploading weights", pipelines: "Preparing kernels" };

/** What a file does not say about itself: `NAME=VALUE` as often as needed, and the name of a variant. */
function stated() {
  const words = $("stated").value.split(/\s+/).filter(Boolean);
  const [settings, variants] = [words.filter((word) => word.includes("=")), words.filter((word) => !word.includes("="))];
  return { settings: Object.fromEntries(settings.map((word) => word.split(/=(.*)/s))), variant: variants[0] };
}

/** Replaces the network; the old one stays if the file is refused. */
async function open(name, blob, facts = {}) {
  show.trouble(null);
  const wasm = asked.get("backend") === "wasm";
  page.device ??= wasm ? null : await requestDevice();
  const progress = (what, done, total) => show.progress(DOING[what], done, total);
  const options = { name, progress, device: page.device ?? undefined, backend: page.device ? "webgpu" : "wasm", ...facts };
  const network = await Network.open(await blob.arrayBuffer(), options);
  page.device?.lost.then((info) => lost(info));
  page.network?.close();
  page.network = network;
  page.source = { name, blob, facts };
  page.chosen = null;
  page.times = null;
  show.network(network);
  await network.prewarm(progress);
}

/** A lost device takes the network with it: the file must be opened again. */
function lost(info) {
  if (info.reason === "destroyed" && !page.network) return;
  page.device = null;
  page.network?.close();
  page.network = null;
  show.trouble(new Error(`The graphics device is lost (${info.message || info.reason}). Choose a picture to start again.`));
}

async function ready() {
  if (!page.network) {
    const { name, blob, facts } = page.source ?? {};
    await open(name ?? "shapes", blob ?? (await download(asked.get("weights") ?? "shapes.safetensors")), facts);
  }
  return page.network;
}

/** Classifies the picture that is shown. */
async function classify(source, { quiet = false } = {}) {
  const network = await ready();
  if (!quiet) show.progress("Looking at the picture");
  const slices = page.times ? Math.ceil(page.times.network / 12) : 1;
  const answer = await network.classify(source, { class: page.chosen ?? undefined, slices: Math.min(slices, 24) });
  const start = performance.now();
  const { width, height } = answer.seen;
  const scale = MAP_SIDE / Math.max(width, height);
  const map = answer.heat(Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)));
  page.times = { ...answer.times, map: performance.now() - start };
  page.answer = answer;
  show.answer(answer, map, page.times, network, { quiet, chosen: page.chosen });
}

async function look(bitmap, name) {
  camera.stop();
  page.picture = bitmap;
  page.chosen = null;
  show.picture(bitmap, name);
  await classify(bitmap);
}

/** As the file has it: turned upright, but neither premultiplied nor converted. */
const decode = (blob) =>
  createImageBitmap(blob, { premultiplyAlpha: "none", colorSpaceConversion: "none" }).catch(() => {
    throw new Error("This is no picture that the browser can read.");
  });

function take(file) {
  show.trouble(null);
  if (WEIGHTS.test(file.name)) return takeWeights(file);
  return next(async () => look(await decode(file), file.name));
}

let latest = null;

function takeWeights(file) {
  latest = file;
  return next(async () => {
    show.progress("Reading the file");
    await open(file.name, file, stated());
    if (page.picture) await classify(page.picture);
  });
}

function takeUrl(url, name = url) {
  show.trouble(null);
  return next(async () => {
    const response = await fetch(url).catch(() => {
      throw new Error("That site does not let other pages read its picture. Save it, and drop the file here.");
    });
    if (!response.ok) throw new Error(`That address answers ${response.status}.`);
    await look(await decode(await response.blob()), name);
  });
}

const camera = new Camera($("video"), {
  frame: (video) => classify(video, { quiet: true }),
  started: (video) => show.video(video),
  stopped: () => page.picture && show.picture(page.picture),
  failed: (error) => show.trouble(error),
});

function connect() {
  const fromInput = (input) => {
    if (input.files[0]) take(input.files[0]);
    input.value = "";
  };
  $("file").addEventListener("change", (event) => fromInput(event.target));
  $("weights").addEventListener("change", (event) => fromInput(event.target));
  $("from-url").addEventListener("submit", (event) => {
    event.preventDefault();
    if ($("url").value) takeUrl($("url").value);
  });
  $("facts").addEventListener("submit", (event) => {
    event.preventDefault();
    if (latest) takeWeights(latest);
  });
  addEventListener("paste", (event) => {
    const [file] = event.clipboardData.files;
    if (file) take(file);
  });
  const over = (on) => (event) => {
    event.preventDefault();
    $("stage").classList.toggle("over", on);
  };
  addEventListener("dragover", over(true));
  addEventListener("dragleave", over(false));
  addEventListener("drop", (event) => {
    over(false)(event);
    const [file] = event.dataTransfer.files;
    const url = event.dataTransfer.getData("text/uri-list");
    if (file) take(file);
    else if (url) takeUrl(url);
  });
  $("camera").addEventListener("click", () => next(async () => {
    show.trouble(null);
    await ready();
    await camera.toggle();
  }));
  $("measure").addEventListener("click", () => next(async () => {
    const network = await ready();
    show.progress("Measuring");
    show.layers(await network.layers());
  }));
  $("bars").addEventListener("click", (event) => {
    const row = event.target.closest("button");
    if (!row?.dataset.class || page.network?.backend !== "webgpu" || camera.on) return;
    const chosen = Number(row.dataset.class);
    page.chosen = page.chosen === chosen ? null : chosen;
    if (page.picture) next(() => classify(page.picture));
  });
  show.samples(SAMPLES, (name) => takeUrl(`samples/${name}.png`, name));
}

connect();
takeUrl(asked.get("picture") ?? "samples/torus.png", "torus");

// For tests.
globalThis.page = page;
globalThis.settled = () => job;
