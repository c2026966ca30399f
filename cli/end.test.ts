// The end of a run: its status is the guest's, whatever goemu still does, and nothing that the guest left open holds it.
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { fixturePath } from "../fixtures/programs.ts";
import type { Assembler } from "../syscalls/testing/assembler.ts";
import { DATA } from "../syscalls/testing/guest.ts";
import { Ending } from "./end.ts";
import { TestFolder } from "./testing/files.ts";
import { COMMAND, goemu, startGoemu } from "./testing/goemu.ts";

const folder = new TestFolder();
afterAll(() => folder.remove());

const [WRITE, OPEN, POLL, EXIT_GROUP] = [1, 2, 7, 231];
const O_RDWR = 2;
const POLLIN = 1;
/** Much longer than any of these runs takes; a goemu that is held would be killed. */
const timeout = 30_000;

/** Puts a path into the guest's memory. */
function path(a: Assembler, at: number, text: string): Assembler {
  for (const [i, byte] of Buffer.from(text).entries()) a.storeByte(at + i, byte);
  return a;
}

/** Opens a file, looks for input for 20 ms, and ends with 3 while the file is open and nothing has come. */
const leavesOpen = (file: string) => (a: Assembler) => {
  path(a, DATA + 64, file)
    .syscall(OPEN, DATA + 64, O_RDWR, 0)
    .store32(DATA, "rax")
    .put32(DATA + 4, POLLIN)
    .syscall(POLL, DATA, 1, 20)
    .syscall(EXIT_GROUP, 3);
};

const cacheOf = (name: string): string => join(folder.path, name);
const worksAs = (run: { stdout: string; status: number | null }): void => {
  expect(run.stdout.split("\n").sort().filter(Boolean)).toHaveLength(3);
  expect(run.status).toBe(0);
};
const work = fixturePath("bin/work");

