/** What goes wrong in a worker, in a form that can be posted. */

import type { ErrorCode } from "./errors";
import type { PostedError } from "./protocol";

/** After a trap the module's state is unknown; nothing of it may be used again. */
export function isTrap(error: unknown): boolean {
  return error instanceof WebAssembly.RuntimeError || error instanceof RangeError;
}

export function trapReason(error: unknown): string {
  const panic: unknown = (globalThis as { nibblamaPanic?: unknown }).nibblamaPanic;
  const detail = typeof panic === "string" ? panic : error instanceof Error ? error.message : String(error);
  return `the engine stopped unexpectedly: ${detail}`;
}

export function posted(error: unknown): PostedError {
  if (error instanceof Error && "code" in error && "reason" in error) {
    const { code, reason, file, tensor, expected, found } = error as Error & PostedError;
    return {
      code,
      reason,
      ...(file === undefined ? {} : { file }),
      ...(tensor === undefined ? {} : { tensor }),
      ...(expected === undefined ? {} : { expected }),
      ...(found === undefined ? {} : { found }),
    };
  }
  const code: ErrorCode = "crashed";
  return { code, reason: error instanceof Error ? error.message : String(error) };
}
