// @ts-check
// tensorgl in your own page:
//
//   import { TensorGL } from "./tensorgl.js";
//   const tg = await TensorGL.start();
//   const { code } = await tg.run("import tensorgl as tg; print(tg.ones(3, device='gl'))", {
//     onOutput: (text) => console.log(text),
//   });
//   tg.stop();
//
// Python runs in a worker, so the page stays responsive. The files of the built site lie beside this
// one. `interrupt`, standard input and `onStats` need shared memory, which a page has that is served
// with Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp.
// `data` puts files beside the script: tg.run("print(open('a.csv').read())", { data: { "a.csv": text } }).
// One script runs at a time. embed.html and embed.js are an example.

const STDIN_BYTES = 1 << 16;
const INTERRUPT = 2; // the signals, as Python numbers them: SIGINT
const WOKEN = -1; // what an interrupt puts where the count of input is, for worker.js
const STATS = 10; // and SIGUSR1, to which runtime.py answers with counts
const STATS_MS = 250;
const TUNE = `
import sys
from tensorgl.wasm.runtime import tune
sys.exit(tune(sys.argv[2:], float(sys.argv[1])))
`;

/**
 * @typedef {object} Handlers
 * @property {(text: string, stream: "stdout" | "stderr") => void} [onOutput] what the script prints
 * @property {(image: {png: Uint8Array, title: string}) => void} [onImage] what the script shows, and at
 *   the end the PNG files that it wrote
 * @property {(bytes: Uint8Array, stream: "stdout" | "stderr") => void | Promise<void>} [onBytes] the
 *   same as it was written; a script that prints much waits for the promise
 * @property {(room: number) => Promise<string | Uint8Array | null>} [onInput] a line for the script, null
 *   at the end
 * @property {(stage: string, ms: number) => void} [onProgress] packages are loaded; the first step is over
 * @property {(stats: Stats) => void} [onStats] four times a second, and when the script has ended
 * @property {(text: string) => void} [onTrying] what `tune` does
 * @property {(text: string) => void} [onTuned] all that `tune` has found, whenever it has found something
 */

/**
 * @typedef {object} Stats
 * @property {number} launches of kernels so far
 * @property {number} calls that started launches; a training step is one
 * @property {number} live bytes in tensors on the GPU
 * @property {number} pooled bytes of the GPU that wait to be used again
 * @property {number} python bytes of Python's own memory
 */

/**
 * @typedef {object} Device what device "gl" is
 * @property {string} renderer its name; "" if there is none
 * @property {boolean} software whether it draws with the CPU
 * @property {Record<string, number>} limits
 * @property {string} reason why it is the accelerator or not
 * @property {string} default where new tensors are made
 */

export class TensorGL {
  /**
   * Start Python.
   *
   * @param {object} [options]
   * @param {string | URL} [options.site] where the built site's files are; beside this file
   * @param {(stage: string, ms: number) => void} [options.onProgress] a stage of the start is over
   * @param {Record<string, string>} [options.env] environment variables for Python
   * @param {object} [options.files] folders of a server that appear in the tab, for files.js
   * @param {object} [options.terminal] which of stdin, stdout, stderr Python takes for a terminal
   * @param {string} [options.tuning] what `onTuned` got, perhaps on an earlier visit
   * @returns {Promise<TensorGL>}
   */
  static async start({
    site = new URL(".", import.meta.url),
    onProgress,
    env = {},
    files,
    terminal,
    tuning,
  } = {}) {
    const tg = new TensorGL(new URL("worker.js", site));
    await tg.request(
      {
        type: "start",
        site: String(site),
        interrupt: tg.interruptBuffer?.buffer,
        stdin: tg.stdin,
        taken: tg.taken?.buffer,
        env,
        files,
        terminal,
        tuning,
      },
      "ready",
      { progress: ({ stage, ms }) => onProgress?.(stage, ms) },
    );
    return tg;
  }

  /** @param {URL} script */
  constructor(script) {
    const shared = globalThis.crossOriginIsolated;
    this.interruptBuffer = shared ? new Uint8Array(new SharedArrayBuffer(1)) : null;
    this.stdin = shared ? new SharedArrayBuffer(STDIN_BYTES) : null;
    this.taken = shared ? new Int32Array(new SharedArrayBuffer(4)) : null;
    /** @type {Promise<string | Uint8Array | null> | null} input that the script has not taken yet */
    this.unread = null;
    this.asking = false;
    this.worker = new Worker(script, { type: "module" });
    /** @type {Record<string, (message: any) => void>} */
    this.handlers = {};
    this.worker.onmessage = ({ data }) => this.handlers[data.type]?.(data);
    this.worker.onerror = (event) => {
      const where = event.filename ? ` (${event.filename}:${event.lineno})` : "";
      this.handlers.failed?.({ message: `${event.message ?? "the worker could not start"}${where}` });
    };
  }

