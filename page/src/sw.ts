/**
 * The service worker: the page works without a network after the first visit. vite.config.ts
 * writes the list of the page's files into it.
 */

declare const self: ServiceWorkerGlobalScope;
declare const __SHELL__: string[]; // fetched at once: the page itself
declare const __FILES__: string[]; // all that this version may hold

import { CACHE } from "./lib/protocol.ts";

const address = (path: string) => new URL(path, self.registration.scope).href;

self.addEventListener("install", (event) => {
  const fill = async () => {
    const cache = await caches.open(CACHE);
    await cache.addAll(__SHELL__.map((path) => new Request(address(path), { cache: "no-cache" })));
    await self.skipWaiting();
  };
  event.waitUntil(fill());
});

self.addEventListener("activate", (event) => {
  const clear = async () => {
    const cache = await caches.open(CACHE);
    const known = new Set(__FILES__.map(address));
    for (const request of await cache.keys()) {
      if (!known.has(request.url)) await cache.delete(request);
    }
    await self.clients.claim();
  };
  event.waitUntil(clear());
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== self.location.origin) return;
  const answer = async () => {
    const path = url.pathname.endsWith("/") ? `${url.origin}${url.pathname}index.html` : url.href;
    const cache = await caches.open(CACHE);
    return (await cache.match(path, { ignoreSearch: true })) ?? fetch(request);
  };
  event.respondWith(answer());
});
