/** A chart on a canvas: sharp on every screen, in the page's colours, reachable by keyboard. */

import type { CanvasHTMLAttributes, JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { palette, type Palette } from "./theme";

export interface Drawing {
  ctx: CanvasRenderingContext2D;
  /** CSS pixels. */
  width: number;
  height: number;
  colours: Palette;
  /** Sets the font; `size` in rem. */
  font: (size?: number, options?: { mono?: boolean; weight?: number }) => void;
  text: (
    text: string,
    x: number,
    y: number,
    options?: { colour?: string; align?: CanvasTextAlign; baseline?: CanvasTextBaseline; halo?: boolean; most?: number },
  ) => void;
}

export interface Point {
  x: number;
  y: number;
  width: number;
  height: number;
  phase: "hover" | "down" | "drag" | "up" | "leave";
}

interface SliderRole {
  value: number;
  min: number;
  max: number;
  step?: number;
  /** Page Up and Page Down. */
  page?: number;
  /** What Up and Down do, where they are not the same as Right and Left. */
  row?: number;
  text: string;
  onChange: (value: number) => void;
}

interface CanvasProps {
  /** What a screen reader says of the chart, or of the value that is set on it. */
  label: string;
  /** CSS pixels, from the width. */
  height: (width: number, rem: number) => number;
  draw: (drawing: Drawing) => void;
  /** Makes the chart a slider: it takes the focus and the arrow keys. */
  slider?: SliderRole;
  onPoint?: (point: Point) => void;
  cursor?: string;
  /** Stands in the name of exported pictures. */
  name?: string;
}

export function Canvas(props: CanvasProps): JSX.Element {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [width, setWidth] = useState(0);
  const held = useRef(false);
  const colours = palette.value;
  const height = Math.round(props.height(width, colours.rem));

  useEffect(() => {
    const box = canvas.current?.parentElement;
    if (box == null) return;
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry?.contentRect.width ?? 0)));
    observer.observe(box);
    return () => observer.disconnect();
  }, []);

  useLayoutEffect(() => {
    const element = canvas.current;
    if (element === null || width === 0) return;
    const density = Math.min(devicePixelRatio, 3);
    paint(element, width, height, density, colours, props.draw);
  });

  const point = (event: PointerEvent, phase: Point["phase"]) => {
    const box = (event.currentTarget as HTMLCanvasElement).getBoundingClientRect();
    props.onPoint?.({ x: event.clientX - box.left, y: event.clientY - box.top, width, height, phase });
  };
  const { slider } = props;
  const role: CanvasHTMLAttributes<HTMLCanvasElement> =
    slider === undefined
      ? { role: "img", "aria-label": props.label }
      : {
          role: "slider",
          tabIndex: 0,
          "aria-label": props.label,
          "aria-valuemin": slider.min,
          "aria-valuemax": slider.max,
          "aria-valuenow": slider.value,
          "aria-valuetext": slider.text,
          onKeyDown: (event) => {
            const next = byKey(event.key, slider);
            if (next === null || event.ctrlKey || event.metaKey || event.altKey) return;
            event.preventDefault();
            slider.onChange(Math.min(slider.max, Math.max(slider.min, next)));
          },
        };
  const listens = props.onPoint !== undefined;
  return (
    <div class="canvas-box">
      <canvas
        ref={canvas}
        data-chart={props.name ?? ""}
        class={listens ? "takes-pointer" : ""}
        style={{ width: width === 0 ? "100%" : `${width}px`, height: `${height}px`, cursor: props.cursor ?? "" }}
        {...role}
        {...(listens
          ? {
              onPointerDown: (event: PointerEvent) => {
                if (event.button !== 0) return;
                held.current = true;
                (event.currentTarget as HTMLCanvasElement).setPointerCapture(event.pointerId);
                point(event, "down");
              },
              onPointerMove: (event: PointerEvent) => point(event, held.current ? "drag" : "hover"),
              onPointerUp: (event: PointerEvent) => {
                if (held.current) point(event, "up");
                held.current = false;
              },
              onPointerCancel: () => (held.current = false),
              onPointerLeave: (event: PointerEvent) => {
                if (!held.current) point(event, "leave");
              },
            }
          : {})}
      />
    </div>
  );
}

function byKey(key: string, slider: SliderRole): number | null {
  const step = slider.step ?? 1;
  const page = slider.page ?? step * 10;
  const { value } = slider;
  switch (key) {
    case "ArrowRight":
      return value + step;
    case "ArrowLeft":
      return value - step;
    case "ArrowUp":
      return value + (slider.row === undefined ? step : -slider.row);
    case "ArrowDown":
      return value - (slider.row === undefined ? step : -slider.row);
    case "PageUp":
      return value + page;
    case "PageDown":
      return value - page;
    case "Home":
      return slider.min;
    case "End":
      return slider.max;
    default:
      return null;
  }
}

export function paint(
  element: HTMLCanvasElement,
  width: number,
  height: number,
  density: number,
  colours: Palette,
  draw: (drawing: Drawing) => void,
): void {
  const [w, h] = [Math.round(width * density), Math.round(height * density)];
  // Setting a size clears the canvas and costs a new buffer, so only when it changes.
  if (element.width !== w) element.width = w;
  if (element.height !== h) element.height = h;
  const ctx = element.getContext("2d");
  if (ctx === null) return;
  ctx.setTransform(density, 0, 0, density, 0, 0);
  ctx.clearRect(0, 0, width, height);
  draw(drawing(ctx, width, height, colours));
}

function drawing(ctx: CanvasRenderingContext2D, width: number, height: number, colours: Palette): Drawing {
  const font: Drawing["font"] = (size = 0.8, { mono = false, weight = 400 } = {}) => {
    ctx.font = `${weight} ${size * colours.rem}px ${mono ? colours.mono : colours.sans}`;
  };
  const text: Drawing["text"] = (words, x, y, options = {}) => {
    ctx.textAlign = options.align ?? "left";
    ctx.textBaseline = options.baseline ?? "alphabetic";
    if (options.halo === true) {
      ctx.lineWidth = 4;
      ctx.lineJoin = "round";
      ctx.strokeStyle = colours.paper;
      ctx.strokeText(words, x, y, options.most);
    }
    ctx.fillStyle = options.colour ?? colours.ink;
    ctx.fillText(words, x, y, options.most);
  };
  font();
  return { ctx, width, height, colours, font, text };
}
