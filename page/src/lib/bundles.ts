/** The released bundles that the page applies, as tools/page_data.py describes them. */

export type Task = "segmentation" | "detection" | "generation" | "superimposition" | "reconstruction";
export type Signature = "segment" | "detect" | "familiarity" | "decode" | "overlay" | "serve";

/** A part of familiarity: training images lie within `bound` of `centre`. */
export interface Part {
  centre: number;
  bound: number;
}

export interface Bundle {
  /** Name and tag, such as panoramic_unet.panoramic_teeth_v2. */
  id: string;
  task: Task;
  /** What it was trained on, and the licence of that. */
  data: string;
  licence: string;
  /** Paths of its ONNX files below the page, compressed with gzip. */
  files: Partial<Record<Signature, string>>;
  /** Path of the weights that these files share; null where there are none. */
  weights: string | null;
  /** Names of the classes 1..n; empty where there are none. */
  classes: string[];
  /** Whether these are FDI numbers of teeth. */
  teeth: boolean;
  /** Boxes with a lower score are not shown at first; null where there are none. */
  threshold: number | null;
  familiarity: Record<string, Part> | null;
  /** Length of the latent vector that `decode` takes; null where there is none. */
  latent: number | null;
  /** The latent values that change the image most, the most effective first. */
  sliders: number[];
}

/** data/page.json; all paths are below the page. */
export interface PageData {
  /** The WebAssembly of ONNX Runtime, compressed with gzip. */
  runtime: string;
  bundles: Bundle[];
  samples: Record<"radiograph" | "defect" | "view", string[]>;
  /** The viewer of jaws: dentalzoo/tasks/reconstruction/viewer.html in parts. */
  viewer: { style: string; script: string; body: string };
}

export async function loadPageData(): Promise<PageData> {
  const response = await fetch("data/page.json");
  if (!response.ok) throw new Error("The page is incomplete: data/page.json is missing.");
  return response.json();
}

/** All files of the bundles. */
export function filesOf(data: PageData): string[] {
  return data.bundles.flatMap(({ files, weights }) => [...Object.values(files), ...(weights ? [weights] : [])]);
}

/** The file of weights of each function that shares them with others. */
export function weightsOf(data: PageData): Record<string, string> {
  return Object.fromEntries(
    data.bundles.flatMap(({ files, weights }) => (weights ? Object.values(files).map((file) => [file, weights]) : [])),
  );
}

/** The bundles of a task, in the order of the page's data. */
export function ofTask(data: PageData, task: Task): Bundle[] {
  return data.bundles.filter((bundle) => bundle.task === task);
}
