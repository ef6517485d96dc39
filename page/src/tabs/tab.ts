/** The seam between the page and its tabs: a task's bundles -> what a visitor does with them. */

import type { PageData, Task } from "../lib/bundles.ts";
import type { Engine } from "../lib/engine.ts";

export interface Tab {
  /** The id of its panel in index.html, and of its address: #radiograph. */
  id: string;
  /** The tasks whose bundles it applies, the most important first. */
  tasks: Task[];
  /** Called once, when the tab is shown for the first time. */
  open(panel: HTMLElement, page: Page): void | Promise<void>;
}

/** What all tabs share. */
export interface Page {
  data: PageData;
  engine: Engine;
}
