/**
 * Times as Node's `utimes` family takes them: a double of seconds, of which libuv makes whole nanoseconds by cutting off
 * (src/unix/fs.c, uv__fs_to_timespec; libuv 1.49 and later). Between 2004 and 2038 doubles are 2^-22 s apart, so that a
 * time can be kept up to 239 ns from what was asked for.
 */

const NS = 1_000_000_000n;

/** Whole nanoseconds that libuv makes of a double of seconds. */
function nanoseconds(time: number): bigint {
  const whole = Math.trunc(time);
  return BigInt(whole) * NS + BigInt(Math.trunc((time - whole) * 1e9));
}

/** The next smaller double of seconds, or one so near that libuv makes the same nanosecond of it. */
function below(time: number): number {
  const exponent = Math.floor(Math.log2(Math.max(Math.abs(time), 2 ** -30)));
  return time - Math.max(2 ** (exponent - 52), 2 ** -30);
}

/**
 * A time in ns since 1970 for `fs.utimesSync` and its kin: the nearest that is not later, and exact for every time that
 * was set so before. Undefined leaves the time as it is (UTIME_OMIT).
 */
export function toFileTime(ns: bigint | undefined): string | Date {
  // Node takes a NaN only from a Date; libuv then says UTIME_OMIT.
  if (ns === undefined) return new Date(Number.NaN);
  const rest = ((ns % NS) + NS) % NS;
  let time = Number((ns - rest) / NS) + Number(rest) / 1e9;
  while (nanoseconds(time) > ns) time = below(time);
  // Node replaces negative numbers by the time of day, but not those that come as text.
  return String(time);
}
