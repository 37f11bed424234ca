// Stores the whole app on the phone at the first visit. After that, the browser loads the app from this store.

importScripts("files.js"); // defines BUILD and FILES

// The name of a cache begins with the address of the app. So other apps on the same web site, such as an app with another
// model, have caches of their own.
const OWN = `dermedge ${self.registration.scope} `;
const CACHE = OWN + BUILD;

// Tells whether a cache belongs to this app. Earlier versions named their caches without the address of the app.
async function isOwn(name) {
  return name.startsWith(OWN) || (name.startsWith("dermedge-") && await caches.match("./", { cacheName: name }));
}

self.addEventListener("install", (event) => {
  // bypasses the HTTP cache, which may hold files of an older build
  const requests = FILES.map((name) => new Request(name, { cache: "reload" }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(requests)));
});

self.addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    for (const name of await caches.keys()) {
      if (name !== CACHE && await isOwn(name)) await caches.delete(name);
    }
    await self.clients.claim();
  })());
});

self.addEventListener("fetch", (event) => {
  // index.html is not stored, because it is the page at "./"
  const isPage = new URL(event.request.url).pathname === new URL("index.html", self.registration.scope).pathname;
  event.respondWith((async () => {
    const cache = await caches.open(CACHE);
    const stored = await cache.match(isPage ? "./" : event.request, { ignoreSearch: true });
    return stored ?? fetch(event.request);
  })());
});
