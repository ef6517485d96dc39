/** The tab of new teeth: the decoder of tooth_vae, moved by latent values. */

import { ofTask } from "../lib/bundles.ts";
import { find, make, messageOf, save } from "../lib/dom.ts";
import { drawValues, latest, pngOf } from "../lib/images.ts";
import type { Page, Tab } from "./tab.ts";

const OTHERS = 12;
const LIMIT = 3; // standard deviations of the prior

export const teethTab: Tab = {
  id: "teeth",
  tasks: ["generation"],
  async open(panel, page) {
    await new TeethTab(panel, page).start();
  },
};

class TeethTab {
  private readonly decode: string;
  private readonly size: number;
  private readonly sliders: HTMLInputElement[] = [];
  private readonly canvas: HTMLCanvasElement;
  private z: Float32Array;
  private others: Float32Array[] = [];
  private readonly show = latest(() => this.draw());

  constructor(
    private readonly panel: HTMLElement,
    private readonly page: Page,
  ) {
    const [bundle] = ofTask(page.data, "generation");
    this.decode = bundle?.files.decode ?? "";
    this.size = bundle?.latent ?? 0;
    this.z = new Float32Array(this.size);
    this.canvas = find<HTMLCanvasElement>(panel, "[data-tooth]");
    for (const index of bundle?.sliders ?? []) this.addSlider(index);
    find(panel, "[data-draw]").addEventListener("click", () => void this.drawOthers());
    find(panel, "[data-mean]").addEventListener("click", () => this.choose(new Float32Array(this.size)));
    find(panel, "[data-save]").addEventListener("click", async () => save(await pngOf(this.canvas), "tooth.png"));
  }

  async start(): Promise<void> {
    await this.drawOthers();
    this.choose(this.others[0]);
  }

  private addSlider(index: number): void {
    const input = make("input", { type: "range", min: `${-LIMIT}`, max: `${LIMIT}`, step: "0.1", value: "0" });
    input.dataset.index = String(index);
    const output = make("output", {}, "0.0");
    input.addEventListener("input", () => {
      this.z[index] = Number(input.value);
      output.textContent = this.z[index].toFixed(1);
      void this.show();
    });
    this.sliders.push(input);
    find(this.panel, "[data-sliders]").append(make("label", { className: "slider" }, `Value ${index + 1}`, input, output));
  }

  private choose(z: Float32Array): void {
    this.z = z.slice();
    for (const input of this.sliders) {
      const value = this.z[Number(input.dataset.index)];
      input.value = String(value);
      const output = input.nextElementSibling;
      if (output) output.textContent = value.toFixed(1);
    }
    const buttons = this.panel.querySelectorAll("[data-strip] button");
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(this.others[i] === z)));
    void this.show();
  }

  private async draw(): Promise<void> {
    try {
      const z = { type: "float32" as const, dims: [1, this.size], data: this.z.slice() };
      const { image } = await this.page.engine.run(this.decode, { z });
      drawValues(this.canvas, image);
      this.panel.dataset.done = "yes";
    } catch (error) {
      this.say(messageOf(error));
    }
  }

  private async drawOthers(): Promise<void> {
    this.say("Drawing teeth …");
    this.others = Array.from({ length: OTHERS }, () => Float32Array.from({ length: this.size }, normal));
    const data = new Float32Array(OTHERS * this.size);
    this.others.forEach((z, i) => data.set(z, i * this.size));
    try {
      const z = { type: "float32" as const, dims: [OTHERS, this.size], data };
      const { image } = await this.page.engine.run(this.decode, { z });
      const buttons = this.others.map((other, i) => {
        const canvas = make("canvas", { width: 128, height: 128 });
        drawValues(canvas, image, i);
        const label = { "aria-label": `Tooth ${i + 1}`, "aria-pressed": "false" };
        const button = make("button", { type: "button", ...label }, canvas);
        button.addEventListener("click", () => this.choose(other));
        return button;
      });
      find(this.panel, "[data-strip]").replaceChildren(...buttons);
      this.say("");
    } catch (error) {
      this.say(messageOf(error));
    }
  }

  private say(text: string): void {
    find(this.panel, "[data-status]").textContent = text;
  }
}

/** A standard normal number (Box & Muller, 1958). */
function normal(): number {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}
