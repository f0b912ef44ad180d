// What the page shows. Nothing here decides anything.

const $ = (id) => document.getElementById(id);
const ROWS = 5;
const number = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const milliseconds = (ms) => (ms < 1000 ? `${number.format(Number(ms.toPrecision(3)))} ms` : `${number.format(ms / 1000)} s`);
const megabytes = (bytes) => `${number.format(bytes / 1e6)} MB`;

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export function samples(names, choose) {
  const sample = (name) => {
    const image = make("img", { src: `samples/${name}.png`, alt: name, loading: "lazy", width: 96, height: 96 });
    const button = make("button", { type: "button", title: name, onclick: () => choose(name) }, image);
    return make("li", {}, button);
  };
  $("samples").replaceChildren(...names.map(sample));
  bars([]);
  times(null);
}

export function progress(text, done, total, unit) {
  $("progress").classList.remove("idle");
  const meter = $("meter");
  if (total > 0) {
    meter.max = total;
    meter.value = done;
  } else {
    meter.removeAttribute("value");
  }
  const amount = unit === "bytes" ? ` (${megabytes(done)}${total ? ` of ${megabytes(total)}` : ""})` : "";
  $("doing").textContent = `${text}${amount} …`;
}

/** Nothing is being done; `text` says what was. */
export function idle(text = "") {
  $("progress").classList.add("idle");
  if (text || $("doing").textContent.endsWith("…")) $("doing").textContent = text;
}

/** Shows an error, or none. */
export function trouble(error) {
  const box = $("trouble");
  box.hidden = !error;
  const text = error?.message ?? "";
  box.textContent = text.charAt(0).toUpperCase() + text.slice(1);
}

function frame(width, height) {
  const longer = Math.max(width, height);
  $("frame").style.width = `${(100 * width) / longer}%`;
  $("frame").style.height = `${(100 * height) / longer}%`;
}

export function picture(bitmap, name) {
  $("video").hidden = true;
  $("picture").hidden = false;
  $("camera").setAttribute("aria-pressed", "false");
  const canvas = $("picture");
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  if (name) canvas.setAttribute("aria-label", `Picture: ${name}`);
  frame(bitmap.width, bitmap.height);
  heat(null);
}

export function video(element) {
  $("picture").hidden = true;
  element.hidden = false;
  $("camera").setAttribute("aria-pressed", "true");
  frame(element.videoWidth, element.videoHeight);
  heat(null);
}

function heat(map, seen, whole) {
  const canvas = $("heat");
  canvas.hidden = !map;
  if (!map) return;
  canvas.width = map.width;
  canvas.height = map.height;
  canvas.getContext("2d").putImageData(map, 0, 0);
  const share = (part, of) => `${(100 * part) / of}%`;
  canvas.style.inset = `${share(seen.top, whole.height)} auto auto ${share(seen.left, whole.width)}`;
  canvas.style.width = share(seen.width, whole.width);
  canvas.style.height = share(seen.height, whole.height);
}

/** The rows stay, so that the focus does; only what they say changes. */
function bars(guesses, chosen) {
  const list = $("bars");
  const row = () => make("li", {}, make("button", { type: "button" }, make("i"), make("b"), make("span")));
  if (!list.children.length) list.append(...Array.from({ length: ROWS }, row));
  [...list.children].forEach(({ firstChild: button }, rank) => {
    const guess = guesses[rank];
    const share = guess?.probability ?? null;
    const [bar, name, value] = button.children;
    bar.style.width = `${(share ?? 0) * 100}%`;
    name.textContent = guess?.label ?? "";
    value.textContent = !guess ? "" : share === null ? number.format(guess.logit) : `${(share * 100).toFixed(1)} %`;
    button.disabled = !guess;
    button.dataset.class = guess?.class ?? "";
    button.setAttribute("aria-pressed", String(guess !== undefined && guess.class === chosen));
  });
}

function times(spent) {
  const parts = [["Upload", spent?.upload], ["Network", spent?.network], ["Map", spent?.map]];
  const part = ([name, ms]) =>
    make("div", {}, make("dt", { textContent: name }), make("dd", { textContent: ms === undefined ? "–" : milliseconds(ms) }));
  $("times").replaceChildren(...parts.map(part));
}

export function answer(result, map, spent, network, { quiet, chosen }) {
  bars(result.top, chosen);
  const shown = $("video").hidden ? $("picture") : $("video");
  const whole = { width: shown.videoWidth ?? shown.width, height: shown.videoHeight ?? shown.height };
  heat(map, result.seen, whole);
  times(spent);
  const [best] = result.top;
  const named = chosen === null ? best : { label: network.info.labels?.[chosen] ?? `class ${chosen}` };
  $("heat").setAttribute("aria-label", `Heat map: what speaks for ${named?.label}`);
  $("mapped").textContent = network.info.no_map === null
    ? `What speaks for “${named?.label}”.${network.backend === "webgpu" ? " Choose another class to see its map." : ""}`
    : `This network has no heat map: ${network.info.no_map}.`;
  const sure = best?.probability == null ? "" : `, ${(best.probability * 100).toFixed(0)} percent`;
  if (!quiet && best) $("spoken").textContent = `${best.label}${sure}`;
  idle(`Answered in ${milliseconds(spent.upload + spent.network + spent.map)}.`);
}

export function network(net) {
  const { info, plan } = net;
  const adapter = net.device?.adapterInfo;
  const named = [adapter?.vendor, adapter?.architecture || adapter?.description].filter(Boolean).join(" ");
  $("where").textContent = plan ? `WebGPU${named ? `: ${named}` : ""}` : "WebAssembly: no WebGPU here";
  $("where").title = plan ? `Kernels for: ${plan.device}` : "This browser has no WebGPU, so the processor computes. It is slower.";
  const size = info.size.join("×");
  const classes = info.classes === null ? "no classifier" : `${info.classes} classes`;
  const chosen = plan
    ? ` ${plan.dispatches} kernels of ${plan.pipelines} pipelines, ${megabytes(plan.weight_bytes)} of weights in ${plan.precision}.`
    : "";
  $("network").textContent = `${info.name}: ${compact.format(info.parameters)} parameters, ${classes}, pictures of ${size}.${chosen}`;
  const row = (decision) => {
    const cells = [decision.what, decision.value, `${decision.confidence}: ${decision.evidence}`];
    return make("tr", { className: decision.confidence }, ...cells.map((text) => make("td", { textContent: text })));
  };
  $("decisions").tBodies[0].replaceChildren(...info.decisions.map(row));
  $("layers").tBodies[0].replaceChildren();
  $("measured").textContent = "";
}

export function layers(steps) {
  if (!steps) {
    $("measured").textContent = "This device has no timestamps.";
    return;
  }
  const total = steps.reduce((sum, step) => sum + step.ms, 0);
  $("measured").textContent = `${steps.length} kernels, ${milliseconds(total)} in all; browsers round timestamps.`;
  const row = (step) =>
    make("tr", {}, make("td", { textContent: step.node }), make("td", { textContent: step.kernel }),
      make("td", { className: "number", textContent: milliseconds(step.ms) }));
  const slowest = [...steps].sort((a, b) => b.ms - a.ms).slice(0, 40);
  $("layers").tBodies[0].replaceChildren(...slowest.map(row));
}

$("opacity").addEventListener("input", (event) => ($("heat").style.opacity = event.target.value / 100));
$("heat").style.opacity = $("opacity").value / 100;
