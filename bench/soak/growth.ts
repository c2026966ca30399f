/** What a run had at one time, in bytes. */
export interface MemorySample {
  /** Resident, but for the guest's memory. */
  readonly own: number;
  /** Resident of the guest's memory. */
  readonly guest: number;
}

/** A mapping of this size or more is the guest's memory, which WebAssembly reserves as a whole. */
const GUEST_MAPPING_KIB = 4 * 2 ** 20;

/** Adds up what /proc/PID/smaps says (proc(5)), apart for the guest's memory and the rest. */
export function sampleOf(smaps: string): MemorySample {
  let [own, guest, size] = [0, 0, 0];
  for (const [, field, kib] of smaps.matchAll(/^(Size|Rss): +(\d+) kB$/gm)) {
    if (field === "Size") size = Number(kib);
    else if (size >= GUEST_MAPPING_KIB) guest += Number(kib);
    else own += Number(kib);
  }
  return { own: own * 1024, guest: guest * 1024 };
}

/** Parts of a run's second half that are compared. */
const PARTS = 6;
/** Largest steps from one part to the next that are left out. */
const LEFT_OUT = 2;

/**
 * By how much something grows steadily in the second half of a run: the least of each part of it, since garbage comes
 * and goes, beyond the least of the one before. The two largest of these steps are left out: a thread that is started and
 * gets to work, or a table that is made larger, happens once.
 * @returns undefined for fewer samples than tell anything
 */
export function growthOf(samples: readonly number[]): number | undefined {
  const length = Math.floor(samples.length / 2 / PARTS);
  if (length === 0) return undefined;
  const least = Array.from({ length: PARTS }, (_, part) => {
    const from = samples.length - (PARTS - part) * length;
    return Math.min(...samples.slice(from, from + length));
  });
  const steps = least.slice(1).map((bytes, i) => bytes - least[i]);
  return steps
    .sort((a, b) => a - b)
    .slice(0, -LEFT_OUT)
    .reduce((sum, step) => sum + step, 0);
}
