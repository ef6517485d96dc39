/** The tab of radiographs: teeth outlined and numbered, findings boxed. */

import type { Picture } from "../../images/picture.ts";
import { boxesOf, type Box } from "../../lib/boxes.ts";
import { ofTask, type Bundle } from "../../lib/bundles.ts";
import { find, make, messageOf, save, sentence } from "../../lib/dom.ts";
import { asInput, type Engine } from "../../lib/engine.ts";
import { familiarityOf, verdictText, type Familiarity } from "../../lib/familiarity.ts";
import { Viewport, type View } from "../../lib/viewport.ts";
import type { Page, Tab } from "../tab.ts";
import { asImageData, cocoJson, maskPng, overlayPng } from "./files.ts";
import { colourOf, drawLayers, Mask, type Shown } from "./layers.ts";

type BoxLayerName = "numbers" | "findings";
type LayerName = "teeth" | BoxLayerName;

const LAYERS: Record<LayerName, { title: string; doing: string }> = {
  teeth: { title: "Teeth", doing: "Outlining the teeth" },
  findings: { title: "Findings", doing: "Looking for treatments" },
  numbers: { title: "Tooth numbers", doing: "Numbering the teeth" },
};
const NAMES = Object.keys(LAYERS) as LayerName[];
const LARGE = 16_000_000; // pixels, of a bitmap that a phone still draws

export const radiographTab: Tab = {
  id: "radiograph",
  tasks: ["segmentation", "detection"],
  async open(panel, page) {
    await new RadiographTab(panel, page).openSample(page.data.samples.radiograph[0]);
  },
};

/** What is known of the open radiograph. */
interface Result {
  name: string;
  picture: Picture;
  bitmap: ImageBitmap;
  mask: Mask | null;
  boxes: Record<BoxLayerName, Box[]>;
}

class RadiographTab {
  private readonly engine: Engine;
  private readonly viewport: Viewport;
  private readonly bundles: Record<LayerName, Bundle | undefined>;
  private readonly thresholds: Record<BoxLayerName, number>;
  private result: Result | null = null;
  private chosen: Box | null = null;
  private turn = 0; // of the latest image; older ones are given up

  constructor(
    private readonly panel: HTMLElement,
    private readonly page: Page,
  ) {
    this.engine = page.engine;
    const detectors = ofTask(page.data, "detection");
    this.bundles = {
      teeth: ofTask(page.data, "segmentation")[0],
      numbers: detectors.find((bundle) => bundle.teeth),
      findings: detectors.find((bundle) => !bundle.teeth),
    };
    this.thresholds = {
      numbers: this.bundles.numbers?.threshold ?? 0.5,
      findings: this.bundles.findings?.threshold ?? 0.5,
    };
    const canvas = find<HTMLCanvasElement>(panel, "[data-canvas]");
    this.viewport = new Viewport(canvas, (context, view, dense) => this.draw(context, view, dense));
    this.bindFiles();
    this.bindControls();
  }

  async openSample(path: string): Promise<void> {
    this.press(path);
    try {
      const response = await fetch(path);
      await this.openBytes(path.split("/").at(-1) ?? path, await response.arrayBuffer());
    } catch (error) {
      this.say("problem", messageOf(error));
    }
  }

  private async openFile(file: File): Promise<void> {
    this.press("");
    await this.openBytes(file.name, await file.arrayBuffer());
  }

  private async openBytes(name: string, bytes: ArrayBuffer): Promise<void> {
    const turn = ++this.turn;
    delete this.panel.dataset.done;
    this.say("problem", "");
    this.busy("Reading the image");
    try {
      const picture = await this.engine.read(new Uint8Array(bytes));
      if (turn !== this.turn) return;
      const bitmap = await bitmapOf(picture);
      this.result?.bitmap.close();
      this.result = { name, picture, bitmap, mask: null, boxes: { numbers: [], findings: [] } };
      this.chosen = null;
      find(this.panel, "[data-warnings]").replaceChildren(...picture.notes.map((note) => fileWarning(note)));
      find(this.panel, "[data-facts]").textContent = `${name}, ${picture.width} × ${picture.height} pixels`;
      find(this.panel, "[data-canvas]").setAttribute("aria-label", `The radiograph ${name}`);
      this.viewport.show(picture.width, picture.height);
      this.update();
      await this.analyse(turn, this.result);
      if (turn === this.turn) this.panel.dataset.done = name;
    } catch (error) {
      if (turn === this.turn) this.say("problem", `${name}: ${messageOf(error)}`);
    } finally {
      if (turn === this.turn) this.busy("");
    }
  }

