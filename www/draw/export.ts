/** Charts as PNG and their tables as CSV. */

import { palette } from "./theme";

export type Cell = string | number;

/** RFC 4180, numbers with every digit. */
export function csv(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const cell = (value: Cell) => {
    const text = String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [head, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

export function save(name: string, blob: Blob): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // The download has its own hold on the blob once it began.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** The canvases of a view one under another, below its title and its takeaway. */
export async function png(figure: HTMLElement, title: string, takeaway: string): Promise<Blob> {
  const charts = [...figure.querySelectorAll<HTMLCanvasElement>("canvas[data-chart]")].filter((chart) => chart.width > 0);
  const colours = palette.value;
  const density = charts[0] === undefined ? 1 : charts[0].width / charts[0].clientWidth;
  const px = (rem: number) => rem * colours.rem * density;
  const margin = px(1.5);
  const width = Math.max(...charts.map((chart) => chart.width), px(20)) + 2 * margin;
  const page = document.createElement("canvas");
  const ctx = page.getContext("2d") as CanvasRenderingContext2D;
  const bold = `650 ${px(1.3)}px ${colours.sans}`;
  const normal = `400 ${px(1)}px ${colours.sans}`;
  ctx.font = normal;
  const lines = wrap(ctx, takeaway, width - 2 * margin);
  const head = margin + px(1.6) + lines.length * px(1.45) + px(1);
  page.width = width;
  page.height = head + charts.reduce((sum, chart) => sum + chart.height + px(0.75), 0) + margin;
  ctx.fillStyle = colours.paper;
  ctx.fillRect(0, 0, page.width, page.height);
  ctx.fillStyle = colours.ink;
  ctx.textBaseline = "top";
  ctx.font = bold;
  ctx.fillText(title, margin, margin);
  ctx.font = normal;
  lines.forEach((text, i) => ctx.fillText(text, margin, margin + px(2) + i * px(1.45)));
  let y = head;
  for (const chart of charts) {
    ctx.drawImage(chart, margin, y);
    y += chart.height + px(0.75);
  }
  return new Promise((resolve, reject) =>
    page.toBlob((blob) => (blob === null ? reject(new Error("the picture could not be encoded")) : resolve(blob)), "image/png"),
  );
}

function wrap(ctx: CanvasRenderingContext2D, text: string, width: number): string[] {
  const lines: string[] = [];
  let current = "";
  for (const word of text.split(" ")) {
    const longer = current === "" ? word : `${current} ${word}`;
    if (current !== "" && ctx.measureText(longer).width > width) {
      lines.push(current);
      current = word;
    } else current = longer;
  }
  return current === "" ? lines : [...lines, current];
}
