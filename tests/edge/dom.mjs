// A document without a browser. It has only what the scripts of the pages use, so that Node can run them.

export class Element {
  constructor(tag = "div", id = "") {
    const classes = new Set();
    Object.assign(this, {
      tagName: tag.toUpperCase(), id, children: [], attributes: {}, listeners: {}, properties: {}, drawn: [], classes,
      className: "", hidden: false, disabled: false, value: "", own: "", clientWidth: 200,
      style: { setProperty: (name, value) => { this.properties[name] = value; } },
      classList: {
        add: (name) => classes.add(name),
        remove: (name) => classes.delete(name),
        contains: (name) => classes.has(name),
        toggle: (name, isOn) => (isOn ? classes.add(name) : classes.delete(name)),
      },
    });
  }

  get textContent() {
    return this.own + this.children.map((one) => one.textContent).join("");
  }

  set textContent(text) {
    this.children = [];
    this.own = String(text ?? "");
  }

  append(...added) {
    this.children.push(...added.map((one) => (one instanceof Element ? one : Object.assign(new Element(), { own: one }))));
  }

  replaceChildren(...added) {
    this.children = added;
  }

  setAttribute(name, value) {
    this.attributes[name] = String(value);
  }

  getAttribute(name) {
    return this.attributes[name] ?? null;
  }

  addEventListener(kind, listener) {
    this.listeners[kind] = listener;
  }

  fire(kind, event = {}) {
    return this.listeners[kind]?.({ target: this, preventDefault() {}, ...event });
  }

  click() {
    return this.fire("click");
  }

  querySelectorAll(tag) {
    const inside = this.children.flatMap((one) => one.querySelectorAll(tag));
    return this.tagName === tag.toUpperCase() ? [this, ...inside] : inside;
  }

  focus() {
    document.activeElement = this;
  }

  getContext() {
    return {
      drawImage: (...drawn) => this.drawn.push(drawn),
      putImageData: (image) => this.drawn.push(image),
    };
  }

  async decode() {}

  async play() {}

  pause() {}

  showModal() {}

  close() {}
}

const elements = {};
export const element = (id) => (elements[id] ??= new Element("div", id));
export const timers = [];
export const listeners = {};
// Waits until all work is done that needs answers of the server. These answers come at once.
export const settled = () => new Promise((resolve) => { setImmediate(resolve); });

export function define(values) {
  for (const [name, value] of Object.entries(values)) {
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
}

define({
  document: {
    getElementById: element, createElement: (tag) => new Element(tag), body: new Element("body"), hidden: false,
    activeElement: null, addEventListener: (kind, listener) => { listeners[kind] = listener; },
  },
  addEventListener: (kind, listener) => { listeners[kind] = listener; },
  setTimeout: (work, ms) => { timers.push({ work, ms }); },
  setInterval: (work, ms) => { timers.push({ work, ms, isRepeated: true }); },
});

export const texts = (id) => element(id).children.map((one) => one.children.map((part) => part.textContent));
