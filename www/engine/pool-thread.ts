/** One thread of the pool: see pool.ts. */

import { script } from "./glue";
import type { PoolRequest } from "./pool";

/** The kernels keep their buffers elsewhere; a multiple of 64 KiB. */
const STACK_SIZE = 1 << 18;

async function run({ module, memory }: PoolRequest): Promise<void> {
  const glue = await script();
  glue.initSync({ module, memory, thread_stack_size: STACK_SIZE });
  postMessage("ready");
  try {
    glue.runPoolThread();
  } catch (error) {
    glue.poolThreadFailed();
    throw error;
  }
}

addEventListener("message", (event: MessageEvent<PoolRequest>) => {
  // An exception must become an error event, which a rejection would not.
  run(event.data).catch((error: unknown) => {
    setTimeout(() => {
      throw error;
    });
  });
});
