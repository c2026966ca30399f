/** Roots of what is two others and a constant away: the same object for the same sum, as long as somebody knows them. */
export class SumRoots {
  readonly #roots = new WeakMap<object, WeakMap<object, object[]>>();

  /** Root of values base + (index << shift) + a constant. */
  rootOf(base: object, index: object, shift: number): object {
    let byIndex = this.#roots.get(base);
    if (byIndex === undefined) this.#roots.set(base, (byIndex = new WeakMap()));
    let byShift = byIndex.get(index);
    if (byShift === undefined) byIndex.set(index, (byShift = []));
    byShift[shift] ??= {};
    return byShift[shift];
  }
}
