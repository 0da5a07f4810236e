// The same in a notebook, as anywidget calls it.

import { mount } from "./atlas";
import { Payload, type Header } from "./payload";

interface Model {
  get(name: "header"): Header;
  get(name: "pieces"): DataView<ArrayBuffer>;
}

function render({ model, el }: { model: Model; el: HTMLElement }): () => void {
  const pieces = model.get("pieces");
  const root = document.createElement("div");
  root.className = "regard-atlas notebook";
  el.append(root);
  let close = () => root.remove();
  void mount(root, new Payload(model.get("header"), new Uint8Array(pieces.buffer, pieces.byteOffset, pieces.byteLength)))
    .then((made) => (close = made));
  return () => close();
}

export default { render };
