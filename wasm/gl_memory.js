// @ts-check
// The webgl device's context and its memory: textures, framebuffers, writing and reading. gl.js goes on from here.
//
// A script, not a module, as Python evaluates it wherever it runs: in a worker, on a page, in anybody's
// Pyodide. Its value is the class.
(() => {
  "use strict";

  const VERTEX = `#version 300 es
void main() { gl_Position = vec4(ivec2(gl_VertexID & 1, gl_VertexID >> 1) * 4 - 1, 0.0, 1.0); }
`;

  const NOTHING = `#version 300 es
void main() {}
`;

  const MARKS = [0x7fa1b2c3, 0x7fa3c2b1]; // what no reading leaves in its last element

  class WebGLMemory {
    constructor() {
      /** Counts of what costs time; `calls` are those that Python made to run launches. */
      this.counts = { calls: 0, launches: 0, textures: 0, framebuffers: 0, programs: 0, waits: 0 };
      this.memories = new Map(); // number -> { texture, kind, width, height, single, keys }
      this.next = 1;
      this.open();
    }

    /** A new context; it knows no memory yet. */
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
      this.fences = []; // of work that is under way
      this.complaint = gl.NO_ERROR; // the first error that nobody asked for yet
      this.vertex = this.shader(gl.VERTEX_SHADER, VERTEX);
      this.nothing = this.link(NOTHING).program;
      this.units = gl.getParameter(gl.MAX_TEXTURE_IMAGE_UNITS);
      this.bound = new Array(this.units).fill(null);
      this.program = null;
      this.framebuffer = null;
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
        throw this.gone();
      }
    }

    /** The error that tells Python that the context, and all that it held, is gone. */
    gone() {
      return Object.assign(new Error("the context was lost"), { name: "ContextLost" });
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

    /** After a loss: a new context with every memory, and anything in it. */
    again() {
      this.open();
      for (const memory of this.memories.values()) {
        Object.assign(memory, { texture: this.texture(memory), single: null, keys: [] });
        if (!memory.texture) {
          throw new Error("it has less memory than the one before");
        }
      }
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
    }

    // -- programs ------------------------------------------------------------------------------------

    shader(type, source) {
      const shader = this.gl.createShader(type);
      this.gl.shaderSource(shader, source);
      this.gl.compileShader(shader);
      return shader;
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

    // -- memory --------------------------------------------------------------------------------------

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
          throw this.gone();
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

    // -- writing and reading -------------------------------------------------------------------------

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
      throw this.lost() ? this.gone() : new Error(`reading failed: ${this.error()}`);
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
          throw this.gone();
        }
      } while (gl.clientWaitSync(fence, 0, 0) === gl.TIMEOUT_EXPIRED);
      gl.deleteSync(fence);
      gl.bindBuffer(gl.PIXEL_PACK_BUFFER, buffer);
      this.surely(values, () => gl.getBufferSubData(gl.PIXEL_PACK_BUFFER, 0, values));
      gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null);
      gl.deleteBuffer(buffer);
      return values.subarray(box.from, box.to);
    }

    /** Forget fences of work that is known to be done. */
    drop() {
      for (const fence of this.fences) {
        this.gl.deleteSync(fence);
      }
      this.fences.length = 0;
    }
  }

  return WebGLMemory;
})();
