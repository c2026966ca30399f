import * as fs from "node:fs";
import type { HeldLock, HostLocks } from "../locks.ts";

/** So long, in ms, nobody keeps a file's locks to himself who has not been killed meanwhile. */
const STALE_MS = 2000;
const PAUSE = new Int32Array(new SharedArrayBuffer(4));

/**
 * Locks by files that all goemus of a user see: for each locked file one that lists its locks. They are read and written
 * by whoever has made the file beside it (O_EXCL). A goemu that has ended without giving its locks back is recognized by
 * its number and the time of its start.
 */
export class NodeLocks implements HostLocks {
  readonly self: string;
  readonly #folder: string;
  readonly #files = new Set<string>();
  #waits = false;

  private constructor(folder: string, self: string) {
    this.#folder = folder;
    this.self = self;
  }

  /**
   * @param pid the process that they are this machine's in
   * @returns undefined where there is no folder that belongs to this user alone
   */
  static open(
    folder = `/tmp/.goemu-locks-${process.getuid?.() ?? "none"}`,
    pid: number = process.pid,
  ): NodeLocks | undefined {
    if (process.getuid === undefined) return undefined;
    try {
      fs.mkdirSync(folder, { mode: 0o700 });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") return undefined;
    }
    try {
      const stat = fs.lstatSync(folder);
      const isOurs = stat.isDirectory() && stat.uid === process.getuid() && (stat.mode & 0o22) === 0;
      return isOurs ? new NodeLocks(folder, `${pid}-${startTime(pid) ?? 0}`) : undefined;
    } catch {
      return undefined;
    }
  }

  update(file: string, change: (locks: readonly HeldLock[]) => readonly HeldLock[] | undefined): void {
    const path = `${this.#folder}/${file}`;
    const mutex = `${path}.mutex`;
    this.#enter(mutex);
    try {
      const all = read(path);
      const live = all.filter(({ owner }) => this.#isThere(machineOf(owner)));
      const locks = change(live) ?? (live.length < all.length ? live : undefined);
      if (locks === undefined) return;
      if (locks.some(({ owner }) => machineOf(owner) === this.self)) this.#files.add(file);
      else this.#files.delete(file);
      if (locks.length === 0) fs.rmSync(path, { force: true });
      else
        fs.writeFileSync(
          path,
          JSON.stringify(locks, (_, value) => (typeof value === "bigint" ? `${value}` : value)),
        );
    } finally {
      fs.rmSync(mutex, { force: true });
    }
  }

  #enter(mutex: string): void {
    for (;;) {
      try {
        fs.closeSync(fs.openSync(mutex, "wx", 0o600));
        return;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      }
      const since = fs.statSync(mutex, { throwIfNoEntry: false })?.mtimeMs;
      if (since !== undefined && Date.now() - since > STALE_MS) fs.rmSync(mutex, { force: true });
      else Atomics.wait(PAUSE, 0, 0, 1);
    }
  }

  #isThere(machine: string): boolean {
    if (machine === this.self) return true;
    const [pid, start] = machine.split("-").map(Number);
    return startTime(pid) === start;
  }

  setWaits(machines: readonly string[]): void {
    if (machines.length === 0 && !this.#waits) return;
    this.#waits = machines.length > 0;
    const path = `${this.#folder}/wait-${this.self}`;
    if (this.#waits) fs.writeFileSync(path, machines.join(" "));
    else fs.rmSync(path, { force: true });
  }

  waitsOf(machine: string): readonly string[] {
    if (!this.#isThere(machine)) return [];
    try {
      return fs.readFileSync(`${this.#folder}/wait-${machine}`, "utf8").split(" ");
    } catch {
      return [];
    }
  }

  close(): void {
    this.setWaits([]);
    for (const file of [...this.#files]) {
      this.update(file, (locks) => locks.filter(({ owner }) => machineOf(owner) !== this.self));
    }
  }
}

const machineOf = (owner: string): string => owner.split(" ")[0];

/** When a process was started, in the kernel's ticks (proc(5), /proc/pid/stat); undefined if it is gone. */
function startTime(pid: number): number | undefined {
  try {
    if (process.platform !== "linux") {
      process.kill(pid, 0);
      return 0;
    }
    const text = fs.readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name, in parentheses, may have spaces in it; the time is the 22nd field.
    return Number(text.slice(text.lastIndexOf(")") + 2).split(" ")[19]);
  } catch {
    return undefined;
  }
}

function read(path: string): HeldLock[] {
  let text: string;
  try {
    text = fs.readFileSync(path, "utf8");
  } catch {
    return [];
  }
  try {
    const stored = JSON.parse(text) as (Omit<HeldLock, "start" | "end"> & { start: string; end: string })[];
    return stored.map((lock) => ({ ...lock, start: BigInt(lock.start), end: BigInt(lock.end) }));
  } catch {
    // Whoever wrote it was killed at that.
    return [];
  }
}
