// Runs programs on a pseudo-terminal, natively and in goemu. Node has none: the fixture `terminal` is the driver, a Go
// program for Linux on x86-64 that runs natively.
import { spawn } from "node:child_process";
import { tmpdir } from "node:os";
import { fixturePath } from "../../fixtures/programs.ts";
import { COMMAND } from "./goemu.ts";

/** Programs for terminals, and the driver. */
export const TERMINAL = fixturePath("bin/terminal");

/** What a driver saw. */
export interface Session {
  /** What appeared on the terminal, one character a byte. */
  readonly output: string;
  /** What the script asked for: the terminal's settings, stops, the end. */
  readonly events: readonly string[];
  /** Why the script came to its end too early. */
  readonly error?: string;
}

/**
 * Runs a program on a terminal and follows a script, a step a line: `send "keys"`, `wait "text"`, `size ROWS COLUMNS`,
 * `signal N`, `modes`, `stopped`, `continue`, `hangup`, `end`, `left` (fixtures/src/terminal/drive.go).
 * @param command program and arguments; files in the place of the terminal come first, as -stdin=PATH
 * @param driver how the driver itself is started; in goemu, for instance, where the terminal is one of the machine's then
 */
export function drive(
  command: readonly string[],
  script: readonly string[],
  driver: readonly string[] = [TERMINAL],
): Promise<Session> {
  const env = { PATH: process.env.PATH, TERM: "xterm", HOME: tmpdir() };
  const [file, ...args] = [...driver, "drive", ...command];
  const child = spawn(file, args, { env, cwd: tmpdir(), stdio: ["pipe", "pipe", "inherit"] });
  child.stdin.end(`${script.join("\n")}\n`);
  let text = "";
  child.stdout.on("data", (bytes: Buffer) => (text += bytes.toString()));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", () => resolve(JSON.parse(text) as Session));
  });
}

/** What a program and a script give natively and in goemu. */
export async function driveBoth(
  program: readonly string[],
  script: readonly string[],
  options: { readonly files?: readonly string[]; readonly goemu?: readonly string[] } = {},
): Promise<{ native: Session; emulated: Session }> {
  const { files = [], goemu = [] } = options;
  const native = await drive([...files, ...program], script);
  const emulated = await drive([...files, process.execPath, COMMAND, ...goemu, ...program], script);
  return { native, emulated };
}
