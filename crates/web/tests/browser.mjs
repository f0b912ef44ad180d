// A static server for the page, and a headless Chromium whose GPU is software.
import { createServer } from "node:http";
import { createReadStream, mkdtempSync, rmSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";

const { SITE, NODE_MODULES } = process.env;
const { chromium } = createRequire(path.join(NODE_MODULES, "/"))("playwright-core");
const ROOT = path.resolve(import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname), "../../..");

const TYPES = {
  html: "text/html", js: "text/javascript", mjs: "text/javascript", css: "text/css", wasm: "application/wasm",
  png: "image/png",
};

/** Serves the page, and under `/NAME/` the files of each of `folders`: a folder, or an object of files by name. */
export function serve(folders) {
  const server = createServer((request, response) => {
    const asked = decodeURIComponent(new URL(request.url, "http://x").pathname);
    const [, name, rest] = asked.match(/^\/([^/]+)(\/.*)$/) ?? [];
    const place = (Object.hasOwn(folders, name ?? "") && folders[name]) || SITE;
    const inside = (place === SITE ? asked : rest).replace(/\/$/, "/index.html");
    const file = typeof place === "string" ? path.join(place, inside) : (place[inside.slice(1)] ?? "");
    const allowed = typeof place !== "string" || file.startsWith(place);
    const found = allowed && statSync(file, { throwIfNoEntry: false });
    if (!found || !found.isFile()) return response.writeHead(404).end();
    const type = TYPES[path.extname(file).slice(1)] ?? "application/octet-stream";
    response.writeHead(200, { "content-type": type, "content-length": found.size });
    createReadStream(file).pipe(response);
  });
  return new Promise((done) => server.listen(0, "127.0.0.1", () => done(server)));
}

const GPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan",
  "--use-vulkan=swiftshader", "--use-angle=swiftshader", "--disable-gpu-watchdog"];

/** A browser; without `gpu` it has no WebGPU. */
export async function start({ gpu = true } = {}) {
  const profile = mkdtempSync(path.join(tmpdir(), "chromium-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    permissions: ["camera"],
    args: ["--headless=new", "--no-sandbox", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream",
      "--use-fake-ui-for-media-stream", ...(gpu ? GPU : ["--disable-features=WebGPU", "--disable-webgpu"])],
    ignoreDefaultArgs: ["--disable-gpu", "--headless"],
  });
  const close = async () => {
    await context.close();
    rmSync(profile, { recursive: true, force: true });
  };
  return { context, close };
}

export { ROOT };
