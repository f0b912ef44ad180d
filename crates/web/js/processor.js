// A network in WebAssembly, here or in a worker: the page stays alive while the processor computes.
import init, { Cpu, Model } from "./resnet_web.js";

/** What an answer holds; the module's part of it is given back. */
export function taken(answer) {
  const [logits, probabilities, map, grid] = [answer.logits(), answer.probabilities(), answer.map(), answer.grid()];
  answer.free();
  return { logits: logits ?? null, probabilities: probabilities ?? null, map: map ?? null, grid: grid ?? null };
}

/** The network in this thread. */
export class Here {
  #model;
  #cpu;

  /** Returns the description of the file. */
  async open(name, data, settled) {
    this.#model = new Model(name, data, settled);
    this.#cpu = new Cpu(this.#model);
    this.#model.release();
    return this.#model.description();
  }

  async run(rgba, width, height) {
    return { ...taken(this.#cpu.run(rgba, height)), seen: this.#model.seen(height, width) };
  }

  close() {
    this.#cpu?.free();
    this.#model?.free();
  }
}

/** The same in a worker. */
class There {
  #worker;
  #waiting = [];

  constructor(worker) {
    this.#worker = worker;
    worker.onmessage = ({ data: { value, error } }) => {
      const { done, failed } = this.#waiting.shift();
      if (error) failed(Object.assign(new Error(error.message), error));
      else done(value);
    };
    const stopped = (message) => () => {
      for (const { failed } of this.#waiting.splice(0)) {
        failed(Object.assign(new Error(message), { name: "NetworkError", kind: "cpu" }));
      }
    };
    worker.onerror = stopped("the worker that computes has stopped; open the network again");
    worker.onmessageerror = stopped("the page and its worker do not understand each other");
  }

  #ask(what, ...given) {
    return new Promise((done, failed) => {
      this.#waiting.push({ done, failed });
      this.#worker.postMessage({ what, given });
    });
  }

  open(name, data, settled) {
    return this.#ask("open", name, data, settled);
  }

  run(rgba, width, height) {
    return this.#ask("run", rgba, width, height);
  }

  close() {
    this.#worker.terminate();
  }
}

/** A worker with the module; null where there are none, or none from this package's address. */
function started(wasm) {
  return new Promise((done) => {
    try {
      const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
      worker.onmessage = ({ data }) => done(data.ready ? worker : null);
      worker.onerror = () => done(null);
      worker.postMessage({ wasm });
    } catch {
      done(null);
    }
  });
}

/** Where the processor computes: in a worker if there can be one. `wasm` is the compiled module. */
export async function processor(wasm) {
  const worker = await started(wasm);
  return worker ? new There(worker) : new Here();
}

export { init };
