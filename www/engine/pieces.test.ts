import { describe, expect, test } from "vitest";
import { Pieces } from "./pieces";

/** The pieces that a prompt is read in, and the times of its steps, where a token takes so many milliseconds in a layer. */
function read(pieces: Pieces, tokens: number, layers: number, cost: number): { sizes: number[]; steps: number[] } {
  const sizes: number[] = [];
  const steps: number[] = [];
  for (let left = tokens; left > 0; ) {
    const size = pieces.next(left);
    sizes.push(size);
    for (let layer = 0; layer < layers; ) {
      const step = Math.min(pieces.layers(size), layers - layer);
      steps.push(size * step * cost);
      pieces.took(size * step * cost, size, step);
      layer += step;
    }
    left -= size;
  }
  return { sizes, steps };
}

describe("pieces of a prompt", () => {
  test("are at least as large as the kernels want, and miss no token", () => {
    for (const parameters of [1e3, 1.4e7, 1.1e9, 1e11]) {
      for (const cost of [0, 0.001, 0.1, 3, 100]) {
        const pieces = new Pieces(4, parameters, 22);
        for (const tokens of [4, 5, 7, 8, 63, 64, 65, 66, 67, 68, 200, 1001]) {
          const { sizes } = read(pieces, tokens, 22, cost);
          expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(tokens);
          expect(Math.min(...sizes)).toBeGreaterThanOrEqual(4);
          expect(Math.max(...sizes)).toBeLessThanOrEqual(Pieces.LARGEST);
        }
      }
    }
    expect(read(new Pieces(4, 1e6, 8), 3, 8, 1).sizes).toEqual([3]);
    // A prompt that must be read at once is one piece of steps.
    expect(new Pieces(4, 1e6, 8).layers(1000)).toBe(1);
  });

  test("are as large as one layer allows, in steps as long as there is time", () => {
    const pieces = new Pieces(4, 1.1e9, 22);
    expect(pieces.first).toBe(4);
    const large = read(pieces, 400, 22, 1.5);
    expect(large.sizes.slice(0, 3)).toEqual([4, 52, 52]);
    expect(Math.max(...large.steps)).toBeLessThanOrEqual(80);
    const small = new Pieces(4, 1.4e7, 8);
    read(small, 64, 8, 0.05);
    expect(small.next(1000)).toBe(64);
    expect(small.layers(64)).toBe(8);
    expect(small.nextWhole(1000)).toBe(64);
    // Something else takes the machine: what follows is adapted at once.
    small.took(640, 64, 8);
    expect(small.next(1000)).toBe(64);
    expect(small.layers(64)).toBe(1);
    expect(small.nextWhole(1000)).toBe(8);
  });

  test("a short end of a prompt does not make the next one slow", () => {
    const pieces = new Pieces(4, 1.4e7, 8);
    read(pieces, 1000, 8, 0.1);
    pieces.took(40, 4, 8);
    expect(pieces.layers(64)).toBe(8);
  });
});
