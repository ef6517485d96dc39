// Read image files as the web page does: node page_reading.mjs FOLDER FILE...
// Its modules are built into FOLDER. A line of JSON for each file: its pixels, or why it is refused.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "../page/node_modules/vite/dist/node/index.js";

const [folder, ...files] = process.argv.slice(2);
const entry = join(import.meta.dirname, "../page/src/images/read.ts");
const lib = { entry, formats: ["es"], fileName: () => "read.mjs" };
await build({ configFile: false, publicDir: false, logLevel: "error", build: { outDir: folder, lib } });
const { readPicture } = await import(join(folder, "read.mjs"));
for (const file of files) {
  try {
    const { width, height, channels, pixels, notes } = await readPicture(new Uint8Array(readFileSync(file)));
    const text = Buffer.from(pixels).toString("base64");
    console.log(JSON.stringify({ shape: [height, width, channels], pixels: text, notes }));
  } catch (error) {
    console.log(JSON.stringify({ problem: error.message }));
  }
}
