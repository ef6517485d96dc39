import { readdirSync, statSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

import { build, defineConfig, type Plugin } from "vite";

const here = fileURLToPath(new URL(".", import.meta.url));
const out = resolve(here, "../out/page");

/** ONNX Runtime's own copy is left out: tools/page_data.py writes a compressed one. */
function withoutWasm(): Plugin {
  return {
    name: "without-wasm",
    enforce: "post",
    generateBundle(_, bundle) {
      for (const name of Object.keys(bundle)) if (name.endsWith(".wasm")) delete bundle[name];
    },
  };
}

/** Build the service worker last, with the list of the files that were written. */
function serviceWorker(): Plugin {
  const files = (folder: string): string[] =>
    readdirSync(folder).flatMap((name) => {
      const path = join(folder, name);
      return statSync(path).isDirectory() ? files(path) : [relative(out, path)];
    });
  return {
    name: "service-worker",
    apply: "build",
    async closeBundle() {
      const all = files(out).filter((file) => file !== "sw.js").sort();
      await build({
        configFile: false,
        publicDir: false,
        logLevel: "warn",
        define: {
          __SHELL__: JSON.stringify(all.filter((file) => !file.endsWith(".gz"))),
          __FILES__: JSON.stringify(all),
        },
        build: {
          outDir: out,
          emptyOutDir: false,
          lib: { entry: resolve(here, "src/sw.ts"), formats: ["iife"], name: "worker", fileName: () => "sw.js" },
        },
      });
    },
  };
}

export default defineConfig({
  base: "./", // the page may lie in any folder of a server
  root: here,
  build: { outDir: out, emptyOutDir: true, target: "es2022", assetsInlineLimit: 0, modulePreload: false },
  worker: { format: "es", plugins: () => [withoutWasm()] },
  plugins: [withoutWasm(), serviceWorker()],
});
