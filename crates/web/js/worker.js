// The worker: first it is given the module, then work, one thing after the other.
import { Here, init } from "./processor.js";

const here = new Here();
let turn = Promise.resolve();

async function answered(work) {
  try {
    postMessage(await work());
  } catch ({ name, message, kind }) {
    postMessage({ error: { name, message, kind } });
  }
}

onmessage = ({ data: { wasm, what, given } }) => {
  const work = wasm
    ? () => init({ module_or_path: wasm }).then(() => ({ ready: true }))
    : async () => ({ value: await here[what](...given) });
  turn = turn.then(() => answered(work));
};
