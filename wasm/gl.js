// @ts-check
// The webgl device: kernels as one triangle, lists of launches run in one call. Its memory is gl_memory.js's.
//
// A script whose value is a function from that class to the whole one. Numbers that come from Python as
// addresses are places in the WebAssembly memory of `runtime`, which are read before the call returns.
((WebGLMemory) => {
  "use strict";

  const KERNEL_WORDS = 11; // of a kernel's entry before its slots; see backends/glsl/device.py
  const COPY_WORDS = 6;
  const RING_BYTES = 1 << 20; // numbers are written on and on, so that the driver need not wait
  const IN_FLIGHT = 3; // fences that may be under way at once
  const FENCED = 8; // launches for a fence; one of many texels counts for several
  const TEXELS = 1 << 15; // that count as much as a launch

  class WebGLDevice extends WebGLMemory {
    /** @param {any} runtime Pyodide's module, which has the views of its memory */
    constructor(runtime) {
      super();
      this.runtime = runtime;
      this.programs = [];
    }

    /** A new context; it knows no memory and no program yet. */
    open() {
      super.open();
      this.unfenced = 0; // launches since the last fence
      this.ring = null;
      this.allocateRing(RING_BYTES);
    }

    /** After a loss: a new context with every program, and every memory with anything in it. */
    again() {
      super.again();
      for (const program of this.programs) {
        Object.assign(program, this.link(program.source), { ready: false });
      }
    }

    /** Begin to compile; what came of it is asked when the program is first used, so that those of a
     * plan compile side by side. */
    compile(source, inputs) {
      this.counts.programs++;
      const entry = { ...this.link(source), inputs, source, bytes: 0, ready: false };
      return this.programs.push(entry) - 1;
    }

    /** The first use of a program: has it compiled? Where do its inputs and numbers go? */
    prepare(entry) {
      const gl = this.gl;
      const { program, fragment, inputs, source } = entry;
      if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
        if (this.lost()) {
          throw this.gone();
        }
        const log = gl.getShaderInfoLog(fragment) || gl.getProgramInfoLog(program);
        throw Object.assign(new Error(`${log}\0${source}`), { name: "ShaderError" });
      }
      gl.deleteShader(fragment);
      gl.useProgram(program);
      for (let k = 0; k < inputs; k++) {
        const place = gl.getUniformLocation(program, `in${k}`);
        if (place !== null) {
          gl.uniform1i(place, k);
        }
      }
      const block = gl.getUniformBlockIndex(program, "Numbers");
      if (block !== gl.INVALID_INDEX) {
        gl.uniformBlockBinding(program, block, 0);
        entry.bytes = gl.getActiveUniformBlockParameter(
          program, block, gl.UNIFORM_BLOCK_DATA_SIZE,
        );
      }
      entry.ready = true;
    }

    // -- launches ------------------------------------------------------------------------------------

    /** Run a list of launches: `count` ints at `list`, slots and numbers at their addresses. */
    run(list, count, slots, numbers, bytes) {
      this.check();
      this.counts.calls++;
      const begin = bytes ? this.upload(numbers, bytes) : 0;
      const heap = this.runtime.HEAP32;
      slots >>= 2;
      const end = (list >> 2) + count;
      for (let at = list >> 2; at < end; ) {
        at = this.launch(heap, at, slots, begin);
      }
      this.throttle();
    }

    /** As `run`, and wait for each launch: milliseconds of each kernel, with the copies after it. */
    timed(list, count, slots, numbers, bytes) {
      this.check();
      this.counts.calls++;
      const begin = bytes ? this.upload(numbers, bytes) : 0;
      const heap = this.runtime.HEAP32;
      slots >>= 2;
      const end = (list >> 2) + count;
      const times = [];
      this.finish();
      for (let at = list >> 2; at < end; ) {
        const before = performance.now();
        do {
          at = this.launch(heap, at, slots, begin);
        } while (at < end && heap[at] !== 0);
        this.finish();
        times.push(performance.now() - before);
      }
      return times;
    }

    /** Start the launch at a place of the heap; the place of the next. */
    launch(heap, at, slots, begin) {
      const gl = this.gl;
      if (heap[at] !== 0) {
        this.copy(heap, at, slots);
        return at + COPY_WORDS;
      }
      const entry = this.programs[heap[at + 1]];
      const grid = heap[at + 3];
      const start = heap[at + 4];
      const outputs = heap[at + 9];
      const inputs = heap[at + 10];
      const first = at + KERNEL_WORDS;
      const reads = first + outputs;
      if (!entry.ready) {
        this.prepare(entry);
        this.program = entry.program;
      } else if (this.program !== entry.program) {
        gl.useProgram(entry.program);
        this.program = entry.program;
      }
      for (let k = 0; k < inputs; k++) {
        const texture = this.memories.get(heap[slots + heap[reads + k]]).texture;
        if (this.bound[k] !== texture) {
          this.bind(k, texture);
        }
      }
      const memory = this.memories.get(heap[slots + heap[first]]);
      if (outputs === 1) {
        if (this.framebuffer === null || this.framebuffer !== memory.single) {
          this.use([heap[slots + heap[first]]]);
        }
      } else {
        const targets = [];
        for (let k = 0; k < outputs; k++) {
          targets.push(heap[slots + heap[first + k]]);
        }
        this.use(targets);
      }
      const row = Math.floor(start / memory.width);
      gl.viewport(0, row, memory.width, Math.ceil((start + grid) / memory.width) - row);
      if (entry.bytes) {
        gl.bindBufferRange(gl.UNIFORM_BUFFER, 0, this.ring, begin + heap[at + 2], entry.bytes);
      }
      gl.drawArrays(gl.TRIANGLES, 0, 3);
      this.counts.launches++;
      this.unfenced += 1 + grid / TEXELS;
      return reads + inputs;
    }

    /** Copy a plane of the framebuffer that was just drawn to, as whole rows. */
    copy(heap, at, slots) {
      const gl = this.gl;
      const source = heap[slots + heap[at + 1]];
      const { texture, width } = this.memories.get(heap[slots + heap[at + 3]]);
      const start = heap[at + 4];
      const rows = Math.ceil(heap[at + 5] / width);
      const unit = this.units - 1;
      this.bind(unit, texture);
      gl.readBuffer(gl.COLOR_ATTACHMENT0 + this.targets.indexOf(source));
      gl.copyTexSubImage2D(gl.TEXTURE_2D, 0, 0, start / width, 0, 0, width, rows);
    }

    // -- numbers and waiting -------------------------------------------------------------------------

    allocateRing(bytes) {
      const gl = this.gl;
      if (this.ring) {
        gl.deleteBuffer(this.ring);
      }
      this.ring = gl.createBuffer();
      this.ringBytes = bytes;
      this.ringPlace = 0;
      gl.bindBuffer(gl.UNIFORM_BUFFER, this.ring);
      gl.bufferData(gl.UNIFORM_BUFFER, bytes, gl.DYNAMIC_DRAW);
    }

    /** Put numbers into the ring; where they begin. */
    upload(address, bytes) {
      const gl = this.gl;
      if (4 * bytes > this.ringBytes) {
        this.allocateRing(8 * bytes);
      }
      let begin = Math.ceil(this.ringPlace / 256) * 256;
      if (begin + bytes > this.ringBytes) {
        begin = 0;
      }
      gl.bindBuffer(gl.UNIFORM_BUFFER, this.ring);
      gl.bufferSubData(gl.UNIFORM_BUFFER, begin, this.runtime.HEAPU8, address, bytes);
      this.ringPlace = begin + bytes;
      return begin;
    }

    /** Let no more than a few steps be under way: a queue that grows without bound makes a page hang. */
    throttle() {
      const gl = this.gl;
      if (this.unfenced < FENCED) {
        return;
      }
      this.unfenced = 0;
      this.fences.push(gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0));
      if (this.fences.length <= IN_FLIGHT) {
        return;
      }
      const oldest = this.fences.shift();
      // Where Python never pauses, a fence never tells that it was reached.
      if (gl.clientWaitSync(oldest, 0, 0) === gl.TIMEOUT_EXPIRED) {
        this.finish();
      }
      gl.deleteSync(oldest);
    }

    finish() {
      this.counts.waits++;
      // A reading, as browsers do not let pages wait with gl.finish().
      if (this.lost()) {
        throw this.gone();
      }
      this.drop();
    }

    drop() {
      super.drop();
      this.unfenced = 0;
    }
  }

  return WebGLDevice;
});
