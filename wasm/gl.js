// @ts-check
// The webgl device: memory as textures, kernels as one triangle, lists of launches run in one call.
//
// A script, not a module, as Python evaluates it wherever it runs: in a worker, on a page, in anybody's
// Pyodide. Its value is the class. Numbers that come from Python as addresses are places in the
// WebAssembly memory of `runtime`, which are read before the call returns.
(() => {
  "use strict";

  const KERNEL_WORDS = 11; // of a kernel's entry before its slots; see backends/glsl/device.py
  const COPY_WORDS = 6;
  const RING_BYTES = 1 << 20; // numbers are written on and on, so that the driver need not wait
  const IN_FLIGHT = 3; // lists of launches that may be under way at once

  const VERTEX = `#version 300 es
void main() { gl_Position = vec4(ivec2(gl_VertexID & 1, gl_VertexID >> 1) * 4 - 1, 0.0, 1.0); }
`;

  const NOTHING = `#version 300 es
void main() {}
`;

  const MARKS = [0x7fa1b2c3, 0x7fa3c2b1]; // what no reading leaves in its last element

  /** The error that tells Python that the context, and all that it held, is gone. */
  const lost = () => Object.assign(new Error("the context was lost"), { name: "ContextLost" });

  class WebGLDevice {
    /** @param {any} runtime Pyodide's module, which has the views of its memory */
    constructor(runtime) {
      this.runtime = runtime;
      /** Counts of what costs time; `calls` are those that Python made to run launches. */
      this.counts = { calls: 0, launches: 0, textures: 0, framebuffers: 0, programs: 0, waits: 0 };
      this.memories = new Map(); // number -> { texture, kind, width, height, single, keys }
      this.programs = [];
      this.next = 1;
      this.open();
    }

    /** A new context; it knows no memory and no program yet. */
    open() {
      const canvas =
        typeof OffscreenCanvas === "undefined"
          ? Object.assign(document.createElement("canvas"), { width: 1, height: 1 })
          : new OffscreenCanvas(1, 1);
      const gl = /** @type {WebGL2RenderingContext | null} */ (
        canvas.getContext("webgl2", {
          alpha: false,
          antialias: false,
          depth: false,
          powerPreference: "high-performance",
          preserveDrawingBuffer: false,
        })
      );
      if (!gl) {
        throw new Error("this browser gives no WebGL2 context");
      }
      this.gl = gl;
      this.float32 = gl.getExtension("EXT_color_buffer_float") !== null;
      this.float16 = this.float32 || gl.getExtension("EXT_color_buffer_half_float") !== null;
      gl.getExtension("KHR_parallel_shader_compile");
      this.formats = {
        f32: [gl.RGBA32F, gl.RGBA, gl.FLOAT, Float32Array, 16],
        f16: [gl.RGBA16F, gl.RGBA, gl.HALF_FLOAT, Uint16Array, 8],
        i32: [gl.RGBA32I, gl.RGBA_INTEGER, gl.INT, Int32Array, 16],
        u8: [gl.RGBA8UI, gl.RGBA_INTEGER, gl.UNSIGNED_BYTE, Uint8Array, 4],
      };
      this.framebuffers = new Map(); // "a,b" -> framebuffer of several outputs
      this.fences = [];
      this.complaint = gl.NO_ERROR; // the first error that nobody asked for yet
      this.vertex = this.shader(gl.VERTEX_SHADER, VERTEX);
      this.nothing = this.link(NOTHING).program;
      this.units = gl.getParameter(gl.MAX_TEXTURE_IMAGE_UNITS);
      this.bound = new Array(this.units).fill(null);
      this.program = null;
      this.framebuffer = null;
      this.ring = null;
      this.allocateRing(RING_BYTES);
      gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
      gl.pixelStorei(gl.PACK_ALIGNMENT, 1);
      gl.disable(gl.DITHER);
    }

    /** What the context reports of itself. */
    limits() {
      const gl = this.gl;
      const info = gl.getExtension("WEBGL_debug_renderer_info");
      return {
        renderer: gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER),
        version: gl.getParameter(gl.VERSION),
        drawBuffers: Math.min(
          gl.getParameter(gl.MAX_DRAW_BUFFERS),
          gl.getParameter(gl.MAX_COLOR_ATTACHMENTS),
        ),
        inputs: this.units,
        rows: gl.getParameter(gl.MAX_TEXTURE_SIZE),
        numberBytes: gl.getParameter(gl.MAX_UNIFORM_BLOCK_SIZE),
        numberAlignment: gl.getParameter(gl.UNIFORM_BUFFER_OFFSET_ALIGNMENT),
        float32: this.float32,
        float16: this.float16,
      };
    }

    check() {
      if (this.gl.isContextLost()) {
        throw lost();
      }
    }

    /** Wait for all work; whether the context is gone. A page is told so between two tasks; where
     * Python never pauses, only the GPU's silence tells. */
    lost() {
      const gl = this.gl;
      const pixel = new Uint8Array(4);
      gl.bindFramebuffer(gl.FRAMEBUFFER, null);
      this.framebuffer = null;
      this.settle();
      gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);
      return pixel[3] === 0 || gl.isContextLost(); // the canvas has no alpha: it is opaque
    }

    /** After a loss: a new context with every program, and every memory with anything in it. */
    again() {
      this.open();
      for (const memory of this.memories.values()) {
        Object.assign(memory, { texture: this.texture(memory), single: null, keys: [] });
        if (!memory.texture) {
          throw new Error("it has less memory than the one before");
        }
      }
      for (const program of this.programs) {
        Object.assign(program, this.link(program.source), { ready: false });
      }
    }

    // -- memory ------------------------------------------------------------------------------------

    /** @returns {number} the memory's number; 0 if there is not so much left */
    allocate(kind, width, height) {
      const texture = this.texture({ kind, width, height });
      if (!texture) {
        return 0;
      }
      this.counts.textures++;
      this.memories.set(this.next, { texture, kind, width, height, single: null, keys: [] });
      return this.next++;
    }

    texture({ kind, width, height }) {
      const gl = this.gl;
      // No error of another call is taken for that of this one.
      for (let error; (error = gl.getError()) !== gl.NO_ERROR && !gl.isContextLost(); ) {
        this.complaint ||= error;
      }
      this.check();
      const texture = gl.createTexture();
      this.bind(0, texture);
      gl.texStorage2D(gl.TEXTURE_2D, 1, this.formats[kind][0], width, height);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
      if (gl.getError() !== gl.NO_ERROR) {
        if (this.lost()) {
          throw lost();
        }
        gl.deleteTexture(texture);
        this.bound[0] = null;
        return null;
      }
      return texture;
    }

    free(memory) {
      const found = this.memories.get(memory);
      this.memories.delete(memory);
      if (found.single) {
        this.deleteFramebuffer(found.single);
      }
      for (const key of found.keys) {
        const framebuffer = this.framebuffers.get(key);
        if (framebuffer) {
          this.framebuffers.delete(key);
          this.deleteFramebuffer(framebuffer);
        }
      }
      for (let unit = 0; unit < this.units; unit++) {
        if (this.bound[unit] === found.texture) {
          this.bound[unit] = null;
        }
      }
      this.gl.deleteTexture(found.texture);
    }

    deleteFramebuffer(framebuffer) {
      if (this.framebuffer === framebuffer) {
        this.framebuffer = null;
      }
      this.gl.deleteFramebuffer(framebuffer);
    }

    /** Fill texels from `start` on, which begins a row, with the bytes of a Python buffer. */
    write(memory, start, data) {
      const gl = this.gl;
      this.check();
      const { texture, kind, width } = this.memories.get(memory);
      const [, format, type, View, size] = this.formats[kind];
      const buffer = data.getBuffer("u8");
      try {
        const bytes = buffer.data;
        const texels = bytes.length / size;
        // Texel stores want views of their own type, at addresses that fit it.
        const view = new View(bytes.slice().buffer);
        const rows = Math.floor(texels / width);
        const first = start / width;
        this.bind(0, texture);
        if (rows) {
          gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, first, width, rows, format, type, view, 0);
        }
        const rest = texels - rows * width;
        if (rest) {
          gl.texSubImage2D(
            gl.TEXTURE_2D, 0, 0, first + rows, rest, 1, format, type, view, rows * width * 4,
          );
        }
      } finally {
        buffer.release();
      }
    }

    /** The rows that hold texels `start` to `start + texels`: what to read, and as what. */
    box(memory, start, texels) {
      const gl = this.gl;
      const { kind, width } = this.memories.get(memory);
      const first = Math.floor(start / width);
      const skip = start - first * width;
      const rows = Math.ceil((skip + texels) / width);
      const whole = rows > 1;
      // What every context can read; halves and bytes come as 32 bits.
      const [format, type, View] = {
        f32: [gl.RGBA, gl.FLOAT, Float32Array],
        f16: [gl.RGBA, gl.FLOAT, Float32Array],
        i32: [gl.RGBA_INTEGER, gl.INT, Int32Array],
        u8: [gl.RGBA_INTEGER, gl.UNSIGNED_INT, Uint32Array],
      }[kind];
      return {
        x: whole ? 0 : skip,
        y: first,
        width: whole ? width : texels,
        rows,
        from: whole ? skip * 4 : 0,
        to: (whole ? skip : 0) * 4 + texels * 4,
        format,
        type,
        View,
      };
    }

    /** The elements of texels, as 32-bit values: floats, ints, or unsigned ints for bytes. */
    read(memory, start, texels) {
      const gl = this.gl;
      const box = this.box(memory, start, texels);
      const values = new box.View(box.width * box.rows * 4);
      this.check();
      this.use([memory]);
      this.settle();
      gl.readBuffer(gl.COLOR_ATTACHMENT0);
      this.surely(values, () =>
        gl.readPixels(box.x, box.y, box.width, box.rows, box.format, box.type, values),
      );
      this.drop();
      return values.subarray(box.from, box.to);
    }

    /** Draw nothing, to the framebuffer that is about to be read. Mesa's software rasteriser (22.3) waits for
     * all work on what is drawn to; of what is only read, as browsers bind it, it finds the first use
     * that is under way, and if that is a reading, waits for no writing after it. */
    settle() {
      const gl = this.gl;
      gl.useProgram(this.nothing);
      this.program = null;
      gl.enable(gl.RASTERIZER_DISCARD);
      gl.drawArrays(gl.TRIANGLES, 0, 3);
      gl.disable(gl.RASTERIZER_DISCARD);
    }

    /** Fill values, and see that they were. */
    surely(values, fill) {
      const last = new Uint32Array(values.buffer, values.byteLength - 4);
      for (const mark of MARKS) {
        last[0] = mark;
        fill();
        if (last[0] !== mark) {
          return;
        }
      }
      throw this.lost() ? lost() : new Error(`reading failed: ${this.error()}`);
    }

    /** As `read`, without making the GPU's queue wait: through a buffer and a fence. */
    async readLater(memory, start, texels) {
      const gl = this.gl;
      const box = this.box(memory, start, texels);
      const values = new box.View(box.width * box.rows * 4);
      this.check();
      const buffer = gl.createBuffer();
      gl.bindBuffer(gl.PIXEL_PACK_BUFFER, buffer);
      gl.bufferData(gl.PIXEL_PACK_BUFFER, values.byteLength, gl.STREAM_READ);
      this.use([memory]);
      this.settle();
      gl.readBuffer(gl.COLOR_ATTACHMENT0);
      gl.readPixels(box.x, box.y, box.width, box.rows, box.format, box.type, 0);
      gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null);
      const fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
      gl.flush();
      // A fence's state is told between two tasks.
      do {
        await new Promise((resolve) => setTimeout(resolve, 1));
        if (gl !== this.gl || gl.isContextLost()) {
          throw lost();
        }
      } while (gl.clientWaitSync(fence, 0, 0) === gl.TIMEOUT_EXPIRED);
      gl.deleteSync(fence);
      gl.bindBuffer(gl.PIXEL_PACK_BUFFER, buffer);
      this.surely(values, () => gl.getBufferSubData(gl.PIXEL_PACK_BUFFER, 0, values));
      gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null);
      gl.deleteBuffer(buffer);
      return values.subarray(box.from, box.to);
    }

    // -- programs ----------------------------------------------------------------------------------

    shader(type, source) {
      const shader = this.gl.createShader(type);
      this.gl.shaderSource(shader, source);
      this.gl.compileShader(shader);
      return shader;
    }

    /** Begin to compile; what came of it is asked when the program is first used, so that those of a
     * plan compile side by side. */
    compile(source, inputs) {
      this.counts.programs++;
      const entry = { ...this.link(source), inputs, source, bytes: 0, ready: false };
      return this.programs.push(entry) - 1;
    }

    link(source) {
      const gl = this.gl;
      this.check();
      const program = gl.createProgram();
      const fragment = this.shader(gl.FRAGMENT_SHADER, source);
      gl.attachShader(program, this.vertex);
      gl.attachShader(program, fragment);
      gl.linkProgram(program);
      return { program, fragment };
    }

    /** The first use of a program: has it compiled? Where do its inputs and numbers go? */
    prepare(entry) {
      const gl = this.gl;
      const { program, fragment, inputs, source } = entry;
      if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
        if (this.lost()) {
          throw lost();
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

    // -- launches ----------------------------------------------------------------------------------

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

    bind(unit, texture) {
      const gl = this.gl;
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, texture);
      this.bound[unit] = texture;
    }

    /** Draw to these memories from now on. */
    use(targets) {
      const gl = this.gl;
      this.targets = targets;
      const memory = this.memories.get(targets[0]);
      const key = targets.length > 1 ? targets.join() : "";
      const found = key ? this.framebuffers.get(key) : memory.single;
      if (found) {
        if (this.framebuffer !== found) {
          gl.bindFramebuffer(gl.FRAMEBUFFER, found);
          this.framebuffer = found;
        }
        return;
      }
      const framebuffer = gl.createFramebuffer();
      this.counts.framebuffers++;
      gl.bindFramebuffer(gl.FRAMEBUFFER, framebuffer);
      const places = [];
      targets.forEach((target, k) => {
        const { texture } = this.memories.get(target);
        const place = gl.COLOR_ATTACHMENT0 + k;
        gl.framebufferTexture2D(gl.FRAMEBUFFER, place, gl.TEXTURE_2D, texture, 0);
        places.push(place);
      });
      gl.drawBuffers(places);
      if (key) {
        this.framebuffers.set(key, framebuffer);
        for (const target of targets) {
          this.memories.get(target).keys.push(key);
        }
      } else {
        memory.single = framebuffer;
      }
      this.framebuffer = framebuffer;
    }

    // -- numbers and waiting -----------------------------------------------------------------------

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

    /** Let no more than a few lists be under way: a queue that grows without bound makes a page hang. */
    throttle() {
      const gl = this.gl;
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
        throw lost();
      }
      this.drop();
    }

    /** Forget fences of work that is known to be done. */
    drop() {
      for (const fence of this.fences) {
        this.gl.deleteSync(fence);
      }
      this.fences.length = 0;
    }

    /** What went wrong since this was last asked, as WebGL's number; for tests. */
    error() {
      const found = this.complaint || this.gl.getError();
      this.complaint = this.gl.NO_ERROR;
      return found;
    }

    close() {
      const lose = this.gl.getExtension("WEBGL_lose_context");
      if (lose) {
        lose.loseContext(); // gives everything back at once
      }
      this.memories.clear();
      this.framebuffers.clear();
      this.programs.length = 0;
    }
  }

  return WebGLDevice;
})();
