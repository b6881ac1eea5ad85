// @ts-check
// The worker that holds a member's socket to its hub, so that frames come and go and heartbeats are sent
// while Python computes. transport_browser.py starts it, and has one connection at a time:
//
//   to the worker     {type: "start"}   once; answered by {type: "started"}. Until then, some browsers keep
//                     messages back while the sender is at work
//                     {type: "open", url, heartbeat, every, shared, port}   seconds; shared memory or a port
//                     {type: "send", frame}
//                     {type: "next"}    Python has taken what it was given
//                     {type: "close"}
//
// Python is told of nothing but what it asks for: "open" and each "next" get one answer, as soon as there
// is something. It is a number and bytes. 1 + their count: frames, each behind its length as 4 bytes, or
// none when the connection stands; -(1 + their count): it is lost, and they are the reason in UTF-8.
// In shared memory the number is the first int, 0 until then, the bytes begin with byte 8, and the
// second int is 1 as soon as the connection is lost. To a port they are posted as [number, bytes].

const MOST_WAITING = 256 << 20; // bytes that Python has not taken; beyond, it had better begin anew
const BATCH = 4 << 20; // of an answer; the largest frame has a little more than 1 MiB

/** Where an answer goes in shared memory. @param {SharedArrayBuffer} shared */
function mailbox(shared) {
  const state = new Int32Array(shared, 0, 2);
  const room = new Uint8Array(shared, 8);
  return {
    batch: room.length,
    give(number, bytes) {
      room.set(bytes);
      Atomics.store(state, 0, number);
      Atomics.notify(state, 0);
    },
    lost: () => Atomics.store(state, 1, 1),
  };
}

/** Where it goes else. @param {MessagePort} port */
function post(port) {
  return {
    batch: BATCH,
    give: (number, bytes) => port.postMessage([number, bytes], [bytes.buffer]),
    lost() {},
  };
}

/** One connection, from its opening to its end. */
class Connection {
  constructor({ url, heartbeat, every, shared, port }) {
    this.answers = shared ? mailbox(shared) : post(port);
    this.heartbeat = heartbeat;
    this.every = every;
    this.asked = true; // by "open"
    /** @type {ArrayBuffer[]} */
    this.waiting = []; // what came, and Python has not got
    this.bytes = 0; // of them
    /** @type {string | null} */
    this.reason = null; // why it is lost
    try {
      this.socket = new WebSocket(url);
    } catch (error) {
      this.end(error.name);
      return;
    }
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => {
      this.answer(1, new Uint8Array(0));
      this.beat();
    };
    this.socket.onmessage = ({ data }) => this.take(data);
    // Where the page's policy forbids it, there is no onclose after this in Chromium.
    this.socket.onerror = () => setTimeout(() => this.end("blocked"));
    this.socket.onclose = ({ code, reason }) => this.end(reason || `code ${code}`);
  }

  /** Send a heartbeat when nothing else was sent for a while. */
  beat() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.send(this.heartbeat), 1000 * this.every);
  }

  send(frame) {
    if (this.reason === null) {
      this.socket?.send(frame);
      this.beat();
    }
  }

  take(frame) {
    if (this.reason !== null) {
      return; // what still comes while it is being closed
    }
    if (!(frame instanceof ArrayBuffer) || frame.byteLength + 4 > this.answers.batch) {
      this.close("the hub sent what is no frame");
      return;
    }
    this.waiting.push(frame);
    this.bytes += frame.byteLength;
    if (this.bytes > MOST_WAITING) {
      this.close(`${this.bytes} bytes came that the script did not take`);
    }
    this.next();
  }

  /** Answer, if that is asked for and there is something. */
  next() {
    if (!this.asked) {
      return;
    }
    if (this.waiting.length) {
      const frames = this.batch();
      this.answer(1 + frames.length, frames);
    } else if (this.reason !== null) {
      const reason = new TextEncoder().encode(this.reason);
      this.answer(-1 - reason.length, reason);
    }
  }

  answer(number, bytes) {
    this.asked = false;
    this.answers.give(number, bytes);
  }

  /** As many of the waiting frames as an answer has room for. */
  batch() {
    let size = 0;
    let count = 0;
    for (const frame of this.waiting) {
      if (size + 4 + frame.byteLength > this.answers.batch) {
        break;
      }
      size += 4 + frame.byteLength;
      count += 1;
    }
    const bytes = new Uint8Array(size);
    const view = new DataView(bytes.buffer);
    let at = 0;
    for (const frame of this.waiting.splice(0, count)) {
      view.setUint32(at, frame.byteLength, true);
      bytes.set(new Uint8Array(frame), at + 4);
      at += 4 + frame.byteLength;
      this.bytes -= frame.byteLength;
    }
    return bytes;
  }

  close(reason) {
    this.end(reason);
    this.socket?.close(); // what was sent still goes out
  }

  /** It is lost; Python gets all that came before it hears of that. */
  end(reason) {
    clearTimeout(this.timer);
    this.reason ??= reason;
    this.answers.lost();
    this.next();
  }
}

/** @type {Connection | null} */
let connection = null;

const told = {
  start: () => self.postMessage({ type: "started" }),
  open(message) {
    connection?.close("replaced");
    connection = new Connection(message);
  },
  send: ({ frame }) => connection?.send(frame),
  next() {
    if (connection) {
      connection.asked = true;
      connection.next();
    }
  },
  close() {
    connection?.close("closed");
    connection = null;
  },
};

self.onmessage = ({ data }) => told[data.type](data);
