// Keeps the whole site for use without a network. The cache is named after the site's digest: a
// new export is a new cache, and the old one goes.

const DIGEST = "{{digest}}";
const FILES = {{files}};
const PREFIX = `digit-edge ${registration.scope} `;

addEventListener("install", (event) => {
  event.waitUntil((async () => {
    const cache = await caches.open(PREFIX + DIGEST);
    await cache.addAll(FILES.map((name) => new Request(name, { cache: "reload" })));
    await skipWaiting();
  })());
});

addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    for (const name of await caches.keys()) {
      if (name.startsWith(PREFIX) && name !== PREFIX + DIGEST) await caches.delete(name);
    }
    await clients.claim();
  })());
});

addEventListener("fetch", (event) => {
  if (event.request.method !== "GET") return;
  event.respondWith((async () => {
    const cache = await caches.open(PREFIX + DIGEST);
    return (await cache.match(event.request, { ignoreSearch: true })) ?? fetch(event.request);
  })());
});
