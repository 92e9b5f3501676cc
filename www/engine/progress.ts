/** Rate and time left, from what a load reports. */

import type { LoadProgress } from "./types";

/** Milliseconds that the rate is an average of. */
const WINDOW = 4000;
/** A rate from less than this is a guess. */
const LEAST = 500;

/** Passes progress on with the time since now, the rate of the last seconds and what is left at that rate. */
export function withRate(
  onProgress: ((progress: LoadProgress) => void) | undefined,
  now: () => number = () => performance.now(),
): (progress: LoadProgress) => void {
  const start = now();
  const seen: { time: number; loaded: number }[] = [];
  return (progress) => {
    const time = now();
    const { phase, loaded, total } = progress;
    if (seen.length > 0 && loaded < (seen.at(-1)?.loaded ?? 0)) seen.length = 0;
    seen.push({ time, loaded });
    while (seen.length > 2 && time - (seen[1]?.time ?? 0) > WINDOW) seen.shift();
    const [first] = seen;
    const elapsed = time - (first?.time ?? time);
    const rate = phase === "weights" && elapsed >= LEAST ? ((loaded - (first?.loaded ?? 0)) / elapsed) * 1000 : 0;
    onProgress?.({
      ...progress,
      time: time - start,
      ...(rate > 0 ? { rate, remaining: ((total - loaded) / rate) * 1000 } : {}),
    });
  };
}