  /** Apply the bundles one after the other; the results appear as they come. */
  private async analyse(turn: number, result: Result): Promise<void> {
    const input = { images: asInput(result.picture) };
    const began = performance.now();
    const empty = new Set<LayerName>(); // nothing was found where something always is
    this.say("status", "");
    for (const layer of NAMES) {
      const bundle = this.bundles[layer];
      const file = bundle?.files.segment ?? bundle?.files.detect;
      if (!bundle || !file) continue;
      this.busy(LAYERS[layer].doing);
      const values = await this.engine.run(file, input);
      if (turn !== this.turn) return;
      if (layer === "teeth") {
        result.mask = new Mask(values.mask.data as Uint8Array, result.picture.width, result.picture.height);
        if (!result.mask.area) empty.add(layer);
        const seconds = ((performance.now() - began) / 1000).toFixed(1);
        this.say("status", `Teeth outlined in ${seconds} s, in this browser.`);
      } else {
        result.boxes[layer] = boxesOf(values, bundle);
        const least = bundle.threshold ?? 0.5;
        if (bundle.teeth && !result.boxes[layer].some(({ score }) => score >= least)) empty.add(layer);
      }
      this.update();
    }
    this.busy("Comparing with the training images");
    for (const layer of NAMES) {
      const bundle = this.bundles[layer];
      if (!bundle?.familiarity || !bundle.files.familiarity) continue;
      const values = await this.engine.run(bundle.files.familiarity, input);
      if (turn !== this.turn) return;
      const known = familiarityOf(values, bundle.familiarity, empty.has(layer));
      if (known.reasons.length) find(this.panel, "[data-warnings]").append(foreignWarning(layer, known));
    }
  }

  // ---- what is shown ---------------------------------------------------------------------------

  private shown(): Shown {
    const isOn = (layer: LayerName) => find<HTMLInputElement>(this.panel, `[data-layer="${layer}"]`).checked;
    return {
      mask: isOn("teeth") ? (this.result?.mask ?? null) : null,
      opacity: Number(find<HTMLInputElement>(this.panel, "[data-opacity]").value) / 100,
      numbers: isOn("numbers") ? this.kept("numbers") : [],
      findings: isOn("findings") ? this.kept("findings") : [],
      chosen: this.chosen,
    };
  }

  /** The boxes of a layer above its threshold. */
  private kept(layer: BoxLayerName): Box[] {
    return (this.result?.boxes[layer] ?? []).filter(({ score }) => score >= this.thresholds[layer]);
  }

  private draw(context: CanvasRenderingContext2D, view: View, dense: number): void {
    if (!this.result) return;
    const { bitmap, picture } = this.result;
    context.imageSmoothingQuality = "high";
    context.imageSmoothingEnabled = view.scale < 4 * dense;
    context.drawImage(bitmap, view.x, view.y, picture.width * view.scale, picture.height * view.scale);
    const width = (view.scale * picture.width) / dense; // of the image, in CSS pixels
    const near = Math.min(Math.max(width / 900, 0.72), 1.5);
    const pen = { line: 1.5 * dense, letters: 11.5 * dense * near, brief: width < 600 };
    drawLayers(context, this.shown(), picture, view, pen);
  }

  private update(): void {
    const { result } = this;
    const findings = this.kept("findings");
    const numbers = this.kept("numbers");
    const area = result ? result.picture.width * result.picture.height : 1;
    const share = result?.mask ? `${((100 * result.mask.area) / area).toFixed(1)} % of the image` : "";
    const counts = { teeth: share, numbers: `${numbers.length}`, findings: `${findings.length}` };
    for (const layer of NAMES) {
      find(this.panel, `[data-count="${layer}"]`).textContent = result ? counts[layer] : "";
    }
    const items = findings.map((box) => this.findingItem(box));
    find(this.panel, '[data-list="findings"]').replaceChildren(...items);
    const listed = numbers.map(({ name }) => name).join(" ");
    find(this.panel, '[data-list="numbers"]').textContent = listed && `Teeth ${listed} (FDI)`;
    for (const button of this.panel.querySelectorAll<HTMLButtonElement>("[data-save]")) {
      button.disabled = !result?.mask;
    }
    this.viewport.redraw();
  }

  private findingItem(box: Box): HTMLLIElement {
    const swatch = make("span", { className: "swatch" });
    swatch.style.borderColor = colourOf(box);
    const button = make("button", { type: "button" }, swatch, box.name, make("output", {}, box.score.toFixed(2)));
    const point = (chosen: Box | null) => () => {
      this.chosen = chosen;
      this.viewport.redraw();
    };
    button.addEventListener("focus", point(box));
    button.addEventListener("blur", point(null));
    button.addEventListener("pointerenter", point(box));
    button.addEventListener("pointerleave", point(null));
    button.addEventListener("click", () => {
      if (!this.result) return;
      const { width, height } = this.result.picture;
      const [top, left, bottom, right] = box.edges;
      this.viewport.focus(left * width, top * height, right * width, bottom * height);
    });
    return make("li", {}, button);
  }

  private busy(doing: string): void {
    find(this.panel, "[data-busy]").hidden = !doing;
    find(this.panel, "[data-doing]").textContent = doing;
  }

