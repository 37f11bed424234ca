// Runs the script of the phone page without a browser. The app is stored, or its installation fails. Argument: the
// script. Standard input: the state in which the installation ends. Standard output: what the page says about it.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

import { define, element, settled } from "../dom.mjs";

const state = JSON.parse(readFileSync(0));
const installing = { state: "installing", addEventListener: (kind, listener) => { installing.changed = listener; } };
define({
  Worker: class {},
  requestAnimationFrame: () => {},
  navigator: {
    serviceWorker: {
      register: async () => ({ installing }),
      ready: new Promise((resolve) => { installing.activate = resolve; }),
    },
  },
});
await import(pathToFileURL(process.argv[2]));
await settled();
installing.state = state;
installing.changed?.();
if (state === "activated") installing.activate();
await settled();
process.stdout.write(JSON.stringify(element("facts").children.map((one) => one.textContent)));
