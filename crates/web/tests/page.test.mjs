// The page in Chromium, against the program's processor path.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { ROOT, serve, start } from "./browser.mjs";
import { tiny } from "./tiny.mjs";

const { RESNET, SHOTS } = process.env;
const MADE = mkdtempSync(path.join(tmpdir(), "networks-"));
// Two networks of few kernels for the software GPU, and one as people have it for the processor.
const SMALL = "made/small.safetensors";
const OTHER = "made/other.safetensors";
const FAMILY = "repository/crates/formats/tests/data/families/cifar-a/model.pth";
const TOLERANCE = 1e-4;
const PATIENCE = 120_000;

/** Where a file of the server lies. */
const local = (name) =>
  name.startsWith("made/") ? path.join(MADE, name.slice(5)) : path.join(ROOT, name.replace("repository/", ""));

let server, browser, base, page;

before(async () => {
  mkdirSync(SHOTS, { recursive: true });
  [SMALL, OTHER].forEach((name, index) => writeFileSync(local(name), tiny(index + 1)));
  server = await serve({ repository: ROOT, made: MADE });
  base = `http://127.0.0.1:${server.address().port}/`;
  browser = await start();
  // Most tests share a page: the software GPU compiles the kernels of each anew.
  page = await open(browser.context);
});

after(async () => {
  await browser?.close();
  server?.close();
  rmSync(MADE, { recursive: true, force: true });
});

/** Opens the page with a small network, and waits until its first picture has an answer. */
async function open(context, query = {}) {
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const asked = new URLSearchParams({ weights: SMALL, ...query });
  await page.goto(`${base}?${asked}`);
  await settled(page);
  return page;
}

const settled = (page) => page.evaluate(() => settled());
const trouble = (page) => page.textContent("#trouble");
const best = (page) => page.textContent("#bars li:first-child b");
const logits = (page) => page.evaluate(() => [...globalThis.page.answer.logits]);

/** The logits of the program, by class. */
function native(picture, weights) {
  const own = weights ? ["--weights", local(weights)] : [];
  const text = execFileSync(RESNET, ["classify", "-q", path.join(ROOT, picture), ...own, "--backend", "cpu", "--top", "1000",
    "--format", "json"]);
  const { top } = JSON.parse(text).results[0];
  return top.sort((a, b) => a.class - b.class).map((guess) => guess.logit);
}

function agree(got, expected) {
  assert.equal(got.length, expected.length, "classes");
  const apart = Math.max(...got.map((value, index) => Math.abs(value - expected[index])));
  assert.ok(apart <= TOLERANCE, `logits are ${apart} apart`);
  return apart;
}

const drop = (page, name, bytes, type = "") =>
  page.evaluate(async ([name, bytes, type]) => {
    const data = new DataTransfer();
    data.items.add(new File([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], name, { type }));
    document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
    await settled();
  }, [name, bytes.toString("base64"), type]);

const file = (name) => readFileSync(local(name));

test("two pictures in a row have the logits of the program", async () => {
  assert.equal(await trouble(page), "");
  assert.equal(await page.evaluate(() => globalThis.page.network.backend), "webgpu");
  agree(await logits(page), native("assets/torus.png", SMALL));
  await drop(page, "cube.png", file("assets/cube.png"), "image/png");
  agree(await logits(page), native("assets/cube.png", SMALL));
});

test("nothing is wider than the window: narrow and wide, light and dark", async () => {
  for (const [name, width, height] of [["wide", 1280, 900], ["narrow", 390, 844]]) {
    for (const colorScheme of ["light", "dark"]) {
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme });
      const sideways = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(sideways <= 0, `${name}: ${sideways} pixels wider than the window`);
      await page.screenshot({ path: path.join(SHOTS, `${name}-${colorScheme}.png`), fullPage: true });
    }
  }
});

test("the map of another class is shown when it is chosen", async () => {
  const pixels = () => page.evaluate(() => {
    const canvas = document.getElementById("heat");
    return canvas.hidden ? null : [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data];
  });
  const before = await pixels();
  assert.ok(before, "there is a map");
  await page.click("#bars li:nth-child(2) button");
  await settled(page);
  assert.notDeepEqual(await pixels(), before, "another map");
  assert.equal(await page.getAttribute("#bars li:nth-child(2) button", "aria-pressed"), "true");
});

test("kernels are timed where the device has timestamps", async () => {
  await page.click("#inside summary");
  await page.click("#measure");
  await settled(page);
  assert.match(await page.textContent("#measured"), /kernels/);
  assert.ok((await page.locator("#layers tbody tr").count()) > 5, "layers");
});

test("the camera's frames are classified until it is switched off", async () => {
  const newer = () => page.evaluate(() => (globalThis.seen = globalThis.page.answer))
    .then(() => page.waitForFunction(() => globalThis.page.answer !== globalThis.seen));
  await page.click("#camera");
  await page.waitForFunction(() => !document.getElementById("video").hidden);
  await newer();
  await newer();
  await page.click("#camera");
  await settled(page);
  assert.equal(await page.getAttribute("#camera", "aria-pressed"), "false");
  assert.equal(await trouble(page), "");
});

