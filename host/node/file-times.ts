/**
 * Times as Node's `utimes` family takes them: a double of seconds, of which libuv makes whole nanoseconds by cutting off
 * (src/unix/fs.c, uv__fs_to_timespec; libuv 1.49 and later). Between 2004 and 2038 doubles are 2^-22 s apart, so that a
 * time can be kept up to 239 ns from what was asked for. What was asked is remembered, so that guests of this host read
 * back what they have set; other programs of the host see what is kept.
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

/** A time that was asked for, and what the host keeps in its place. */
interface Asked {
  readonly asked: bigint;
  readonly kept: bigint;
}

interface FileTimes {
  readonly dev: bigint;
  atime?: Asked;
  mtime?: Asked;
}

/** Files whose times are kept otherwise than they were asked for, by inode, in the order in which they were set. */
const files = new Map<bigint, FileTimes>();
/** Of more files than that the earliest are forgotten: a tree that is unpacked has some hundred thousand. */
const MOST = 1 << 18;

/** The time's record, undefined where it is as it was asked for. */
function askedTime(ns: bigint): Asked | undefined {
  const kept = nanoseconds(Number(toFileTime(ns)));
  return kept === ns ? undefined : { asked: ns, kept };
}

/**
 * Remembers the times in ns that a file was given by `toFileTime`; undefined for one that was left as it is.
 * @param identify the file's device and inode, asked only if there is something to remember
 */
export function rememberTimes(
  atimeNs: bigint | undefined,
  mtimeNs: bigint | undefined,
  identify: () => { readonly dev: bigint; readonly ino: bigint } | undefined,
): void {
  const atime = atimeNs === undefined ? undefined : askedTime(atimeNs);
  const mtime = mtimeNs === undefined ? undefined : askedTime(mtimeNs);
  // An earlier record of a time that is exact now is of no effect: the host's time is another.
  if (atime === undefined && mtime === undefined) return;
  const file = identify();
  if (file === undefined) return;
  const before = files.get(file.ino);
  const times: FileTimes = before?.dev === file.dev ? before : { dev: file.dev };
  if (atime !== undefined) times.atime = atime;
  if (mtime !== undefined) times.mtime = mtime;
  files.delete(file.ino);
  files.set(file.ino, times);
  if (files.size > MOST) for (const oldest of files.keys()) return void files.delete(oldest);
}

/** A file's times as they were asked for, where the host still keeps what it made of them; else the host's. */
export function asAsked(stat: {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly atimeNs: bigint;
  readonly mtimeNs: bigint;
}): { atimeNs: bigint; mtimeNs: bigint } {
  let { atimeNs, mtimeNs } = stat;
  const times = files.size > 0 ? files.get(stat.ino) : undefined;
  if (times !== undefined && times.dev === stat.dev) {
    if (times.atime?.kept === atimeNs) atimeNs = times.atime.asked;
    if (times.mtime?.kept === mtimeNs) mtimeNs = times.mtime.asked;
  }
  return { atimeNs, mtimeNs };
}