describe("exit_group", () => {
  it.runIf(existsSync("/dev/ptmx"))("ends goemu although a terminal is open and has been waited for", () => {
    expect(goemu([folder.guest("ptmx", leavesOpen("/dev/ptmx"))], { timeout })).toMatchObject({ status: 3 });
  });

  it("ends goemu although a FIFO is open and has been waited for", () => {
    const fifo = join(folder.path, "fifo");
    execFileSync("mkfifo", [fifo]);
    expect(goemu([folder.guest("fifo-open", leavesOpen(fifo))], { timeout })).toMatchObject({ status: 3 });
  });

  it("ends goemu although a thread is about to read from its own terminal", () => {
    const guest = folder.guest("tty", leavesOpen("/dev/tty"));
    const command = [process.execPath, COMMAND, guest].map((word) => `'${word}'`).join(" ");
    const script = spawnSync("script", ["-qec", `${command}; echo status $?`, "/dev/null"], {
      timeout,
      // script(1) ends with its input: a pipe that stays open.
      stdio: ["pipe", "pipe", "pipe"],
      env: { PATH: process.env.PATH, SHELL: "/bin/sh" },
    });
    if ((script.error as NodeJS.ErrnoException | undefined)?.code === "ENOENT") {
      console.warn("script(1) of util-linux is missing: not tested");
      return;
    }
    expect(script.error).toBeUndefined();
    expect(script.stdout.toString()).toContain("status 3");
  });

  it("ends goemu when all output has been read, by a slow reader too", () => {
    const size = 500_000;
    const guest = folder.guest("output", (a) => {
      a.syscall(WRITE, 1, DATA, size).syscall(EXIT_GROUP, 5);
    });
    const script = `('${process.execPath}' '${COMMAND}' '${guest}'; echo status $? >&2) | (sleep 0.3; wc -c)`;
    const run = spawnSync("sh", ["-c", script], { timeout });
    expect(run.stdout.toString().trim()).toBe(String(size));
    expect(run.stderr.toString()).toBe("status 5\n");
  });

  it("ends goemu when what was written to a connection has gone out", async () => {
    const size = 1_000_000;
    let received = 0;
    const server = createServer((socket: Socket) => {
      // A peer that takes its time: what it does not read stays with the sender for a while.
      socket.pause();
      setTimeout(() => socket.resume(), 200);
      socket.on("data", (bytes) => (received += bytes.length));
      socket.on("error", () => {});
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    const [SOCKET, CONNECT, SENDTO] = [41, 42, 44];
    const guest = folder.guest("send", (a) => {
      a.storeByte(DATA, 2)
        .storeByte(DATA + 2, port >> 8)
        .storeByte(DATA + 3, port)
        .storeByte(DATA + 4, 127)
        .storeByte(DATA + 7, 1)
        .syscall(SOCKET, 2, 1, 0)
        .copy("r15", "rax")
        .copy("rdi", "r15")
        .mov("rsi", DATA)
        .mov("rdx", 16)
        .mov("rax", CONNECT)
        .bytes(0x0f, 0x05)
        .copy("rdi", "r15")
        .mov("rsi", DATA)
        .mov("rdx", size)
        .mov("r10", 0)
        .mov("r8", 0)
        .mov("r9", 0)
        .mov("rax", SENDTO)
        .bytes(0x0f, 0x05)
        .syscall(EXIT_GROUP, 4);
    });
    expect(await startGoemu([guest], { timeout }).ended).toMatchObject({ status: 4, stderr: "" });
    while (received < size) await new Promise((resolve) => setTimeout(resolve, 10));
    server.close();
  });
});

describe("a cache that does not work", () => {
  it("of which the files are FIFOs is neither waited for nor written to", () => {
    const env = { XDG_CACHE_HOME: cacheOf("fifos") };
    worksAs(goemu([work], { env, timeout }));
    const directory = join(env.XDG_CACHE_HOME, "goemu");
    const files = readdirSync(directory);
    expect(files).not.toHaveLength(0);
    for (const name of files) {
      rmSync(join(directory, name));
      execFileSync("mkfifo", [join(directory, name)]);
    }
    worksAs(goemu([work], { env, timeout }));
  });

  it("changes nothing where its directory is a file, is missing, or can't be written to", () => {
    writeFileSync(cacheOf("a-file"), "");
    mkdirSync(cacheOf("closed"));
    chmodSync(cacheOf("closed"), 0o500);
    for (const place of [cacheOf("a-file"), cacheOf("closed"), "/proc/self/nothing", "/dev/full"])
      worksAs(goemu([work], { env: { XDG_CACHE_HOME: place }, timeout }));
  });

  it("changes nothing where a file may not become as large as it has to (RLIMIT_FSIZE)", () => {
    const env = { XDG_CACHE_HOME: cacheOf("limited") };
    const run = spawnSync("sh", ["-c", `ulimit -f 1; exec '${process.execPath}' '${COMMAND}' '${work}'`], { env });
    worksAs({ stdout: run.stdout.toString(), status: run.status });
    expect(run.stderr.toString()).toBe("");
    // Nothing is left of the attempt.
    expect(readdirSync(join(env.XDG_CACHE_HOME, "goemu")).filter((name) => !name.endsWith(".hash"))).toEqual([]);
  });
});

describe("a full disk", () => {
  const withFull = (command: string): { stdout: string; stderr: string; status: number | null } => {
    const script = command.replace(/^goemu/, `'${process.execPath}' '${COMMAND}'`);
    const { stdout, stderr, status } = spawnSync("sh", ["-c", script], { timeout });
    return { stdout: stdout.toString(), stderr: stderr.toString(), status };
  };

  it.runIf(existsSync("/dev/full"))("behind --stats or --strace does not change the guest's status", () => {
    worksAs(withFull(`goemu --stats ${work} 2>/dev/full`));
    worksAs(withFull(`goemu --strace ${work} 2>/dev/full`));
    const traced = withFull(`goemu --strace=/dev/full ${work}`);
    worksAs(traced);
    expect(traced.stderr).toMatch(/^goemu: --strace: cannot write \/dev\/full: ENOSPC.* \(the trace ends here\)\n$/);
  });

  it.runIf(existsSync("/dev/full"))("behind road, trace or profile is a line", () => {
    const link = (name: string): string => {
      const path = join(folder.path, name);
      symlinkSync("/dev/full", path);
      return path;
    };
    for (const [command, output] of [
      ["road", link("full.txt")],
      ["trace", link("full.json")],
      ["trace", link("full.trace")],
      ["profile", link("full.pprof")],
    ]) {
      const run = withFull(`goemu ${command} -o ${output} ${work}`);
      worksAs(run);
      expect(run.stderr).toBe(
        `goemu: ${work}: cannot write ${output}: Error: ENOSPC: no space left on device, write (the exit status is the program's)\n`,
      );
    }
  });

  it.runIf(existsSync("/dev/full"))("does not change the status of a guest that a signal kills", () => {
    const guest = folder.guest("killed", (a) => a.bytes(0x0f, 0x0b));
    expect(withFull(`goemu ${guest} 2>/dev/full`).status).toBe(128 + 4);
  });
});

describe("a step of the end", () => {
  const printed = async (work: (ending: Ending) => unknown): Promise<string> => {
    const lines: string[] = [];
    await work(new Ending("prog", (line) => lines.push(line)));
    return lines.join("\n");
  };

  it("that fails is a line", async () => {
    const fail = (): never => {
      throw new TypeError("no\nluck");
    };
    const line = "goemu: prog: cannot do it: TypeError: no; luck (the exit status is the program's)";
    expect(await printed((ending) => ending.step("do it", fail))).toBe(line);
    expect(await printed((ending) => ending.wait("do it", async () => fail()))).toBe(line);
    expect(await printed((ending) => ending.step("do it", () => 1))).toBe("");
  });

  it("that does not end is given up", async () => {
    const never = new Promise(() => {});
    const line = "goemu: prog: cannot do it: not done after 0.001 s (the exit status is the program's)";
    expect(await printed((ending) => ending.wait("do it", () => never, 1))).toBe(line);
  });
});

describe("a file system that does not answer", () => {
  it("is given up, and does not keep goemu from ending with the status that it has", () => {
    const fifo = join(folder.path, "silent");
    execFileSync("mkfifo", [fifo]);
    const here = (name: string): string => JSON.stringify(new URL(name, import.meta.url).href);
    const script = `
      import * as fs from "node:fs";
      import { answers, isThreadWaiting, leaveWithThreadsWaiting } from ${here("../host/node/answers.ts")};
      // A thread of Node's waits for a writer that never comes.
      const ask = (path, answered) => fs.open(path, "r", answered);
      console.log(await answers(".", 5000), await answers("/nowhere", 5000), isThreadWaiting());
      console.log(await answers(${JSON.stringify(fifo)}, 20, ask), isThreadWaiting());
      leaveWithThreadsWaiting(7);`;
    const file = folder.file("silent.mts", script);
    const run = spawnSync(process.execPath, [file], { timeout });
    expect(run.stdout.toString()).toBe("true true false\nfalse true\n");
    expect(run).toMatchObject({ status: 7 });
  });
});