test("own weights replace the network, and a broken file does not", async () => {
  await drop(page, "torus.png", file("assets/torus.png"), "image/png");
  await drop(page, "other.safetensors", file(OTHER));
  const expected = native("assets/torus.png", OTHER);
  agree(await logits(page), expected);
  assert.ok((await page.locator("#decisions tbody tr").count()) > 2, "its decisions are shown");
  await drop(page, "broken.safetensors", file(OTHER).subarray(0, 900));
  assert.match(await trouble(page), /broken\.safetensors/, "the file is named");
  assert.doesNotMatch(await trouble(page), /unreachable|panicked/, "it is no crash");
  await drop(page, "torus.png", file("assets/torus.png"), "image/png");
  agree(await logits(page), expected);
  await drop(page, "letter.png", Buffer.from("no picture"), "image/png");
  assert.match(await trouble(page), /no picture/);
});

test("what the device lacks is an error, and not a network of zeros", async () => {
  const message = await page.evaluate(async (weights) => {
    const { Network } = await import("./pkg/index.js");
    const device = await (await navigator.gpu.requestAdapter()).requestDevice();
    // A device that refuses every pipeline, as one does that lacks what they need.
    const create = device.createComputePipeline.bind(device);
    device.createComputePipeline = (asked) => create({ ...asked, compute: { ...asked.compute, entryPoint: "none" } });
    const bytes = await (await fetch(weights)).arrayBuffer();
    return Network.open(bytes, { device }).then(() => "opened", (error) => `${error.name} ${error.kind}: ${error.message}`);
  }, SMALL);
  assert.match(message, /^NetworkError gpu: /);
});

test("the package shares the page's device and reads its textures and bitmaps", async () => {
  const answers = await page.evaluate(async (weights) => {
    const { Network, requestDevice } = await import("./pkg/index.js");
    const device = await requestDevice();
    const net = await Network.open(await (await fetch(weights)).arrayBuffer(), { device });
    const source = await createImageBitmap(await (await fetch("samples/torus.png")).blob());
    const { TEXTURE_BINDING, COPY_DST, RENDER_ATTACHMENT } = GPUTextureUsage;
    const size = [source.width, source.height];
    const usage = TEXTURE_BINDING | COPY_DST | RENDER_ATTACHMENT;
    const texture = device.createTexture({ size, format: "rgba8unorm", usage });
    device.queue.copyExternalImageToTexture({ source }, { texture }, size);
    const answers = [await net.classify(texture), await net.classify(source)];
    net.close();
    return answers.map((answer) => [...answer.logits]);
  }, SMALL);
  const expected = native("assets/torus.png", SMALL);
  answers.forEach((got) => agree(got, expected));
});

test("a lost device is reported, and the next picture starts again", async () => {
  await page.evaluate(async () => {
    const { device } = globalThis.page;
    device.destroy();
    await device.lost;
  });
  await page.waitForFunction(() => document.getElementById("trouble").textContent.includes("lost"));
  await drop(page, "torus.png", file("assets/torus.png"), "image/png");
  assert.equal(await trouble(page), "");
  agree(await logits(page), native("assets/torus.png", OTHER));
});

test("without WebGPU the processor gives the same logits", async () => {
  const other = await start({ gpu: false });
  try {
    const page = await open(other.context, { weights: FAMILY });
    assert.equal(await trouble(page), "");
    assert.equal(await page.evaluate(() => globalThis.page.network.backend), "wasm");
    assert.match(await page.textContent("#where"), /no WebGPU/);
    agree(await logits(page), native("assets/torus.png", FAMILY));
    await drop(page, "broken.pth", file(FAMILY).subarray(0, 9000));
    assert.match(await trouble(page), /broken\.pth/, "errors of the worker are shown");
    // The network that the page opens with, too, and meanwhile the page stays alive.
    const real = await open(other.context, { weights: "shapes.safetensors" });
    assert.equal(await trouble(real), "");
    assert.equal(await best(real), "torus");
    assert.equal(real.workers().length, 1, "workers");
    const { waited, took } = await real.evaluate(async () => {
      let [last, waited] = [performance.now(), 0];
      const tick = () => {
        const now = performance.now();
        [last, waited] = [now, Math.max(waited, now - last)];
      };
      const timer = setInterval(tick, 10);
      const answer = await globalThis.page.network.classify(globalThis.page.picture);
      clearInterval(timer);
      tick();
      return { waited, took: answer.times.network };
    });
    assert.ok(waited < took / 2, `the page stood still for ${waited} of ${took} ms`);
    await real.setViewportSize({ width: 1280, height: 900 });
    await real.screenshot({ path: path.join(SHOTS, "solids.png"), fullPage: true });
  } finally {
    await other.close();
  }
});

test("without workers the page computes, and gives the same logits", async () => {
  const alone = await browser.context.newPage();
  await alone.addInitScript(() => delete globalThis.Worker);
  await alone.goto(`${base}?${new URLSearchParams({ weights: FAMILY, backend: "wasm" })}`);
  await settled(alone);
  assert.equal(await trouble(alone), "");
  assert.equal(alone.workers().length, 0, "workers");
  agree(await logits(alone), native("assets/torus.png", FAMILY));
  await drop(alone, "broken.pth", file(FAMILY).subarray(0, 9000));
  assert.match(await trouble(alone), /broken\.pth/, "the file is named");
});
