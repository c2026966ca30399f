// Guests as processes of the host, and what they cost.
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";

/** Ends a process group, whoever is left of it. */
export function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // Nobody was left.
  }
}

const living = new Set<number>();

/** Group leaders that are to end with this process, however it ends by itself or by SIGINT and SIGTERM. */
export function endWithThis(pid: number): () => void {
  living.add(pid);
  return () => living.delete(pid);
}

process.on("exit", () => {
  for (const pid of living) killGroup(pid);
});

/** CPU time in ms of all children that have ended and been waited for, with theirs (proc(5): cutime, cstime). */
export function childrenTime(): number {
  const stat = readFileSync("/proc/self/stat", "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const TICK_MS = 10;
  return (Number(fields[13]) + Number(fields[14])) * TICK_MS;
}

/** More than that of an output is not kept. */
const MOST_OUTPUT = 64 << 20;

/** A program that runs, the leader of a process group of its own. */
export class Guest {
  readonly child: ChildProcess;
  stdout = "";
  stderr = "";
  /** Exit status, or the signal's name; null if it was cut off. */
  readonly ended: Promise<number | string | null>;
  readonly started = performance.now();
  #over = false;

  /** @param limit ms after which it is killed, with its group */
  constructor(
    command: readonly string[],
    options: { cwd: string; env: Readonly<Record<string, string>>; limit: number; stdin?: string },
  ) {
    const [file, ...args] = command;
    const { cwd, env, limit } = options;
    const child = spawn(file, args, { cwd, env, detached: true, stdio: "pipe" });
    this.child = child;
    const over = child.pid === undefined ? () => {} : endWithThis(child.pid);
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      if (this.stdout.length < MOST_OUTPUT) this.stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      if (this.stderr.length < MOST_OUTPUT) this.stderr += text;
    });
    // A guest may end without having read.
    child.stdin.on("error", () => {});
    child.stdin.end(options.stdin ?? "");
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.kill();
    }, limit);
    this.ended = new Promise((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (status, signal) => {
        clearTimeout(timer);
        over();
        this.#over = true;
        resolve(late ? null : (signal ?? status));
      });
    });
  }

  get isOver(): boolean {
    return this.#over;
  }

  /** Ends it and all of its group at once. */
  kill(): void {
    if (this.child.pid !== undefined) killGroup(this.child.pid);
  }
}
