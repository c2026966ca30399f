// Runs the built command as a child process, for tests.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";

/** The command as it is shipped; GOEMU_COMMAND names another build to test. */
export const COMMAND = process.env.GOEMU_COMMAND ?? fileURLToPath(new URL("../../dist/goemu.js", import.meta.url));

export interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  /** Null if a signal ended it, which is then `signal`. */
  readonly status: number | null;
  readonly signal: string | null;
}

export interface Surroundings {
  readonly input?: string | Uint8Array;
  /** The whole environment; by default only what Node needs. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly timeout?: number;
}

/** Runs `goemu args…` to its end. @throws if it takes longer than `timeout` (a minute) */
export function goemu(args: readonly string[], surroundings: Surroundings = {}): Outcome {
  const { input = "", env = {}, cwd = tmpdir(), timeout = 60_000 } = surroundings;
  const run = spawnSync(process.execPath, [COMMAND, ...args], { input, env, cwd, timeout, maxBuffer: 64 << 20 });
  if (run.error) throw run.error;
  return { stdout: run.stdout.toString(), stderr: run.stderr.toString(), status: run.status, signal: run.signal };
}

/** Starts `goemu args…` with pipes; `ended` gives the outcome. */
export function startGoemu(
  args: readonly string[],
  surroundings: Surroundings = {},
): { readonly child: ChildProcess; readonly ended: Promise<Outcome>; printed(text: string): Promise<void> } {
  const { env = {}, cwd = tmpdir(), timeout = 60_000 } = surroundings;
  const child = spawn(process.execPath, [COMMAND, ...args], { env, cwd, timeout, stdio: "pipe" });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (bytes: Buffer) => (stdout += bytes.toString()));
  child.stderr.on("data", (bytes: Buffer) => (stderr += bytes.toString()));
  if (surroundings.input !== undefined) child.stdin.end(surroundings.input);
  const ended = new Promise<Outcome>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status, signal) => resolve({ stdout, stderr, status, signal }));
  });
  const printed = async (text: string): Promise<void> => {
    while (!stdout.includes(text)) {
      if (child.exitCode !== null) throw new Error(`it ended before it printed ${JSON.stringify(text)}: ${stderr}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  return { child, ended, printed };
}
