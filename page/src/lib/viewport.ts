/** An image that is zoomed and moved by mouse, fingers and keys. */

/** From image pixels to the canvas's own pixels. */
export interface View {
  scale: number;
  x: number;
  y: number;
}

const MAX_ZOOM = 24;
const STEP = 1.25;

export class Viewport {
  private zoom = 1; // of the view that shows the whole image
  private centre = { x: 0, y: 0 }; // of the canvas, in image pixels
  private size = { width: 1, height: 1 };
  private readonly fingers = new Map<number, { x: number; y: number }>();
  private waiting = false;

  /** @param draw paints the image and what lies on it. */
  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly draw: (context: CanvasRenderingContext2D, view: View, dense: number) => void,
  ) {
    canvas.addEventListener("pointerdown", (event) => {
      this.fingers.set(event.pointerId, this.placeOf(event));
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => this.drag(event));
    for (const name of ["pointerup", "pointercancel"] as const) {
      canvas.addEventListener(name, (event) => this.fingers.delete(event.pointerId));
    }
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("dblclick", (event) => this.zoomBy(2, this.placeOf(event)));
    canvas.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.redraw()).observe(canvas);
  }

  /** Show a new image as a whole. */
  show(width: number, height: number): void {
    this.size = { width, height };
    this.fit();
  }

  fit(): void {
    this.zoom = 1;
    this.centre = { x: this.size.width / 2, y: this.size.height / 2 };
    this.redraw();
  }

  /** Show a rectangle of the image in the middle, near enough to see it well. */
  focus(left: number, top: number, right: number, bottom: number): void {
    const { width, height } = this.canvas.getBoundingClientRect();
    const side = Math.max((right - left) / width, (bottom - top) / height, 1e-6);
    this.zoom = Math.min(Math.max(0.3 / side / this.whole(), 1), MAX_ZOOM);
    this.centre = { x: (left + right) / 2, y: (top + bottom) / 2 };
    this.redraw();
  }

  /** Zoom about a place on the canvas, its middle by default. */
  zoomBy(factor: number, place?: { x: number; y: number }): void {
    const { width, height } = this.canvas.getBoundingClientRect();
    const at = place ?? { x: width / 2, y: height / 2 };
    const before = this.whole() * this.zoom;
    this.zoom = Math.min(Math.max(this.zoom * factor, 1), MAX_ZOOM);
    const after = this.whole() * this.zoom;
    this.centre.x += (at.x - width / 2) * (1 / before - 1 / after);
    this.centre.y += (at.y - height / 2) * (1 / before - 1 / after);
    this.redraw();
  }

  redraw(): void {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => this.paint());
  }

  private paint(): void {
    this.waiting = false;
    const box = this.canvas.getBoundingClientRect();
    if (!box.width || !box.height) return; // on a tab that is not shown
    const dense = Math.min(devicePixelRatio || 1, 2);
    const width = Math.round(box.width * dense);
    const height = Math.round(box.height * dense);
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    this.clamp(box);
    this.canvas.classList.toggle("zoomed", this.zoom > 1.01); // else a finger scrolls the page
    const scale = this.whole() * this.zoom * dense;
    const view = { scale, x: width / 2 - this.centre.x * scale, y: height / 2 - this.centre.y * scale };
    const context = this.canvas.getContext("2d");
    if (!context) return;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    this.draw(context, view, dense);
  }

  /** CSS pixels of an image pixel where the whole image is shown. */
  private whole(): number {
    const { width, height } = this.canvas.getBoundingClientRect();
    return Math.min(width / this.size.width, height / this.size.height) || 1;
  }

  private clamp(box: DOMRect): void {
    const scale = this.whole() * this.zoom;
    const within = (value: number, whole: number, shown: number) => {
      const half = Math.min(shown / scale / 2, whole / 2);
      return Math.min(Math.max(value, half), whole - half);
    };
    this.centre.x = within(this.centre.x, this.size.width, box.width);
    this.centre.y = within(this.centre.y, this.size.height, box.height);
  }

  private placeOf(event: MouseEvent): { x: number; y: number } {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  private drag(event: PointerEvent): void {
    const before = this.fingers.get(event.pointerId);
    if (!before) return;
    const now = this.placeOf(event);
    const others = [...this.fingers].filter(([id]) => id !== event.pointerId);
    const share = others.length ? 0.5 : 1;
    if (others.length) {
      const [, other] = others[0];
      const span = (place: { x: number; y: number }) => Math.max(Math.hypot(place.x - other.x, place.y - other.y), 10);
      this.zoomBy(span(now) / span(before), { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
    }
    this.move((before.x - now.x) * share, (before.y - now.y) * share);
    this.fingers.set(event.pointerId, now);
  }

  private move(x: number, y: number): void {
    const scale = this.whole() * this.zoom;
    this.centre.x += x / scale;
    this.centre.y += y / scale;
    this.redraw();
  }

  private wheel(event: WheelEvent): void {
    if (event.deltaY > 0 && this.zoom <= 1) return; // the page scrolls
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === 1 ? 30 : event.deltaMode === 2 ? 600 : 1);
    this.zoomBy(Math.exp(-Math.max(-300, Math.min(300, pixels)) / 400), this.placeOf(event));
  }

  private key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const steps: Record<string, [number, number]> = { ArrowLeft: [-40, 0], ArrowRight: [40, 0], ArrowUp: [0, -40], ArrowDown: [0, 40] };
    const step = steps[event.key];
    if (step && this.zoom > 1) this.move(...step);
    else if (event.key === "+" || event.key === "=") this.zoomBy(STEP);
    else if (event.key === "-" || event.key === "_") this.zoomBy(1 / STEP);
    else if (event.key === "0" || event.key === "Home") this.fit();
    else return;
    event.preventDefault();
  }
}
