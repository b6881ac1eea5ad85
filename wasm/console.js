// @ts-check
// The console: what a script prints, with carriage returns as a terminal has them, and no longer than
// a page bears. Text is collected and shown once a frame.

const MOST_PIECES = 4000;
const MOST_CHARACTERS = 4000; // of a piece; a longer line goes on in the next
const ESCAPES = /\x1b\[[0-9;?]*[ -/]*[@-~]/g;

/** A run of text of one stream on one line. */
class Piece {
  constructor(stream) {
    this.stream = stream;
    this.text = "";
    this.place = 0; // where the next character goes
    this.bar = false; // whether a carriage return began it
    this.ended = false;
    /** @type {HTMLSpanElement | null} */
    this.element = null;
  }

  get kind() {
    return this.bar && this.stream === "stderr" ? "bar" : this.stream;
  }

  write(text) {
    this.text = this.text.slice(0, this.place) + text + this.text.slice(this.place + text.length);
    this.place += text.length;
  }
}

export class Console {
  /**
   * @param {HTMLElement} element
   * @param {(line: string, kind: string) => void} onLine a line is complete; its kind is the stream, or
   *   "bar" for a progress bar, which comes each time it is drawn
   */
  constructor(element, onLine) {
    this.element = element;
    this.onLine = onLine;
    this.following = true; // until the person scrolls up
    new ResizeObserver(() => this.follow()).observe(element);
    element.addEventListener("scroll", () => {
      this.following = element.scrollHeight - element.scrollTop - element.clientHeight < 30;
    });
    this.clear();
  }

  clear() {
    /** @type {Piece[]} */
    this.pieces = []; // that have changed since they were shown
    this.last = new Piece("stdout");
    this.last.ended = true;
    this.following = true;
    this.element.replaceChildren();
  }

  /** @param {string} text @param {string} stream "stdout", "stderr" or "typed" */
  write(text, stream) {
    for (const part of text.replace(ESCAPES, "").split(/([\r\n])/)) {
      if (part === "\n") {
        this.piece(stream).text += "\n";
        this.tell();
        this.last.ended = true;
      } else if (part === "\r") {
        if (this.last.ended) {
          this.last = new Piece(stream);
        }
        this.tell();
        this.last.place = 0;
        this.last.bar = true;
      } else if (part) {
        for (let k = 0; k < part.length; k += MOST_CHARACTERS) {
          const piece = this.piece(stream);
          piece.write(part.slice(k, k + MOST_CHARACTERS));
          if (piece.text.length >= MOST_CHARACTERS) {
            piece.ended = true;
          }
        }
      }
    }
    if (this.pieces.length > 2 * MOST_PIECES) {
      this.pieces = this.pieces.slice(-MOST_PIECES); // never shown: they would be out of sight at once
    }
    this.waiting ??= requestAnimationFrame(() => this.show());
  }

  /** Write a line of the page's own. */
  note(text) {
    if (!this.last.ended && this.last.text.trim()) {
      this.write("\n", this.last.stream);
    }
    this.write(`${text}\n`, "note");
  }

  /** The piece that text of a stream goes to. */
  piece(stream) {
    const last = this.last;
    if (!last.ended && last.stream !== stream) {
      // Over a bar that was wiped out, or at its beginning, the other stream takes the line.
      if (last.text.trim() === "" || last.place === 0) {
        last.stream = stream;
        last.text = "";
        last.place = 0;
        last.bar = false;
      } else {
        last.ended = true;
      }
    }
    if (this.last.ended) {
      this.last = new Piece(stream);
    }
    if (this.pieces.at(-1) !== this.last) {
      this.pieces.push(this.last);
    }
    return this.last;
  }

  tell() {
    const { text, kind } = this.last;
    if (text.trim() && text.length < MOST_CHARACTERS) {
      this.onLine(text, kind);
    }
  }

  show() {
    this.waiting = undefined;
    const { element } = this;
    for (const piece of this.pieces.slice(-MOST_PIECES)) {
      if (!piece.element) {
        piece.element = document.createElement("span");
        element.append(piece.element);
      }
      piece.element.className = piece.kind;
      piece.element.textContent = piece.text;
    }
    this.pieces = this.last.ended ? [] : [this.last];
    while (element.childElementCount > MOST_PIECES) {
      element.firstElementChild?.remove();
    }
    this.follow();
  }

  follow() {
    if (this.following) {
      this.element.scrollTop = this.element.scrollHeight;
    }
  }
}
