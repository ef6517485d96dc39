/** The tab of defects: several surfaces in, one image with the defects of all out. */

import { ofTask } from "../lib/bundles.ts";
import { find, make, messageOf, save } from "../lib/dom.ts";
import { drawValues, latest, pngOf } from "../lib/images.ts";
import type { Picture } from "../images/picture.ts";
import type { Page, Tab } from "./tab.ts";

const FIRST = [0, 2]; // that are on at first
const MOST = 4;

export const defectsTab: Tab = {
  id: "defects",
  tasks: ["superimposition"],
  async open(panel, page) {
    await new DefectsTab(panel, page).start();
  },
};

interface Surface {
  picture: Picture;
  button: HTMLButtonElement;
  weight: number;
}

class DefectsTab {
  private readonly overlay: string;
  private readonly canvas: HTMLCanvasElement;
  private surfaces: Surface[] = [];
  private readonly show = latest(() => this.draw());

  constructor(
    private readonly panel: HTMLElement,
    private readonly page: Page,
  ) {
    this.overlay = ofTask(page.data, "superimposition")[0]?.files.overlay ?? "";
    this.canvas = find<HTMLCanvasElement>(panel, "[data-result]");
    find(panel, "[data-save]").addEventListener("click", async () => save(await pngOf(this.canvas), "superimposed.png"));
  }

  async start(): Promise<void> {
    const paths = this.page.data.samples.defect;
    this.surfaces = await Promise.all(
      paths.map(async (path, i) => {
        const bytes = new Uint8Array(await (await fetch(path)).arrayBuffer());
        const label = { "aria-label": `Surface ${i + 1}`, "aria-pressed": String(FIRST.includes(i)) };
        const button = make("button", { type: "button", ...label }, make("img", { src: path, alt: "" }));
        const surface = { picture: await this.page.engine.read(bytes), button, weight: 1 };
        button.addEventListener("click", () => this.toggle(surface));
        return surface;
      }),
    );
    find(this.panel, "[data-surfaces]").append(...this.surfaces.map(({ button }) => button));
    this.update();
  }

  private chosen(): Surface[] {
    return this.surfaces.filter(({ button }) => button.getAttribute("aria-pressed") === "true");
  }

  private toggle(surface: Surface): void {
    const isOn = surface.button.getAttribute("aria-pressed") === "true";
    if (!isOn && this.chosen().length === MOST) return this.say(`At most ${MOST} surfaces at once.`);
    if (isOn && this.chosen().length === 2) return this.say("Two surfaces at least.");
    surface.button.setAttribute("aria-pressed", String(!isOn));
    this.update();
  }

  private update(): void {
    this.say("");
    const rows = this.chosen().map((surface) => {
      const input = make("input", { type: "range", min: "0.2", max: "2", step: "0.1", value: String(surface.weight) });
      const output = make("output", {}, surface.weight.toFixed(1));
      input.addEventListener("input", () => {
        surface.weight = Number(input.value);
        output.textContent = surface.weight.toFixed(1);
        void this.show();
      });
      const name = `Weight ${this.surfaces.indexOf(surface) + 1}`;
      return make("label", { className: "slider" }, name, input, output);
    });
    find(this.panel, "[data-weights]").replaceChildren(...rows);
    void this.show();
  }

  private async draw(): Promise<void> {
    const chosen = this.chosen();
    const { width, height, channels } = chosen[0].picture;
    const pixels = new Uint8Array(chosen.length * width * height * channels);
    chosen.forEach(({ picture }, i) => pixels.set(picture.pixels, i * picture.pixels.length));
    const weights = Float32Array.from(chosen, ({ weight }) => weight);
    try {
      const { image } = await this.page.engine.run(this.overlay, {
        images: { type: "uint8", dims: [chosen.length, height, width, channels], data: pixels },
        weights: { type: "float32", dims: [chosen.length], data: weights },
      });
      drawValues(this.canvas, image);
      this.panel.dataset.done = "yes";
    } catch (error) {
      this.say(messageOf(error));
    }
  }

  private say(text: string): void {
    find(this.panel, "[data-status]").textContent = text;
  }
}
