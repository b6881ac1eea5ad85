// @ts-check
// The worker in which Python runs. tensorgl.js starts it and speaks to it in messages:
//
//   to the worker     {type: "start", site, interrupt, stdin, env, files}   once
//                     {type: "run", source, path, args, asTorch}; source: null for a file that exists
//   from the worker   {type: "progress", stage, ms}     a stage of starting up is over
//                     {type: "ready"}, {type: "failed", message}
//                     {type: "output", stream, bytes}   stream: "stdout" or "stderr"
//                     {type: "input"}                   Python waits for a line of standard input
//                     {type: "exit", code}
//                     anything that tensorgl/wasm/runtime.py posts: {type: "image", …}
import { loadPyodide } from "./pyodide/pyodide.mjs";

/** @type {any} */
let pyodide;
/** @type {any} */
let runtime;

const post = (message, transfer = []) => self.postMessage(message, { transfer });

/** What Python writes, line by line or when it flushes. */
function writer(stream) {
  return {
    write(bytes) {
      const copy = bytes.slice();
      post({ type: "output", stream, bytes: copy }, [copy.buffer]);
      return bytes.length;
    },
  };
}

/** Standard input: Python asks, and waits until the page has put bytes into the shared memory.
 *
 * Its first int is 0 while Python waits, then 1 + the count of bytes that lie from byte 8 on; a count
 * of 0 is the end of the input.
 */
function reader(shared) {
  const state = new Int32Array(shared, 0, 1);
  return {
    read(buffer) {
      Atomics.store(state, 0, 0);
      post({ type: "input", room: Math.min(buffer.length, shared.byteLength - 8) });
      Atomics.wait(state, 0, 0);
      const count = Atomics.load(state, 0) - 1;
      buffer.set(new Uint8Array(shared, 8, count));
      return count;
    },
  };
}

async function start({ site, interrupt, stdin, env, files }) {
  let before = performance.now();
  const done = (stage) => {
    const now = performance.now();
    post({ type: "progress", stage, ms: now - before });
    before = now;
  };
  const manifest = await (await fetch(new URL("site.json", site))).json();
  const bundle = fetch(new URL(manifest.bundle, site)).then((answer) => answer.arrayBuffer());
  pyodide = await loadPyodide({
    indexURL: new URL("pyodide/", site).href,
    packageBaseUrl: new URL("pyodide/", site).href,
    packages: ["numpy"],
    env: { HOME: "/home/pyodide", PYTHONUNBUFFERED: "1", ...env },
  });
  done("pyodide");
  pyodide.runPython("import numpy");
  done("numpy");
  const folder = `/lib/python${manifest.python}/site-packages`;
  pyodide.unpackArchive(await bundle, "zip", { extractDir: folder });
  pyodide.setStdout(writer("stdout"));
  pyodide.setStderr(writer("stderr"));
  if (stdin) {
    pyodide.setStdin({ ...reader(stdin), isatty: false });
  }
  if (interrupt) {
    pyodide.setInterruptBuffer(new Uint8Array(interrupt));
  }
  if (files) {
    const { mount } = await import("./files.js");
    mount(pyodide, files);
  }
  runtime = pyodide.pyimport("tensorgl.wasm.runtime");
  done("tensorgl");
  post({ type: "ready" });
}

async function run({ source, path, args, asTorch }) {
  if (source !== null) {
    pyodide.FS.writeFile(path, source);
  }
  const code = await runtime.run(path, args, asTorch);
  post({ type: "exit", code });
}

self.onmessage = async ({ data }) => {
  try {
    await { start, run }[data.type](data);
  } catch (error) {
    post({ type: "failed", message: String(error?.message ?? error) });
  }
};
