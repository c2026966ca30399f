// Runs a program's job once, in one way: natively, under qemu-x86_64, or under goemu.
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { type AddressInfo, createServer as createNetServer } from "node:net";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describeFiles, type Ended, type Outcome } from "./compare.ts";
import { BIN, STORE } from "./obtain.ts";
import { childrenTime, Guest } from "./processes.ts";
import type { Program, ServerStep, Step, Talk } from "./program.ts";
import { runInTerminal } from "./terminal.ts";

const REPOSITORY = fileURLToPath(new URL("../..", import.meta.url));
const DEFAULT_LIMIT = 300;
/** All files of a job are as old as that. */
const FILE_TIME = new Date("2024-05-06T07:08:09Z");

/** A run's outcome and what it cost. */
export interface Run {
  readonly outcome: Outcome;
  /** From start to end in ms, summed over the steps. */
  readonly time: number;
  /** Time on processors in ms; null where it is not known, as of what ran in a terminal. */
  readonly cpu: number | null;
  /** The logs of servers, and what was written to stderr where that is not compared: for whoever looks for a cause. */
  readonly logs: readonly string[];
}

/** A port of the loopback interface that nobody uses now. */
export async function freePort(): Promise<number> {
  const server = createNetServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A job with its folder: made once, the same for every run. */
export class Job {
  readonly program: Program;
  readonly #root: string;
  readonly #ports: readonly number[];

  private constructor(program: Program, root: string, ports: readonly number[]) {
    this.program = program;
    this.#root = root;
    this.#ports = ports;
  }

  /** Lays out the files and runs what prepares them. @throws Error if that fails */
  static async make(program: Program, root: string): Promise<Job> {
    const job = new Job(program, root, [await freePort(), await freePort()]);
    mkdirSync(job.folder, { recursive: true });
    mkdirSync(join(job.folder, "home"));
    mkdirSync(join(job.folder, "tmp"));
    const files = typeof program.files === "function" ? program.files() : (program.files ?? {});
    for (const [path, text] of Object.entries(files)) {
      const full = join(job.folder, path);
      mkdirSync(dirname(full), { recursive: true });
      writeFileSync(full, job.#fill(text));
      utimesSync(full, FILE_TIME, FILE_TIME);
    }
    for (const command of program.prepare ?? []) {
      const guest = new Guest(command.map(job.#fill), { cwd: job.folder, env: job.environment, limit: 600_000 });
      const status = await guest.ended;
      if (status !== 0) throw new Error(`${command.join(" ")}: status ${status}: ${guest.stderr.slice(-400)}`);
    }
    cpSync(job.folder, join(root, "seed"), { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
    return job;
  }

  /** Where the job runs: the same place each time, so that paths are no difference. */
  get folder(): string {
    return join(this.#root, "job");
  }

  /** goemu's translations are kept there too, in a folder that a run of the job does not see as its own. */
  get cache(): string {
    return join(this.#root, "cache");
  }

  get environment(): Record<string, string> {
    const { PATH = "" } = process.env;
    return {
      PATH: `${BIN}:${PATH}`,
      HOME: join(this.folder, "home"),
      TMPDIR: join(this.folder, "tmp"),
      XDG_CACHE_HOME: this.cache,
      LANG: "C.UTF-8",
      TZ: "UTC",
      ...Object.fromEntries(Object.entries(this.program.env ?? {}).map(([name, value]) => [name, this.#fill(value)])),
    };
  }

  readonly #fill = (text: string): string =>
    text
      .replaceAll("{PORT}", String(this.#ports[0]))
      .replaceAll("{PORT2}", String(this.#ports[1]))
      .replaceAll("{DIR}", this.folder)
      .replaceAll("{STORE}", STORE);

  /** Runs the job from its beginning. @param command what stands before the program, such as `["qemu-x86_64"]` */
  async run(command: readonly string[]): Promise<Run> {
    rmSync(this.folder, { recursive: true, force: true });
    cpSync(join(this.#root, "seed"), this.folder, {
      recursive: true,
      preserveTimestamps: true,
      verbatimSymlinks: true,
    });
    // What the program itself keeps between runs would be found by the next.
    for (const name of existsSync(this.cache) ? readdirSync(this.cache) : []) {
      if (name !== "goemu") rmSync(join(this.cache, name), { recursive: true });
    }
    const service = this.program.service ? await serve(this.#ports[0]) : undefined;
    const before = childrenTime();
    const ended: Ended[] = [];
    const logs: string[] = [];
    let [time, cpuKnown] = [0, true];
    try {
      for (const step of this.program.steps) {
        const result = await this.#step(step, command);
        time += result.time;
        ended.push(result.ended);
        logs.push(result.log);
        if (step.kind === "terminal") cpuKnown = false;
        if (result.ended.status === null) break;
      }
    } finally {
      await new Promise<unknown>((resolve) => (service === undefined ? resolve(undefined) : service.close(resolve)));
      service?.closeAllConnections();
    }
    const files = describeFiles(this.folder, this.program.outputs ?? []);
    return { outcome: { steps: ended, files }, time, cpu: cpuKnown ? childrenTime() - before : null, logs };
  }

  async #step(step: Step, command: readonly string[]): Promise<{ ended: Ended; time: number; log: string }> {
    const cwd = this.program.folder === "repository" ? REPOSITORY : this.folder;
    const limit = (this.program.limit ?? DEFAULT_LIMIT) * 1000;
    const line = [...command, join(BIN, this.program.name), ...step.args.map(this.#fill)];
    const options = { cwd, env: this.environment, limit };
    if (step.kind === "terminal") {
      const { status, screens, time } = await runInTerminal(line, step, options);
      const texts = Object.fromEntries(screens.map((screen, index) => [`screen ${index + 1}`, screen]));
      return { ended: { status, texts }, time, log: screens.at(-1) ?? "" };
    }
    if (step.kind === "server") return this.#serverStep(step, line, command, options);
    const guest = new Guest(line, { ...options, stdin: step.stdin });
    const status = await guest.ended;
    const time = performance.now() - guest.started;
    const chosen = (text: string): string =>
      step.lines === undefined
        ? text
        : text
            .split("\n")
            .filter((each) => step.lines!.test(each))
            .join("\n");
    const texts: Record<string, string> = {};
    if (step.compare !== "status") texts["stdout"] = chosen(guest.stdout);
    if (step.compare === undefined) texts["stderr"] = chosen(guest.stderr);
    return { ended: { status, texts }, time, log: guest.stderr };
  }

  async #serverStep(
    step: ServerStep,
    line: readonly string[],
    command: readonly string[],
    options: { cwd: string; env: Record<string, string>; limit: number },
  ): Promise<{ ended: Ended; time: number; log: string }> {
    const guest = new Guest(line, options);
    const over = new AbortController();
    const talk: Talk = {
      signal: over.signal,
      port: this.#ports[0],
      port2: this.#ports[1],
      folder: this.folder,
      run: async (program, args) => {
        const other = new Guest([...command, join(BIN, program), ...args.map(this.#fill)], options);
        const status = await other.ended;
        return `${other.stdout}${other.stderr}status ${status}\n`;
      },
    };
    // A server that has ended answers nobody.
    const gone = guest.ended.then((status) => {
      over.abort(new Error("the server has ended"));
      return `the server ended, status ${status}`;
    });
    const talking = step.talk(talk).catch((error: Error) => `talk failed: ${error.message}`);
    const said = await Promise.race([talking, gone]);
    if (!guest.isOver && guest.child.pid !== undefined) process.kill(guest.child.pid, step.stop);
    const status = await guest.ended;
    const time = performance.now() - guest.started;
    await talking;
    return { ended: { status, texts: { talk: said } }, time, log: `${guest.stdout}${guest.stderr}` };
  }
}

/** An HTTP server that answers "ok" to everything. */
async function serve(port: number): Promise<Server> {
  const server = createServer((_request, response) => response.end("ok\n"));
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(port, "127.0.0.1", resolve));
  return server;
}
