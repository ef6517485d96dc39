/** The page: tabs, colours, offline use. */

import { filesOf, loadPageData, ofTask, type PageData, weightsOf } from "./lib/bundles.ts";
import { find, make, messageOf } from "./lib/dom.ts";
import { Engine } from "./lib/engine.ts";
import { defectsTab } from "./tabs/defects.ts";
import { jawTab } from "./tabs/jaw.ts";
import { radiographTab } from "./tabs/radiograph/tab.ts";
import type { Page, Tab } from "./tabs/tab.ts";
import { teethTab } from "./tabs/teeth.ts";

const TABS: Tab[] = [radiographTab, teethTab, defectsTab, jawTab];
const THEMES = ["auto", "light", "dark"] as const;

const named = () => TABS.find(({ id }) => `#${id}` === location.hash) ?? TABS[0];

/** Bind the tabs, and return when the first one has its result. */
async function bindTabs(page: Page): Promise<void> {
  const opened = new Set<string>();
  const buttons = TABS.map((tab) => find<HTMLButtonElement>(document, `#tab-${tab.id}`));
  const show = async (tab: Tab) => {
    TABS.forEach(({ id }, i) => {
      const isShown = id === tab.id;
      find(document, `#${id}`).hidden = !isShown;
      buttons[i].setAttribute("aria-selected", String(isShown));
      buttons[i].tabIndex = isShown ? 0 : -1;
    });
    if (opened.has(tab.id)) return;
    opened.add(tab.id);
    try {
      await tab.open(find(document, `#${tab.id}`), page);
    } catch (error) {
      complain(messageOf(error));
    }
  };
  const choose = (tab: Tab) => {
    history.replaceState(null, "", `#${tab.id}`);
    void show(tab);
  };
  TABS.forEach((tab, i) => {
    buttons[i].addEventListener("click", () => choose(tab));
    buttons[i].addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = (i + step + TABS.length) % TABS.length;
      buttons[next].focus();
      choose(TABS[next]);
    });
  });
  addEventListener("hashchange", () => void show(named()));
  await show(named());
}

function bindTheme(): void {
  const button = find<HTMLButtonElement>(document, "#theme");
  const set = (theme: (typeof THEMES)[number]) => {
    document.documentElement.dataset.theme = theme;
    button.textContent = theme.charAt(0).toUpperCase() + theme.slice(1);
    const what = theme === "auto" ? "Auto: the colours of the system" : `${button.textContent} colours`;
    button.setAttribute("aria-label", what);
  };
  let theme = THEMES.find((name) => name === localStorage.getItem("theme")) ?? "auto";
  set(theme);
  button.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    localStorage.setItem("theme", theme);
    set(theme);
  });
}

/** Keep all files of the page, and say when it needs no network any more. */
async function prepareOffline({ data, engine }: Page): Promise<void> {
  if (!("serviceWorker" in navigator) || !("caches" in window)) return;
  const said = find(document, "#offline");
  said.textContent = "Loading what it needs to work offline.";
  await navigator.serviceWorker.register("sw.js");
  await navigator.serviceWorker.ready;
  await engine.fetch([data.runtime, ...filesOf(data)]);
  said.textContent = "It now works offline.";
  document.documentElement.dataset.offline = "ready";
}

function listLicences(data: PageData): void {
  const items = data.bundles.map(({ id, licence }) => `${id}: ${licence}`);
  find(document, "#licences").append(make("span", {}, items.join("; ")));
}

function complain(text: string): void {
  const trouble = find(document, "#trouble");
  trouble.textContent = text;
  trouble.hidden = false;
}

async function start(): Promise<void> {
  bindTheme();
  const data = await loadPageData();
  const [first] = Object.values(ofTask(data, named().tasks[0])[0]?.files ?? {});
  const page: Page = { data, engine: new Engine(data.runtime, weightsOf(data), first ?? "") };
  listLicences(data);
  await bindTabs(page);
  await prepareOffline(page);
}

start().catch((error: unknown) => complain(messageOf(error)));
