// Runs the service worker of the phone app in Node, with a cache of its own. Argument: the script. Standard input: a
// list of requests { url, mode }. Standard output: a list of what each request gets: the name of the stored file, or
// "network".

import { readFileSync } from "node:fs";
import { runInThisContext } from "node:vm";

const BASE = "https://pi.local/app/";
const listeners = {};
const stored = ["./", "page.js", "licences.txt"];
const urlOf = (request) => new URL(request.url ?? request, BASE);

const cache = {
  match: async (request, { ignoreSearch = false } = {}) => {
    const url = urlOf(request);
    if (ignoreSearch) url.search = "";
    return stored.find((name) => new URL(name, BASE).href === url.href);
  },
};

Object.assign(globalThis, {
  self: { addEventListener: (kind, listener) => { listeners[kind] = listener; } },
  importScripts: () => { Object.assign(globalThis, { BUILD: "0123", FILES: stored }); },
  caches: { open: async () => cache },
  fetch: async () => "network",
});
runInThisContext(readFileSync(process.argv[2], "utf8"));

const answers = [];
for (const request of JSON.parse(readFileSync(0))) {
  await new Promise((resolve) => {
    listeners.fetch({
      request: { ...request, url: urlOf(request.url).href },
      respondWith: async (response) => { answers.push(await response); resolve(); },
    });
  });
}
console.log(JSON.stringify(answers));
