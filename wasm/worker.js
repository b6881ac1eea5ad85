// @ts-check
// The worker in which Python runs. tensorgl.js starts it and speaks to it in messages:
//
//   to the worker     {type: "start", site, interrupt, stdin, taken, env, files, terminal, tuning}
//                     once; tuning: what "tuned" told on an earlier visit
//                     {type: "run", source, path, args, asTorch, pictures, data}; source: null for a
//                     file that exists; pictures: post images; data: more files, put beside it
//                     {type: "describe"}
//   from the worker   {type: "progress", stage, ms}     a stage of starting up is over
//                     {type: "ready"}, {type: "failed", message}
//                     {type: "output", stream, bytes}   stream: "stdout" or "stderr"
//                     {type: "input", room}             Python waits for so many bytes of standard input
//                     {type: "exit", code}
//                     {type: "device", device}          the answer to "describe"
//                     {type: "image", png, title}       what the script shows; runtime.py posts it
//                     {type: "stats", …}                runtime.py, when a signal in `interrupt` asks
//                     {type: "trying", text}            what the tuner does; {type: "tuned", text}: all
//                     that it has found for this browser's devices. runtime.py posts both
import { loadPyodide } from "./pyodide/pyodide.mjs";

/** @type {any} */
let pyodide;
/** @type {any} */
let runtime;
let save = () => {}; // sends back what the folders of a server have not got

const post = (message, transfer = []) => self.postMessage(message, { transfer });

const INTERRUPT = 2; // as Python numbers it
const WOKEN = -1; // as in tensorgl.js
const AHEAD = 256; // pieces of output that the page need not have taken yet

/** A script that prints without end waits for the page, as it would for a terminal. */
function flow(shared) {
  const taken = new Int32Array(shared);
  let sent = 0;
  return () => {
    sent = (sent + 1) | 0;
    for (let seen; ((sent - (seen = Atomics.load(taken, 0))) | 0) > AHEAD; ) {
      Atomics.wait(taken, 0, seen);
    }
  };
}

/** What Python writes, line by line or when it flushes. */
function writer(stream, wait) {
  return {
    write(bytes) {
      wait?.();
      const copy = bytes.slice();
      post({ type: "output", stream, bytes: copy }, [copy.buffer]);
      return bytes.length;
    },
  };
}

/** Standard input: Python asks, and waits until the page has put bytes into the shared memory.
 *
 * Its first int is 0 while Python waits, then 1 + the count of bytes that lie from byte 8 on, where a
 * count of 0 is the end of the input; or WOKEN, by an interrupt. If that was for what Python did before,
 * it asks again.
 */
function reader(shared, interrupt) {
  const state = new Int32Array(shared, 0, 1);
  const signals = new Uint8Array(interrupt);
  return {
    read(buffer) {
      for (;;) {
        Atomics.store(state, 0, 0);
        if (Atomics.load(signals, 0) === INTERRUPT) {
          Atomics.store(state, 0, WOKEN); // it came before anybody could see that Python waits
        } else {
          post({ type: "input", room: Math.min(buffer.length, shared.byteLength - 8) });
          Atomics.wait(state, 0, 0);
        }
        pyodide.checkInterrupt();
        const told = Atomics.load(state, 0);
        if (told !== WOKEN) {
          buffer.set(new Uint8Array(shared, 8, told - 1));
          return told - 1;
        }
      }
    },
  };
}

/** Unpack a tar file: headers of 512 bytes, each before a file that is padded to a multiple of it. */
function unpack(tar, folder) {
  const made = new Set();
  const decoder = new TextDecoder();
  const field = (at, length) => decoder.decode(tar.subarray(at, at + length)).split("\0")[0];
  for (let at = 0; tar[at]; ) {
    const path = `${folder}/${field(at, 100)}`;
    const size = parseInt(field(at + 124, 12), 8);
    const parent = path.slice(0, path.lastIndexOf("/"));
    if (!made.has(parent)) {
      pyodide.FS.mkdirTree(parent);
      made.add(parent);
    }
    pyodide.FS.writeFile(path, tar.subarray(at + 512, at + 512 + size), { canOwn: true });
    at += 512 + Math.ceil(size / 512) * 512;
  }
  pyodide.pyimport("importlib").invalidate_caches();
}

async function start({ site, interrupt, stdin, taken, env, files, terminal = {}, tuning }) {
  let before = performance.now();
  const done = (stage) => {
    const now = performance.now();
    post({ type: "progress", stage, ms: now - before });
    before = now;
  };
  const manifest = await (await fetch(new URL("site.json", site))).json();
  const bundle = fetch(new URL(manifest.bundle, site)).then((answer) => {
    const inflated = answer.body.pipeThrough(new DecompressionStream("gzip"));
    return new Response(inflated).arrayBuffer();
  });
  pyodide = await loadPyodide({
    indexURL: new URL("pyodide/", site).href,
    packageBaseUrl: new URL("pyodide/", site).href,
    packages: ["numpy"],
    env: { HOME: "/home/pyodide", PYTHONUNBUFFERED: "1", ...env },
  });
  // Python cannot go on after this, and the call that led to it never returns.
  pyodide._api.on_fatal = (error) => post({ type: "failed", message: `Python died: ${error}` });
  done("pyodide");
  pyodide.runPython("import numpy");
  done("numpy");
  unpack(new Uint8Array(await bundle), `/lib/python${manifest.python}/site-packages`);
  const wait = taken && flow(taken);
  pyodide.setStdout({ ...writer("stdout", wait), isatty: terminal.stdout });
  pyodide.setStderr({ ...writer("stderr", wait), isatty: terminal.stderr });
  if (stdin) {
    pyodide.setStdin({ ...reader(stdin, interrupt), isatty: terminal.stdin });
  }
  if (interrupt) {
    pyodide.setInterruptBuffer(new Uint8Array(interrupt));
  }
  // before the current folder is the script's, where modules of these names may lie
  runtime = pyodide.pyimport("tensorgl.wasm.runtime");
  if (tuning) {
    runtime.use_tuning(tuning);
  }
  if (files) {
    const { mount } = await import("./files.js");
    save = mount(pyodide, files);
  }
  done("tensorgl");
  post({ type: "ready" });
}

async function run({ source, path, args, asTorch, pictures, data }) {
  const folder = path.slice(0, path.lastIndexOf("/") + 1);
  for (const [name, content] of Object.entries(data)) {
    pyodide.FS.writeFile(folder + name, content);
  }
  if (source !== null) {
    pyodide.FS.writeFile(path, source);
  }
  const code = await runtime.run(path, args, asTorch, pictures);
  save();
  post({ type: "exit", code });
}

async function describe() {
  const found = runtime.describe();
  post({ type: "device", device: JSON.parse(found) });
}

self.onmessage = async ({ data }) => {
  try {
    await { start, run, describe }[data.type](data);
  } catch (error) {
    post({ type: "failed", message: String(error?.message ?? error) });
  }
};
