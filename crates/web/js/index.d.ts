/** ResNets on WebGPU, or in WebAssembly where there is none. */

/** Where the module is, if not beside this package's files. Needed only once, before anything else. */
export function load(wasm?: string | URL | Request | Response | BufferSource | WebAssembly.Module): Promise<WebAssembly.Module>;

/** The version of the module. Call `load` first. */
export function version(): string;

/** A device with the features and limits that networks profit from; null where there is no WebGPU. */
export function requestDevice(options?: GPURequestAdapterOptions): Promise<GPUDevice | null>;

export type Source =
  | ImageBitmap
  | HTMLImageElement
  | HTMLVideoElement
  | HTMLCanvasElement
  | OffscreenCanvas
  | VideoFrame
  | ImageData
  | GPUTexture;

export type Progress = (what: "reading" | "weights" | "pipelines", done: number, total: number) => void;

export interface OpenOptions {
  /** The page's device: nothing is copied between devices. By default one is asked for. */
  device?: GPUDevice;
  /** `wasm` computes on the processor, in a worker if there can be one. `auto` does so where there is no WebGPU. */
  backend?: "auto" | "webgpu" | "wasm";
  /** What errors call the file. */
  name?: string;
  /** How feature maps and weights are stored on the device. */
  precision?: "f32" | "f16";
  /** Facts that leave no trace in the weights, such as `{ stem_pool: "none" }`. */
  settings?: Record<string, string>;
  /** Which of several networks in a checkpoint is meant. */
  entry?: string;
  /** Which of several networks with equal weights is meant. */
  variant?: string;
  /** Rows and columns of the image. */
  size?: [number, number];
  progress?: Progress;
}

export interface Decision {
  what: string;
  value: string;
  evidence: string;
  confidence: "certain" | "inferred" | "assumed";
}

export interface Info {
  name: string;
  parameters: number;
  classes: number | null;
  /** Rows and columns of the network's input. */
  size: [number, number];
  labels: string[] | null;
  activation: string | null;
  /** What was decided about the file, and on what evidence. */
  decisions: Decision[];
  preprocess: unknown;
  /** Why there is no heat map, if there is none. */
  no_map: string | null;
}

export interface Plan {
  /** The kind of device that the kernels were chosen for. */
  device: string;
  kernels: string[];
  dispatches: number;
  pipelines: number;
  weight_bytes: number;
  activation_bytes: number;
  precision: "f32" | "f16";
}

export interface Guess {
  class: number;
  label: string;
  probability: number | null;
  logit: number | null;
}

export interface Answer {
  /** The best classes first. */
  top: Guess[];
  logits: Float32Array | null;
  probabilities: Float32Array | null;
  /** The part of the picture that the network saw. */
  seen: { left: number; top: number; width: number; height: number };
  /** Milliseconds. */
  times: { upload: number; network: number };
  /** What speaks for the class, to be laid over `seen`; null if the network has no map. */
  heat(columns: number, rows: number): ImageData | null;
}

export interface ClassifyOptions {
  /** How many classes `top` has: 5 by default. */
  top?: number;
  /** In how many frames the run is submitted, so that the page can draw in between. */
  slices?: number;
  /** The class whose heat map is wanted; by default the most likely one. Only on WebGPU. */
  class?: number;
}

export interface Layer {
  node: string;
  kernel: string;
  ms: number;
}

/** What went wrong, in a sentence for people; `kind` is the stage that failed. */
export class NetworkError extends Error {
  readonly kind: string;
}

export class Network {
  /**
   * Opens a weight file: safetensors, PyTorch, ONNX or Keras.
   * @throws {NetworkError} if the file is damaged, unknown or ambiguous, or the device refuses.
   */
  static open(bytes: ArrayBuffer | Uint8Array, options?: OpenOptions): Promise<Network>;
  readonly info: Info;
  readonly backend: "webgpu" | "wasm";
  /** Null in WebAssembly. */
  readonly plan: Plan | null;
  readonly device: GPUDevice | null;
  /** Compiles pipelines over several frames, so that the first run does not freeze the page. */
  prewarm(progress?: Progress): Promise<void>;
  /** Calls wait for each other. A GPUTexture must be of the network's device, with TEXTURE_BINDING. */
  classify(source: Source, options?: ClassifyOptions): Promise<Answer>;
  /** Runs the last picture again with timestamps; null where the device has none. */
  layers(): Promise<Layer[] | null>;
  /** Gives back what the network holds, after its last run. The device stays the page's. */
  close(): Promise<void>;
}
