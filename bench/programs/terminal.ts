// A program in a terminal: tmux is the terminal, its keyboard and its screen.
import { spawnSync } from "node:child_process";
import { endWithThis, killGroup } from "./processes.ts";
import type { Gesture, TerminalStep } from "./program.ts";

const COLUMNS = 80;
const ROWS = 24;
/** How long a screen has to stay the same to be at rest, in ms, and how often it is looked at. */
const REST = 600;
const LOOK = 20;

/** What came of it. `time` is in ms, without what was waited for a screen to come to rest. */
export interface Seen {
  readonly status: number | null;
  readonly screens: readonly string[];
  readonly time: number;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const quote = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;

/** A tmux server with one window. */
class Terminal {
  readonly #socket: string;

  constructor(socket: string) {
    this.#socket = socket;
  }

  tmux(...args: string[]): string {
    const run = spawnSync("tmux", ["-L", this.#socket, "-f", "/dev/null", ...args], { encoding: "utf8" });
    if (run.error !== undefined) throw run.error;
    return run.stdout;
  }

  screen(): string {
    const text = this.tmux("capture-pane", "-p", "-t", "main");
    return text.replace(/[ \t]+$/gm, "").trimEnd();
  }

  /** The program's status once it has ended, 128 + N if signal N killed it. tmux knows it a little after the end. */
  status(): number | undefined {
    const format = "#{pane_dead},#{pane_dead_status},#{pane_dead_signal}";
    const [dead, status, signal] = this.tmux("display-message", "-p", "-t", "main", format).trim().split(",");
    if (dead !== "1") return undefined;
    if (status === "" && signal === "") {
      // tmux 3.3 misses a SIGCHLD now and then, and leaves the program a zombie until the next one.
      process.kill(this.#pid("#{pid}"), "SIGCHLD");
      return undefined;
    }
    return status === "" ? 128 + Number(signal) : Number(status);
  }

  #pid(format: string): number {
    return Number(this.tmux("display-message", "-p", "-t", "main", format));
  }

  /** Lets the program end with this process, and tmux with it. @returns what takes that back */
  started(): () => void {
    const each = ["#{pane_pid}", "#{pid}"].map((format) => endWithThis(this.#pid(format)));
    return () => {
      for (const over of each) over();
    };
  }

  /** Ends the program, which is the leader of its group, and tmux. */
  end(): void {
    const pid = this.#pid("#{pane_pid}");
    if (pid > 1 && this.status() === undefined) killGroup(pid);
    this.tmux("kill-server");
  }
}

/**
 * Runs a program in a terminal, with what a script does there.
 * @param command the whole command line
 * @param limit ms after which it is given up: the status is null then, the last screen what was there
 */
export async function runInTerminal(
  command: readonly string[],
  step: TerminalStep,
  options: { readonly cwd: string; readonly env: Readonly<Record<string, string>>; readonly limit: number },
): Promise<Seen> {
  let over = (): void => {};
  const terminal = new Terminal(`goemu-programs-${process.pid}`);
  const input = step.stdin === undefined ? "" : ` < ${quote(step.stdin)}`;
  const output = step.stdout === undefined ? "" : ` > ${quote(step.stdout)}`;
  const env = Object.entries(options.env).map(([name, value]) => quote(`${name}=${value}`));
  const line = `cd ${quote(options.cwd)} && exec env -i ${env.join(" ")} TERM=screen-256color ${command.map(quote).join(" ")}${input}${output}`;
  const started = performance.now();
  let rested = 0;
  const screens: string[] = [];
  const late = (): boolean => performance.now() - started > options.limit;
  const until = async (done: (screen: string) => boolean): Promise<boolean> => {
    while (!late()) {
      if (done(terminal.screen())) return true;
      if (terminal.status() !== undefined) return done(terminal.screen());
      await sleep(LOOK);
    }
    return false;
  };
  const act = async (gesture: Gesture): Promise<boolean> => {
    if ("wait" in gesture) return until((screen) => gesture.wait.test(screen));
    if ("gone" in gesture) return until((screen) => !gesture.gone.test(screen));
    if ("keys" in gesture) terminal.tmux("send-keys", "-t", "main", ...gesture.keys);
    else if ("type" in gesture) terminal.tmux("send-keys", "-t", "main", "-l", gesture.type);
    else if ("resize" in gesture) {
      const [columns, rows] = gesture.resize;
      terminal.tmux("resize-window", "-t", "main", "-x", String(columns), "-y", String(rows));
    } else {
      let [screen, since] = [terminal.screen(), performance.now()];
      while (!late() && performance.now() - since < REST) {
        await sleep(LOOK);
        const now = terminal.screen();
        if (now !== screen) [screen, since] = [now, performance.now()];
      }
      rested += REST;
      screens.push(screen);
    }
    return true;
  };
  try {
    // The window stays when its program has ended, so that its status can be asked for.
    const size = ["-x", String(COLUMNS), "-y", String(ROWS)];
    terminal.tmux(
      "new-session",
      "-d",
      "-s",
      "main",
      ...size,
      "sleep 600",
      ";",
      "set-option",
      "-g",
      "remain-on-exit",
      "on",
    );
    terminal.tmux("respawn-pane", "-k", "-t", "main", line);
    over = terminal.started();
    let well = true;
    for (const gesture of step.script) {
      well = await act(gesture);
      if (!well) break;
    }
    const ended = well && (await until(() => terminal.status() !== undefined));
    const status = ended ? (terminal.status() ?? null) : null;
    if (!ended) screens.push(terminal.screen());
    return { status, screens, time: performance.now() - started - rested };
  } finally {
    terminal.end();
    over();
  }
}
