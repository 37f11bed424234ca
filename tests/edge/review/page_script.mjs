// Runs the script of the review page without a browser, and presses keys. Argument: the script. Standard input: JSON
// with the keys, `keys`, and the answers of the server in the order of the requests. The answer { error } is a refusal,
// and null is a lost connection. Standard output: JSON of what the page shows after each key, and of its requests.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

import { define, element, listeners, settled } from "../dom.mjs";

const { answers, keys } = JSON.parse(readFileSync(0));
const asked = [];
const fetched = [];

define({
  Image: class {
    set src(path) {
      fetched.push(path);
    }
  },
  fetch: async (path, options) => {
    asked.push([path, options ? JSON.parse(options.body) : null, options?.headers ?? null]);
    const answer = answers.shift();
    if (answer === null) throw new TypeError("failed to fetch");
    return { ok: !answer.error, json: async () => answer };
  },
});

// here, querySelectorAll of a list of items returns the buttons of the items
function shown() {
  return {
    title: element("title").textContent,
    notes: element("notes").textContent,
    counter: element("counter").textContent,
    progress: [element("progress").value, element("progress").max],
    confirm: [element("confirm").disabled, element("confirmed").textContent],
    classes: element("classes").children.map(({ children: [button] }) => [
      button.className, button.attributes["aria-keyshortcuts"], ...button.children.slice(0, 3).map((one) => one.textContent),
      button.children[3]?.value ?? null]),
    labels: element("labels").children.map((one) => one.value),
    caption: element("caption").textContent,
    photo: [element("photo").src, element("photo").alt],
    lesion: element("lesion").value,
    undo: element("undo").disabled,
    message: element("message").textContent,
    end: [element("end").hidden, element("panel").hidden, element("end-groups").textContent, element("command").textContent],
    focus: document.activeElement?.id,
    isBusy: element("main").attributes["aria-busy"],
  };
}

element("other").id = "other";
const seen = [];
await import(pathToFileURL(process.argv[2]));
await settled();
await settled();
seen.push(shown());
for (const { key, id = "title", value, ...more } of keys) {
  const target = element(id);
  if (value !== undefined) target.value = value;
  let isPrevented = false;
  listeners.keydown({ key, target, ...more, preventDefault: () => { isPrevented = true; } });
  await settled();
  await settled();
  seen.push({ ...shown(), isPrevented });
}
const local = new Date("2026-11-29T22:36:02Z").toLocaleString();
console.log(JSON.stringify({ seen, asked, fetched, local }));
