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
// one. `interrupt` and standard input need shared memory, which a page has that is served with
// Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp.

const STDIN_BYTES = 1 << 16;

/**
 * @typedef {object} Handlers
 * @property {(text: string, stream: "stdout" | "stderr") => void} [onOutput] what the script prints
 * @property {(image: {png: Uint8Array, title: string}) => void} [onImage] what the script shows
 * @property {() => Promise<string | null>} [onInput] a line for the script, null at the end
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
   * @returns {Promise<TensorGL>}
   */
  static async start({ site = new URL(".", import.meta.url), onProgress, env = {}, files } = {}) {
    const tg = new TensorGL(new URL("worker.js", site));
    await tg.request(
      {
        type: "start",
        site: String(site),
        interrupt: tg.interruptBuffer?.buffer,
        stdin: tg.stdin,
        env,
        files,
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
   * @param {{path?: string, args?: string[], asTorch?: boolean} & Handlers} [options]
   * @returns {Promise<{code: number}>} the script's exit code
   */
  async run(source, { path = "/home/pyodide/script.py", args = [], asTorch = false, ...on } = {}) {
    const decoders = { stdout: new TextDecoder(), stderr: new TextDecoder() };
    const { code } = await this.request({ type: "run", source, path, args, asTorch }, "exit", {
      output: ({ stream, bytes }) =>
        on.onOutput?.(decoders[stream].decode(bytes, { stream: true }), stream),
      image: (image) => on.onImage?.(image),
      input: async ({ room }) => this.answer((await on.onInput?.()) ?? null, room),
    });
    return { code };
  }

  /** Give the script that waits a line of input. */
  answer(line, room) {
    const bytes = new TextEncoder().encode(line ?? "").subarray(0, room);
    const shared = /** @type {SharedArrayBuffer} */ (this.stdin);
    new Uint8Array(shared, 8).set(bytes);
    const state = new Int32Array(shared, 0, 1);
    Atomics.store(state, 0, 1 + bytes.length);
    Atomics.notify(state, 0);
  }

  /** Raise KeyboardInterrupt in the script that runs. */
  interrupt() {
    if (!this.interruptBuffer) {
      throw new Error("interrupt needs shared memory: serve the page with COOP and COEP headers");
    }
    this.interruptBuffer[0] = 2;
  }

  /** End Python; the worker and its GPU memory are gone. */
  stop() {
    this.worker.terminate();
    this.handlers.failed?.({ message: "stopped" });
  }
}
