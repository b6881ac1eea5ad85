// @ts-check
// Which script the editor holds: an example, one that came with a link, or the person's own.
import { memory } from "./memory.js";
import { decode, encode } from "./share.js";

const DRAFT = "tensorgl.script";
const REST_MS = 300; // without typing, before a draft is kept

export class Scripts {
  /**
   * @param {{text: () => string, set: (text: string) => void}} editor
   * @param {HTMLSelectElement} choose the gallery
   * @param {(text: string) => void} notice tells the person something
   */
  constructor(editor, choose, notice) {
    this.editor = editor;
    this.choose = choose;
    this.notice = notice;
    /** @type {{name: string, title: string, source: string}[]} */
    this.examples = [];
    /** @type {Record<string, string>} files that examples read, by name */
    this.data = {};
    choose.onchange = () => this.chosen();
  }

  /** Fill the gallery and show the script to begin with: a link's, the person's last one, the first. */
  async open() {
    this.choose.add(new Option("your script", ""));
    try {
      const gallery = await (await fetch("examples.json")).json();
      this.examples = gallery.scripts;
      this.data = gallery.data;
    } catch (error) {
      this.notice(`The examples could not be loaded: ${error.message}`);
    }
    for (const { name, title } of this.examples) {
      this.choose.add(new Option(title, name));
    }
    if (!(await this.openLink())) {
      this.place(memory.get(DRAFT) || (this.examples[0]?.source ?? ""));
    }
  }

  /** Show the script that the address holds, if it does. It runs only when the person says so. */
  async openLink() {
    try {
      const script = await decode(location.hash.slice(1));
      if (script === null) {
        return false;
      }
      this.place(script);
      this.notice("This script came with the link. Read it, then press Run.");
      return true;
    } catch (error) {
      this.notice(`${error.message[0].toUpperCase()}${error.message.slice(1)}.`);
      return false;
    }
  }

  /** Put a script into the editor and tell in the gallery which it is. */
  place(script) {
    this.editor.set(script);
    this.choose.value = this.examples.find(({ source }) => source === script)?.name ?? "";
  }

  /** The person has chosen an example; undo brings back what was there. */
  chosen() {
    const found = this.examples.find(({ name }) => name === this.choose.value);
    if (found) {
      this.editor.set(found.source);
      this.keep("");
      this.notice("");
    }
  }

  /** The person has typed: the script is theirs, and is there again after a reload. */
  edited() {
    this.choose.value = "";
    this.keep(this.editor.text());
  }

  /** Remember a draft, and let the address hold no other script. */
  keep(draft) {
    if (location.hash) {
      history.replaceState(null, "", location.pathname + location.search);
    }
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => memory.set(DRAFT, draft), REST_MS);
  }

  /** Put the script into the address, and that into the clipboard. */
  async share() {
    try {
      history.replaceState(null, "", `#${await encode(this.editor.text())}`);
    } catch (error) {
      this.notice(`No link: ${error.message}.`);
      return;
    }
    let where = "copied";
    try {
      await navigator.clipboard.writeText(location.href);
    } catch {
      where = "in the address bar"; // the browser keeps the clipboard to itself
    }
    this.notice(`The link is ${where}. It holds the whole script; nothing was sent anywhere.`);
  }
}
