// Runs the service worker of the phone app in Node, with a cache of its own. Argument: the script. Standard input:
// `caches`, the URLs of the files in each stored cache, and `requests`, a list of { url, mode }. Standard output:
// `caches`, the names of the caches after the start of this build, and `answers`, what each request gets: the name of the
// stored file, or "network".

import { readFileSync } from "node:fs";
import { runInThisContext } from "node:vm";

const BASE = "https://pi.local/app/";
const { caches: contents, requests } = JSON.parse(readFileSync(0));
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
  self: {
    addEventListener: (kind, listener) => { listeners[kind] = listener; },
    clients: { claim: async () => {} },
    registration: { scope: BASE },
  },
  importScripts: () => { Object.assign(globalThis, { BUILD: "0123", FILES: stored }); },
  caches: {
    open: async () => cache,
    keys: async () => Object.keys(contents),
    delete: async (name) => delete contents[name],
    match: async (request, { cacheName }) => contents[cacheName].find((url) => url === urlOf(request).href),
  },
  fetch: async () => "network",
});
runInThisContext(readFileSync(process.argv[2], "utf8"));

await new Promise((resolve) => { listeners.activate({ waitUntil: (done) => done.then(resolve) }); });
const answers = [];
for (const request of requests) {
  await new Promise((resolve) => {
    listeners.fetch({
      request: { ...request, url: urlOf(request.url).href },
      respondWith: async (response) => { answers.push(await response); resolve(); },
    });
  });
}
console.log(JSON.stringify({ caches: Object.keys(contents), answers }));
