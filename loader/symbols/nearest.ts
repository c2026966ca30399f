/** Names longer than this are compared by their beginning. */
const COMPARED_LENGTH = 80;

/**
 * Up to `limit` of `names` that someone who typed `wanted` may have meant, best first: those that contain it, the
 * shortest first, then those within a few edits of it, whole or without their package path.
 */
export function nearestNames(names: Iterable<string>, wanted: string, limit: number): string[] {
  const target = wanted.toLowerCase().slice(0, COMPARED_LENGTH);
  const allowed = Math.max(1, Math.floor(target.length / 4));
  const ranked: { name: string; rank: number }[] = [];
  for (const name of names) {
    const lower = name.toLowerCase();
    if (target !== "" && lower.includes(target)) {
      ranked.push({ name, rank: lower.length / 1e6 });
      continue;
    }
    const local = lower.slice(lower.lastIndexOf("/") + 1);
    const symbol = local.slice(local.indexOf(".") + 1);
    const distance = Math.min(...[lower, local, symbol].map((text) => editDistance(text, target, allowed)));
    if (distance <= allowed) {
      ranked.push({ name, rank: distance });
    }
  }
  return ranked
    .sort((a, b) => a.rank - b.rank || (a.name < b.name ? -1 : 1))
    .slice(0, limit)
    .map(({ name }) => name);
}

/** Levenshtein distance, or some number above `limit` as soon as it is clear that it is above. */
function editDistance(from: string, to: string, limit: number): number {
  const source = from.slice(0, COMPARED_LENGTH);
  if (Math.abs(source.length - to.length) > limit) {
    return limit + 1;
  }
  let previous = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let row = 1; row <= source.length; row++) {
    const current = [row];
    for (let column = 1; column <= to.length; column++) {
      const substitution = previous[column - 1] + (source[row - 1] === to[column - 1] ? 0 : 1);
      current.push(Math.min(substitution, previous[column] + 1, current[column - 1] + 1));
    }
    if (Math.min(...current) > limit) {
      return limit + 1;
    }
    previous = current;
  }
  return previous[to.length];
}
