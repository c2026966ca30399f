// Runs the server in one of the ways there are, and the clients, always natively, beside it.
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Runner } from "../jobs.ts";
import type { ServerJob, ServerSample } from "./rows.ts";

const SOURCES = fileURLToPath(new URL("src", import.meta.url));
/** How long requests go before they count, and how long they count. */
const WARM = 2;
const COUNTED = 4;
/** USER_HZ: what /proc/PID/stat counts times in, in µs. */
const TICK_US = 10_000;
/** How long a server may take to begin, or to end, in ms. */
const PATIENCE = 60_000;

export interface ServerPrograms {
  readonly server: string;
  readonly load: string;
}

/** Is there a Go compiler to build the server and its clients with? */
export const hasGo = (): boolean => spawnSync("go", ["version"]).status === 0;

/** Builds both programs into a new folder. @throws Error with what the compiler says */
export function buildPrograms(): ServerPrograms {
  const folder = mkdtempSync(join(tmpdir(), "goemu-bench-server-"));
  const build = (name: string): string => {
    const path = join(folder, name);
    const env = { ...process.env, CGO_ENABLED: "0", GOFLAGS: "", GOOS: "linux" };
    // The server is x86-64's, the clients are the host's.
    const arch = name === "server" ? { GOARCH: "amd64" } : {};
    execFileSync("go", ["build", "-trimpath", "-o", path, `./${name}`], { cwd: SOURCES, env: { ...env, ...arch } });
    return path;
  };
  return { server: build("server"), load: build("load") };
}

/** Time on processors so far in µs: the process's own and the kernel's for it; null where /proc does not tell. */
function cpuTime({ pid }: ChildProcess): number | null {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "latin1")
      .replace(/^.*\) /s, "")
      .split(" ");
    return (Number(fields[11]) + Number(fields[12])) * TICK_US;
  } catch {
    return null;
  }
}

/** Waits for an end, with patience. @throws Error */
async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  await once(child, "exit", { signal: AbortSignal.timeout(PATIENCE) });
}

/**
 * One server, and clients until the time is up.
 * @param environment variables beside this process's
 * @throws Error if the server does not begin, or a client has another answer than it should
 */
export async function measureServer(
  job: ServerJob,
  runner: Runner,
  programs: ServerPrograms,
  environment: NodeJS.ProcessEnv,
): Promise<ServerSample> {
  const [file, ...args] = [...runner.command, programs.server];
  const env = { ...process.env, ...environment };
  const server = spawn(file, args, { stdio: ["pipe", "pipe", "inherit"], env });
  try {
    const lines = createInterface({ input: server.stdout });
    const [line] = (await once(lines, "line", { signal: AbortSignal.timeout(PATIENCE) })) as [string];
    const [plain, secure] = line.split(" ");
    const url = job.tls ? `https://${secure}${job.path}` : `http://${plain}${job.path}`;
    const options = ["-clients", `${job.clients}`, "-warm", `${WARM}s`, "-time", `${COUNTED}s`, ...job.options];
    const before = cpuTime(server);
    const load = spawn(programs.load, [...options, url], { stdio: ["ignore", "pipe", "pipe"] });
    let [said, failure] = ["", ""];
    load.stdout.on("data", (text) => (said += text));
    load.stderr.on("data", (text) => (failure += text));
    await ended(load);
    const after = cpuTime(server);
    if (load.exitCode !== 0) throw new Error(`${job.name} on ${runner.name}: ${failure.slice(0, 300).trim()}`);
    const { rate, p50, p99 } = JSON.parse(said) as Omit<ServerSample, "cpu">;
    const requests = rate * (WARM + COUNTED);
    return { rate, p50, p99, cpu: before === null || after === null ? null : (after - before) / requests };
  } finally {
    // The end of its input is the server's; then goemu saves what it has learned.
    server.stdin.end();
    await ended(server).catch(() => server.kill("SIGKILL"));
  }
}