  private say(where: "problem" | "status", text: string): void {
    const element = find(this.panel, `[data-${where}]`);
    element.textContent = text;
    element.hidden = !text;
  }

  private press(path: string): void {
    for (const button of this.panel.querySelectorAll<HTMLElement>("[data-path]")) {
      button.setAttribute("aria-pressed", String(button.dataset.path === path));
    }
  }

  // ---- controls --------------------------------------------------------------------------------

  private bindFiles(): void {
    const input = find<HTMLInputElement>(this.panel, "[data-file]");
    const room = find(this.panel, "[data-room]");
    find(this.panel, "[data-open]").addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      const [file] = input.files ?? [];
      if (file) void this.openFile(file);
      input.value = ""; // the same file can be chosen again
    });
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      room.classList.toggle("dragging", !this.panel.hidden);
    });
    document.addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) room.classList.remove("dragging");
    });
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      room.classList.remove("dragging");
      const [file] = event.dataTransfer?.files ?? [];
      if (file && !this.panel.hidden) void this.openFile(file);
    });
    const samples = this.page.data.samples.radiograph.map((path, i) => {
      const image = make("img", { src: path, alt: "" });
      const button = make(
        "button",
        { type: "button", "aria-pressed": "false", "aria-label": `Synthetic sample ${i + 1}` },
        image,
      );
      button.dataset.path = path;
      button.addEventListener("click", () => void this.openSample(path));
      return button;
    });
    find(this.panel, "[data-samples]").append(...samples);
  }

  private bindControls(): void {
    const opacity = find<HTMLInputElement>(this.panel, "[data-opacity]");
    opacity.addEventListener("input", () => {
      find(this.panel, "[data-opacity-value]").textContent = `${opacity.value} %`;
      this.viewport.redraw();
    });
    for (const layer of ["numbers", "findings"] as const) {
      const slider = find<HTMLInputElement>(this.panel, `[data-confidence="${layer}"]`);
      const shown = find(this.panel, `[data-confidence-value="${layer}"]`);
      slider.value = String(Math.round(100 * this.thresholds[layer]));
      shown.textContent = this.thresholds[layer].toFixed(2);
      slider.addEventListener("input", () => {
        this.thresholds[layer] = Number(slider.value) / 100;
        shown.textContent = this.thresholds[layer].toFixed(2);
        this.update();
      });
    }
    for (const box of this.panel.querySelectorAll("[data-layer]")) {
      box.addEventListener("change", () => this.viewport.redraw());
    }
    for (const button of this.panel.querySelectorAll<HTMLElement>("[data-zoom]")) {
      button.addEventListener("click", () => {
        if (button.dataset.zoom === "fit") this.viewport.fit();
        else this.viewport.zoomBy(button.dataset.zoom === "in" ? 1.5 : 1 / 1.5);
      });
    }
    for (const button of this.panel.querySelectorAll<HTMLElement>("[data-save]")) {
      button.addEventListener("click", () => void this.saveAs(button.dataset.save ?? ""));
    }
  }

  private async saveAs(kind: string): Promise<void> {
    if (!this.result?.mask) return;
    const { name, picture, mask } = this.result;
    const stem = name.replace(/\.[^.]*$/, "");
    try {
      if (kind === "overlay") save(await overlayPng(picture, this.shown()), `${stem}_overlay.png`);
      else if (kind === "mask") save(maskPng(mask), `${stem}.png`);
      else {
        const layers = (["findings", "numbers"] as const).flatMap((layer) => {
          const bundle = this.bundles[layer];
          return bundle ? [{ bundle, boxes: this.kept(layer) }] : [];
        });
        save(cocoJson(name, picture, mask, layers), `${stem}_coco.json`);
      }
    } catch (error) {
      this.say("problem", messageOf(error));
    }
  }
}

async function bitmapOf(picture: Picture): Promise<ImageBitmap> {
  const data = asImageData(picture);
  const shrink = Math.sqrt(LARGE / (picture.width * picture.height));
  if (shrink >= 1) return createImageBitmap(data);
  return createImageBitmap(data, { resizeWidth: Math.round(picture.width * shrink), resizeQuality: "high" });
}

function fileWarning(note: string): HTMLElement {
  return make("p", { className: "warning" }, make("strong", {}, "File: "), note);
}

function foreignWarning(layer: LayerName, known: Familiarity): HTMLElement {
  const [first, ...others] = known.reasons;
  const items = others.map((reason) => make("li", {}, sentence(reason)));
  return make(
    "details",
    { className: `warning ${known.verdict}` },
    make("summary", {}, make("strong", {}, `${LAYERS[layer].title}: `), `${verdictText(known)}. ${sentence(first)}.`),
    ...(items.length ? [make("ul", {}, ...items)] : []),
    make("p", {}, `Familiarity score ${known.score.toFixed(2)}, bound 1.`),
  );
}
