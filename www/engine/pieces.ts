/** How a prompt is divided, so that an abort is answered in good time: into pieces of tokens, each computed in steps of layers. */

/** Milliseconds that a step may take: less than half of what an abort may take. */
const TIME = 80;
/** More tokens at once are hardly faster per token. */
const MOST = 64;
/** Weights times tokens that even a slow machine multiplies in that time, until something was measured. */
const FIRST_WORK = 2e8;

/**
 * Pieces of at least `least` tokens all give the same bits (from there on a product is computed in one way, however
 * many tokens it has), and steps always do, so what is measured here decides about time alone.
 */
export class Pieces {
  /** No piece is larger, with a rest that is too small to be one: scratch memory is planned for it. */
  static readonly LARGEST = MOST + 8;

  /** Tokens of a piece before anything was measured, for sums whose last bits would show the division. */
  readonly first: number;
  readonly #least: number;
  readonly #layers: number;
  /** Milliseconds that a token takes in a layer. */
  #cost: number;

  /** `least` is the engine's own number, at most 8. */
  constructor(least: number, parameters: number, layers: number) {
    this.#least = least;
    this.#layers = layers;
    this.#cost = (TIME * parameters) / (FIRST_WORK * layers);
    this.first = this.#fitting(layers);
  }

  /** Tokens of the next piece when so many are left: never so many that the rest would be too small to be a piece. */
  next(left: number): number {
    return this.#piece(left, 1);
  }

  /** The same for a piece whose layers are computed at once. */
  nextWhole(left: number): number {
    return this.#piece(left, this.#layers);
  }

  /** Layers of the next step of a piece of so many tokens. */
  layers(tokens: number): number {
    return Math.max(1, Math.min(this.#layers, Math.floor(TIME / (tokens * this.#cost))));
  }

  /** Takes note of how long a step took; without `layers` it was a whole piece. */
  took(milliseconds: number, tokens: number, layers = this.#layers): void {
    // A clock may stand still, and few tokens say little about many: they cost more each.
    const cost = Math.max(milliseconds / (tokens * layers), this.#cost / 4);
    if (tokens >= this.#fitting(1) || cost < this.#cost) this.#cost = cost;
  }

  #piece(left: number, layers: number): number {
    const size = this.#fitting(layers);
    return left < size + this.#least ? left : size;
  }

  /** Tokens that go through so many layers in time, in whole groups of `least`, in which the kernels work. */
  #fitting(layers: number): number {
    const groups = Math.floor(TIME / (layers * this.#cost * this.#least));
    return Math.max(this.#least, Math.min(MOST, groups * this.#least));
  }
}
