/**
 * The worker and one build inside the script itself, for bundlers that copy no files beside it. Only the npm package
 * has them: its build puts another file in this one's place.
 */

export interface Inline {
  /** The worker's script. */
  worker: string;
  /** The "simd128" build, compressed with gzip, in base64. */
  wasm: string;
}

export async function inline(): Promise<Inline | null> {
  return null;
}
