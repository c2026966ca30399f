/**
 * How often something goes before it is left alone for a while; and for how many looks at most, as a power of 2: twice as
 * many each time.
 */
const PATIENT_DROPS = 4;
const MOST_WAITING = 16;

/** Places whose code changes again and again: compiling it would be in vain. */
export class Restless {
  readonly #places = new Map<number, { drops: number; until: number }>();

  /** What was made from a place has gone, since its code has changed. @param look the number of looks so far */
  dropped(place: number, look: number): void {
    const drops = (this.#places.get(place)?.drops ?? 0) + 1;
    const wait = drops <= PATIENT_DROPS ? 0 : 2 ** Math.min(drops, MOST_WAITING);
    this.#places.set(place, { drops, until: look + wait });
  }

  /** Has it changed so often, and so lately, that it should be left alone at this look? */
  has(place: number, look: number): boolean {
    const found = this.#places.get(place);
    return found !== undefined && found.until > look;
  }
}
