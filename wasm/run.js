// @ts-check
// The page of `tensorgl run --browser`: runs one script, and hands what goes in and out to run.py.
//
//   from run.py   {type: "start", path, args, asTorch, env, terminal, files}
//                 {type: "ping"}, {type: "interrupt"}, bytes: input for the script, none at its end
//   to run.py     {type: "pong"}, {type: "progress"}, {type: "ready"}, {type: "input", room}
//                 bytes: output, the first says where to: 1 stdout, 2 stderr
//                 {type: "exit", code}, {type: "failed", message}
import { TensorGL } from "./tensorgl.js";

const INTERRUPT = 2; // the signal that tensorgl.js puts where Python looks
const WAITING_BYTES = 1 << 20; // of output, beyond which the script waits

const base = new URL(`${location.hash.slice(1)}/`, location.href);
const socket = new WebSocket(new URL("socket", base).href.replace("http", "ws"));
socket.binaryType = "arraybuffer";

const say = (message) => socket.send(JSON.stringify(message));
/** @type {TensorGL} */
let tg;
/** @type {(bytes: Uint8Array) => void} */
let giveInput;

async function output(bytes, stream) {
  const message = new Uint8Array(1 + bytes.length);
  message[0] = stream === "stdout" ? 1 : 2;
  message.set(bytes, 1);
  socket.send(message);
  while (socket.bufferedAmount > WAITING_BYTES && socket.readyState === WebSocket.OPEN) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function input(room) {
  say({ type: "input", room });
  return new Promise((resolve) => {
    giveInput = resolve;
  });
}

async function start({ path, args, asTorch, env, terminal, files }) {
  try {
    tg = await TensorGL.start({
      env,
      terminal,
      files: { ...files, url: new URL("files/", base).href },
      onProgress: () => say({ type: "progress" }),
    });
    say({ type: "ready" });
    const on = { onBytes: output, onInput: input };
    const { code } = await tg.run(null, { path, args, asTorch, ...on });
    say({ type: "exit", code });
  } catch (error) {
    say({ type: "failed", message: error.message });
  }
}

socket.onmessage = ({ data }) => {
  if (typeof data !== "string") {
    giveInput(new Uint8Array(data));
    return;
  }
  const message = JSON.parse(data);
  if (message.type === "start") {
    start(message);
  } else if (message.type === "ping") {
    say({ type: "pong" });
  } else if (message.type === "interrupt") {
    if (tg.interruptBuffer?.[0] === INTERRUPT) {
      say({ type: "exit", code: 130 }); // Python did not see the one before
    } else {
      tg.interrupt();
    }
  }
};
