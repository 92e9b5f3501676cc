/** Movement between two values, for what moves in the idea itself; without it the end is shown at once. */

import { useEffect, useRef, useState } from "preact/hooks";
import { motionAllowed } from "../app/motion";

const MILLISECONDS = 260;

/** Follows `target`, easing out. */
export function useTween(target: number): number {
  const [shown, setShown] = useState(target);
  const from = useRef(target);
  from.current = shown;
  useEffect(() => {
    if (from.current === target) return;
    if (!motionAllowed() || !Number.isFinite(from.current)) {
      setShown(target);
      return;
    }
    const start = from.current;
    const began = performance.now();
    let frame = requestAnimationFrame(function step(now) {
      const t = Math.min(1, (now - began) / MILLISECONDS);
      setShown(t === 1 ? target : start + (target - start) * (1 - (1 - t) ** 3));
      if (t < 1) frame = requestAnimationFrame(step);
    });
    return () => cancelAnimationFrame(frame);
  }, [target]);
  // What was not there before has nothing to move from.
  return Number.isFinite(shown) ? shown : target;
}
