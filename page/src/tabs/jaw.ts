/** The tab of jaws: ten views in, 50,000 points out, shown by the viewer of `dentalzoo predict`. */

import type { Picture } from "../images/picture.ts";
import { ofTask, type PageData } from "../lib/bundles.ts";
import { find, make, messageOf, save } from "../lib/dom.ts";
import type { Page, Tab } from "./tab.ts";

const STEPS = 32767; // of a coordinate, to either side of 0; dentalzoo/tasks/reconstruction/viewer.py

export const jawTab: Tab = {
  id: "jaw",
  tasks: ["reconstruction"],
  async open(panel, page) {
    await new JawTab(panel, page).start();
  },
};

interface ShownView {
  picture: Picture;
  button: HTMLButtonElement;
}

class JawTab {
  private readonly serve: string;
  private views: ShownView[] = [];
  private points: Float32Array | null = null;

  constructor(
    private readonly panel: HTMLElement,
    private readonly page: Page,
  ) {
    this.serve = ofTask(page.data, "reconstruction")[0]?.files.serve ?? "";
    find(panel, "[data-again]").addEventListener("click", () => void this.reconstruct());
    find(panel, "[data-save]").addEventListener("click", () => {
      if (this.points) save(plyOf(this.points), "jaw.ply");
    });
  }

  async start(): Promise<void> {
    this.views = await Promise.all(
      this.page.data.samples.view.map(async (path, i) => {
        const bytes = new Uint8Array(await (await fetch(path)).arrayBuffer());
        const label = { "aria-label": `View ${i + 1}`, "aria-pressed": "true" };
        const button = make("button", { type: "button", ...label }, make("img", { src: path, alt: "" }));
        button.addEventListener("click", () => {
          const isOn = button.getAttribute("aria-pressed") === "true";
          if (isOn && this.views.filter(isShown).length === 1) return this.say("One view at least.");
          button.setAttribute("aria-pressed", String(!isOn));
          return this.say("");
        });
        return { picture: await this.page.engine.read(bytes), button };
      }),
    );
    find(this.panel, "[data-views]").append(...this.views.map(({ button }) => button));
    await this.reconstruct();
  }

  private async reconstruct(): Promise<void> {
    const again = find<HTMLButtonElement>(this.panel, "[data-again]");
    again.disabled = true;
    try {
      this.busy("Reconstructing the jaw");
      const began = performance.now();
      const { width, height, channels } = this.views[0].picture;
      const pixels = new Uint8Array(this.views.length * width * height * channels);
      this.views.forEach((view, i) => {
        if (isShown(view)) pixels.set(view.picture.pixels, i * view.picture.pixels.length);
      });
      const dims = [1, this.views.length, height, width, channels];
      const { points } = await this.page.engine.run(this.serve, { views: { type: "uint8", dims, data: pixels } });
      await this.page.engine.free(this.serve); // the largest of the bundles
      const seconds = ((performance.now() - began) / 1000).toFixed(1);
      this.points = points.data as Float32Array;
      this.busy("Preparing the points");
      const frame = find<HTMLIFrameElement>(this.panel, "[data-viewer]");
      frame.srcdoc = viewerOf(this.page.data.viewer, this.points, await this.page.engine.normals(this.points));
      frame.hidden = false;
      find<HTMLButtonElement>(this.panel, "[data-save]").disabled = false;
      this.say(`${(this.points.length / 3).toLocaleString("en")} points in ${seconds} s, in this browser.`);
      this.panel.dataset.done = "yes";
    } catch (error) {
      this.say(messageOf(error));
    } finally {
      again.disabled = false;
      this.busy("");
    }
  }

  private busy(doing: string): void {
    find(this.panel, "[data-busy]").hidden = !doing;
    find(this.panel, "[data-doing]").textContent = doing;
  }

  private say(text: string): void {
    find(this.panel, "[data-status]").textContent = text;
  }
}

const isShown = ({ button }: ShownView) => button.getAttribute("aria-pressed") === "true";

/** The page of the viewer, with points and normals packed as dentalzoo's own pages have them. */
function viewerOf(viewer: PageData["viewer"], points: Float32Array, normals: Float32Array): string {
  const low = [Infinity, Infinity, Infinity];
  const high = [-Infinity, -Infinity, -Infinity];
  points.forEach((value, i) => {
    low[i % 3] = Math.min(low[i % 3], value);
    high[i % 3] = Math.max(high[i % 3], value);
  });
  const half = Math.max(...high.map((end, axis) => (end - low[axis]) / 2));
  const step = half / STEPS || 1;
  const positions = Int16Array.from(points, (value, i) => Math.round((value - (low[i % 3] + high[i % 3]) / 2) / step));
  const surface = new Int8Array((points.length / 3) * 4);
  normals.forEach((value, i) => (surface[Math.floor(i / 3) * 4 + (i % 3)] = Math.round(value * 127)));
  const part = { label: "Reconstruction", positions: textOf(positions), surface: textOf(surface), faces: null };
  const data = { limit: 1, ramp: [[0, 0, 0], [0, 0, 0], [0, 0, 0]], step, parts: [part] };
  const texts: Record<string, string> = {
    name: "Reconstructed jaw",
    facts: `${(points.length / 3).toLocaleString("en")} points.`,
    limit: "1",
  };
  const body = viewer.body.replace(/\{\{(\w+)\}\}/g, (_, key: string) => texts[key] ?? "");
  const base = new URL(".", location.href).href;
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Jaw</title>
    <link rel="stylesheet" href="${base}${viewer.style}"></head><body>${body}
    <script type="application/json" id="data">${JSON.stringify(data)}</script>
    <script src="${base}${viewer.script}"></script></body></html>`;
}

function textOf(array: Int16Array | Int8Array): string {
  const bytes = new Uint8Array(array.buffer);
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}

/** Points in mm as a PLY file. */
function plyOf(points: Float32Array): Blob {
  const names = ["x", "y", "z"].map((axis) => `property float ${axis}\n`).join("");
  const head = `ply\nformat binary_little_endian 1.0\ncomment dentalzoo, research only, not for diagnosis\nelement vertex ${points.length / 3}\n${names}end_header\n`;
  return new Blob([head, points.slice()]);
}