  /** Send a message; resolves with the one that ends what it asked for. */
  request(message, end, handlers) {
    return new Promise((resolve, reject) => {
      this.handlers = {
        ...handlers,
        [end]: resolve,
        failed: ({ message: why }) => reject(new Error(why)),
      };
      this.worker.postMessage(message);
    });
  }

  /**
   * Run Python source, or a file of the tab's file system.
   *
   * @param {string | null} source the script's text; null runs the file that is already there
   * @param {{path?: string, args?: string[], asTorch?: boolean,
   *   data?: Record<string, string | Uint8Array>} & Handlers} [options]
   * @returns {Promise<{code: number}>} the script's exit code
   */
  async run(
    source,
    { path = "/home/pyodide/script.py", args = [], asTorch = false, data = {}, ...on } = {},
  ) {
    const decoders = { stdout: new TextDecoder(), stderr: new TextDecoder() };
    this.interruptBuffer?.fill(0); // what was meant for the script before
    this.unread = null;
    const asking = on.onStats && setInterval(() => this.signal(STATS), STATS_MS);
    try {
      const pictures = Boolean(on.onImage);
      const message = { type: "run", source, path, args, asTorch, pictures, data };
      const { code } = await this.request(message, "exit", {
        output: async ({ stream, bytes }) => {
          on.onOutput?.(decoders[stream].decode(bytes, { stream: true }), stream);
          await on.onBytes?.(bytes, stream);
          if (this.taken) {
            Atomics.add(this.taken, 0, 1);
            Atomics.notify(this.taken, 0);
          }
        },
        image: (image) => on.onImage?.(image),
        progress: ({ stage, ms }) => on.onProgress?.(stage, ms),
        stats: (stats) => on.onStats?.(stats),
        trying: ({ text }) => on.onTrying?.(text),
        tuned: ({ text }) => on.onTuned?.(text),
        input: ({ room }) => this.answer(room, on.onInput),
      });
      return { code };
    } finally {
      clearInterval(asking);
    }
  }

  /**
   * Find the fastest kernels for this browser's GPU, which device "gl" uses from then on, and print a
   * table of them. `interrupt` ends it. It goes on where it was the next time, in another Python too if
   * that is started with what `onTuned` got.
   *
   * @param {{seconds: number, cases: string[]} & Handlers} options after how long it ends; benchmark cases,
   *   whose kernels are tuned, by name or pattern
   * @returns {Promise<{code: number}>} 130 if it was interrupted
   */
  tune({ seconds, cases, ...on }) {
    return this.run(TUNE, { path: "/tmp/tune.py", args: [String(seconds), ...cases], ...on });
  }

  /** What device "gl" is in this browser. @returns {Promise<Device>} */
  async describe() {
    return (await this.request({ type: "describe" }, "device", {})).device;
  }

  /** Put a signal where Python looks between its steps, if no other waits there. */
  signal(number) {
    if (this.interruptBuffer) {
      Atomics.compareExchange(this.interruptBuffer, 0, 0, number);
    }
  }

  /** Give the script that waits input: what was left over, or a new line, which is asked for once. */
  async answer(room, onInput) {
    this.room = room;
    if (this.asking) {
      return; // since before an interrupt; whoever waits when it comes gets it
    }
    this.unread ??= Promise.resolve(onInput?.(room));
    this.asking = true;
    let given;
    try {
      given = (await this.unread) ?? "";
    } finally {
      this.asking = false;
    }
    const shared = /** @type {SharedArrayBuffer} */ (this.stdin);
    const state = new Int32Array(shared, 0, 1);
    if (Atomics.load(state, 0) !== 0) {
      return; // it was interrupted; what came since is for whoever asks next
    }
    given = typeof given === "string" ? new TextEncoder().encode(given) : given;
    const bytes = given.subarray(0, this.room);
    this.unread = bytes.length < given.length ? Promise.resolve(given.subarray(bytes.length)) : null;
    new Uint8Array(shared, 8).set(bytes);
    Atomics.store(state, 0, 1 + bytes.length);
    Atomics.notify(state, 0);
  }

  /** Raise KeyboardInterrupt in the script that runs. */
  interrupt() {
    if (!this.interruptBuffer) {
      throw new Error("interrupt needs shared memory: serve the page with COOP and COEP headers");
    }
    Atomics.store(this.interruptBuffer, 0, INTERRUPT);
    const state = new Int32Array(/** @type {SharedArrayBuffer} */ (this.stdin), 0, 1);
    Atomics.compareExchange(state, 0, 0, WOKEN); // a script that waits for input sees it now
    Atomics.notify(state, 0);
  }

  /** End Python; the worker and its GPU memory are gone. */
  stop() {
    this.worker.terminate();
    this.handlers.failed?.({ message: "stopped" });
  }
}
