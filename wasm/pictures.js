// @ts-check
// The strip of pictures that a script shows: each opens large and can be saved.

const MOST = 24;
const SMALL = 120; // pixels of height below which a picture is drawn as squares

export class Pictures {
  /** @param {HTMLElement} strip @param {HTMLDialogElement} viewer with an img */
  constructor(strip, viewer) {
    this.strip = strip;
    this.viewer = viewer;
  }

  clear() {
    [...this.strip.children].forEach(drop);
    this.strip.hidden = true;
  }

  /** @param {{png: Uint8Array<ArrayBuffer>, title: string}} picture */
  show({ png, title }) {
    const url = URL.createObjectURL(new Blob([png], { type: "image/png" }));
    const image = new Image();
    image.alt = title || "picture";
    image.onload = () => image.classList.toggle("small", image.naturalHeight < SMALL);
    image.src = url;
    const open = document.createElement("button");
    open.title = "Show large";
    open.append(image);
    open.onclick = () => {
      const large = /** @type {HTMLImageElement} */ (this.viewer.querySelector("img"));
      large.src = url;
      large.alt = image.alt;
      large.className = image.className;
      this.viewer.showModal();
    };
    const save = document.createElement("a");
    save.href = url;
    save.download = `${image.alt.split("/").at(-1)}`.replace(/(\.png)?$/, ".png");
    save.textContent = image.alt;
    save.title = "Save";
    const caption = document.createElement("figcaption");
    caption.append(save);
    const figure = document.createElement("figure");
    figure.append(open, caption);
    this.strip.hidden = false;
    this.strip.append(figure);
    if (this.strip.childElementCount > MOST) {
      drop(this.strip.children[0]);
    }
  }
}

function drop(figure) {
  URL.revokeObjectURL(figure.querySelector("a").href);
  figure.remove();
}
