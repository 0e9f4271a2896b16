// The service worker of the static site: caches all files, so that the site works offline.
//
// The name of the cache contains the site's digest: a new export gets a new cache, and the old cache
// is deleted. export.web fills in the two placeholders.

const DIGEST = "{{digest}}"; // SHA-256 over all files of the site
const FILES = {{files}}; // names of the files to cache
const PREFIX = `digit-edge ${registration.scope} `; // caches of this site begin with it

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
