// Programs that fill a terminal's screen show in goemu what they show natively, key by key.
// Run with the folder of the programs: GOEMU_SCREENS=/folder/with/fzf/lf/micro npx vitest run cli/full-screen.test.ts
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, describe, expect, it } from "vitest";
import { hostIsNative } from "../fixtures/native.ts";
import { TestFolder } from "./testing/files.ts";
import { COMMAND } from "./testing/goemu.ts";

/** Program, arguments, and what happens to it: keys as tmux(1) names them, or a new size. */
const SESSIONS: Record<string, { run: string[]; steps: string[][] }> = {
  "fzf takes keys, a size, and Escape": {
    run: ["fzf"],
    steps: [["f"], ["2"], ["BSpace"], ["Up"], ["size", "100", "30"], ["C-u"], ["Escape"]],
  },
  "fzf prints the choice": { run: ["fzf"], steps: [["3"], ["size", "60", "20"], ["Enter"]] },
  "lf moves, searches, ends": {
    run: ["lf", "-log", "/dev/null"],
    steps: [["j"], ["j"], ["Space"], ["size", "100", "30"], ["l"], ["h"], ["/"], ["2"], ["Escape"], ["q"]],
  },
  "micro edits, saves, searches": {
    run: ["micro", "f1.txt"],
    steps: [["hello"], ["Down"], ["Left"], ["size", "100", "30"], ["C-s"], ["C-f"], ["text"], ["Escape"], ["C-q"]],
  },
};
/** How long a native screen has to be the same, in ms, before it counts, and how long goemu may take to show it. */
const QUIET = 1000;
const PATIENCE = 60_000;

const programs = process.env.GOEMU_SCREENS;
const haveTmux = spawnSync("tmux", ["-V"]).status === 0;
const WHY =
  programs === undefined ? "GOEMU_SCREENS names no folder" : haveTmux ? "not Linux on x86-64" : "there is no tmux(1)";
const folder = new TestFolder();
const socket = `goemu-screens-${process.pid}`;
afterAll(() => {
  if (haveTmux) spawnSync("tmux", ["-L", socket, "kill-server"]);
  folder.remove();
});

const tmux = (...args: string[]): string => {
  const { status, stdout, stderr } = spawnSync("tmux", ["-L", socket, ...args], { encoding: "utf8" });
  if (status !== 0) throw new Error(`tmux ${args.join(" ")}: ${stderr}`);
  return stdout;
};
/** Times are as they are. */
const screen = (): string =>
  tmux("capture-pane", "-p", "-t", "screen")
    .trimEnd()
    .replaceAll(/\d\d:\d\d(:\d\d)?/g, "TIME");

/** Starts a program in a folder with some files; its status and the terminal's settings stand below it at the end. */
function start(command: readonly string[]): void {
  // The last one's, if it failed on the way.
  spawnSync("tmux", ["-L", socket, "kill-session", "-t", "screen"]);
  const home = join(folder.path, "home");
  rmSync(home, { recursive: true, force: true });
  mkdirSync(join(home, "work", "sub"), { recursive: true });
  for (const i of [1, 2, 3]) folder.file(`home/work/f${i}.txt`, `text ${i}\n`);
  folder.file("home/work/sub/below.txt", "below\n");
  const script = 'stty -g; "$@"; echo "status $?"; stty -g; exec sleep 1000';
  const env = [`HOME=${home}`, `PATH=${process.env.PATH}`, "TERM=screen", "LC_ALL=C.UTF-8", "SHELL=/bin/sh"];
  const where = ["-d", "-s", "screen", "-x", "80", "-y", "24", "-c", join(home, "work")];
  tmux("new-session", ...where, "env", "-i", ...env, "sh", "-c", script, "sh", ...command);
}

function act(step: readonly string[]): void {
  const [first, columns, rows] = step;
  if (first === "size") tmux("resize-window", "-t", "screen", "-x", columns, "-y", rows);
  else tmux("send-keys", "-t", "screen", ...step);
}

/** The screen, once it stays as it is. */
async function settled(): Promise<string> {
  let last = screen();
  for (let since = Date.now(); Date.now() - since < QUIET; await sleep(50)) {
    const now = screen();
    if (now !== last) since = Date.now();
    last = now;
  }
  return last;
}

describe.skipIf(programs === undefined || !haveTmux || !hostIsNative)(`programs on a screen (skipped: ${WHY})`, () => {
  it.each(Object.entries(SESSIONS))(
    "%s",
    async (_, { run, steps }) => {
      const program = join(programs ?? "", run[0]);
      expect(existsSync(program), program).toBe(true);
      const command = [program, ...run.slice(1)];
      start(command);
      const screens = [await settled()];
      for (const step of steps) {
        act(step);
        screens.push(await settled());
      }
      expect(screens.at(-1)).toMatch(/^status \d+$/m);

      start([process.execPath, COMMAND, ...command]);
      await expect.poll(screen, { timeout: PATIENCE, interval: 100 }).toBe(screens[0]);
      for (const [i, step] of steps.entries()) {
        act(step);
        await expect.poll(screen, { timeout: PATIENCE, interval: 100 }).toBe(screens[i + 1]);
      }
    },
    600_000,
  );
});
