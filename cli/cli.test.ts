// The command's options, streams, signals and looking commands, as docs/cli.md has them.
import { spawn, spawnSync } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { fixturePath, loadFixture } from "../fixtures/programs.ts";
import { SA_RESTART, SIGNAL } from "../syscalls/abi/signals.ts";
import type { Assembler } from "../syscalls/testing/assembler.ts";
import { DATA } from "../syscalls/testing/guest.ts";
import { handlers, install } from "../syscalls/testing/handlers.ts";
import { TestFolder } from "./testing/files.ts";
import { COMMAND, goemu, startGoemu } from "./testing/goemu.ts";

const folder = new TestFolder();
afterAll(() => folder.remove());

const ARGS = fixturePath("bin/args-env-exit");
const WORK = fixturePath("bin/work");
const FILTER = fixturePath("bin/stdin-filter");
const HELLO = ["hello, world in goroutine 1", "hello, world in goroutine 2", "hello, world in goroutine main", ""];
const sortedLines = (text: string): string[] =>
  text.split("\n").toSorted((a, b) => Number(a === "") - Number(b === "") || (a < b ? -1 : 1));

describe("goemu PROGRAM", () => {
  it("runs it; `run` may be written", () => {
    for (const args of [[WORK], ["run", WORK], ["run", "--tier", "interpreter", WORK]]) {
      const run = goemu(args);
      expect(sortedLines(run.stdout)).toEqual(HELLO);
      expect(run).toMatchObject({ stderr: "", status: 0 });
    }
  });

  it("gives the guest everything behind its name, options too, byte for byte", () => {
    const args = ["--help", "-v", "--strace", "", "two words", "größe", "--", "run"];
    const run = goemu([ARGS, ...args]);
    const lines = run.stdout.split("\n");
    expect(lines.slice(0, args.length)).toEqual(args.map((arg, i) => `${i + 1} ${JSON.stringify(arg)}`));
    expect(run).toMatchObject({ stderr: "exiting with 3\n", status: 3 });
  });

  it("gives the guest arguments and variables that are not UTF-8", () => {
    // A shell makes the bytes: Node's own spawn takes text only.
    const script = `X=$(printf 'GOEMU_X=\\377'); env "$X" "${process.execPath}" "${COMMAND}" "${ARGS}" "$(printf 'a\\376b')"`;
    const run = spawnSync("sh", ["-c", script], { env: { PATH: process.env.PATH } });
    expect(run.stdout.toString("latin1")).toContain('1 "a\\xfeb"');
    expect(run.stdout.toString("latin1")).toContain("GOEMU_X=\u00ff");
  });

  it("starts in the current directory", () => {
    const guest = folder.guest("getcwd", (a) => {
      a.syscall(79, DATA, 4096).copy("rdx", "rax").mov("rdi", 1).mov("rsi", DATA).mov("rax", 1).bytes(0x0f, 0x05);
    });
    expect(goemu([guest], { cwd: folder.path }).stdout).toBe(`${folder.path}\0`);
    expect(goemu(["./getcwd"], { cwd: folder.path }).stdout).toBe(`${folder.path}\0`);
  });
});

describe.skipIf(process.platform !== "linux")(
  "descriptors besides the standard streams (skipped unless on Linux)",
  () => {
    /** Copies what is in descriptor 5 to 7, and says whether others are open. */
    const guest = (copies = true): string =>
      folder.guest("descriptors", (a) => {
        if (copies)
          a.syscall(0, 5, DATA, 4096).copy("rdx", "rax").mov("rdi", 7).mov("rsi", DATA).mov("rax", 1).bytes(0x0f, 0x05);
        for (let fd = 3; fd < 30; fd++) a.syscall(72, fd, 1, 0).copy("rbx", "rax").record("rbx");
      });
    const open = (words: Buffer): number[] =>
      Array.from({ length: 27 }, (_, i) => i + 3).filter((_, i) => words.readBigInt64LE(8 * i) >= 0n);

    it("that a shell has opened are the guest's, and no others are", () => {
      const script = `exec 5<"$IN" 7>"$OUT" 12>&7; exec "$@"`;
      const [IN, OUT] = [folder.file("in", "from a file"), folder.file("out", "")];
      const args = ["--norc", "-c", script, "sh", process.execPath, COMMAND, guest()];
      const bash = spawnSync("bash", args, { env: { PATH: process.env.PATH, IN, OUT } });
      expect(bash.stderr.toString()).toBe("");
      expect(open(bash.stdout)).toEqual([5, 7, 12]);
      expect(readFileSync(OUT, "utf8")).toBe("from a file");
    });

    it("may be pipes and sockets", () => {
      const run = spawnSync("bash", [
        "--norc",
        "-c",
        `"$@" 5< <(echo piped) 7>&2 | cat`,
        "sh",
        process.execPath,
        COMMAND,
        guest(),
      ]);
      expect(run.stderr.toString()).toBe("piped\n");
      expect(open(run.stdout)).toEqual([5, 7]);
      const child = spawnSync(process.execPath, [COMMAND, guest(false)], {
        stdio: ["pipe", "pipe", "pipe", "ignore", "ignore", "pipe", "ignore", "pipe"],
      });
      expect(open(child.stdout)).toEqual(expect.arrayContaining([5, 7]));
    });
  },
);

describe.skipIf(process.platform !== "linux")(
  "offsets of files that a shell has opened (skipped unless on Linux)",
  () => {
    const bash = (script: string, ...args: readonly string[]): string => {
      const all = ["--norc", "-c", script, "sh", process.execPath, COMMAND, ...args];
      const run = spawnSync("bash", all, { cwd: folder.path, env: { PATH: process.env.PATH }, timeout: 20_000 });
      expect(run.stderr.toString()).toBe("");
      return run.stdout.toString();
    };

    it("move with what goes from file to file", () => {
      folder.file("abc", "abc");
      for (const [name, ...call] of [
        ["copy_file_range", 326, 3, 0, 1, 0, 100, 0],
        ["sendfile", 40, 1, 3, 0, 100],
      ] as const) {
        const guest = folder.guest(name, (a) => {
          a.put(DATA, 0x0063_6261n).syscall(2, DATA, 0, 0);
          a.syscall(call[0], ...call.slice(1));
          a.syscall(231, 0);
        });
        expect(bash('(echo 1; "$@"; echo 2; "$@"; echo 3) >to; cat to', guest), name).toBe("1\nabc2\nabc3\n");
      }
    });

    it("move back with lseek(2), for whoever reads on", () => {
      const guest = folder.guest("lseek", (a) => {
        a.syscall(0, 0, DATA, 4096).syscall(8, 0, 2, 0).syscall(231, 0);
      });
      folder.file("lines", "1\n2\n3\n");
      expect(bash('("$@"; cat) <lines', guest)).toBe("2\n3\n");
    });
  },
);

describe("the environment", () => {
  it("is the host's; -E adds to it and replaces, the last one counts", () => {
    const env = { GREETING: "host", GOEMU_A: "1", GOEMU_B: "2" };
    const run = goemu(["-E", "GREETING=first", "-E", "GREETING=a=b c", "--env", "GOEMU_C=", ARGS], { env });
    expect(run.stdout).toContain('GREETING="a=b c"\n');
    expect(run.stdout).toContain("GOEMU_A=1;GOEMU_B=2;GOEMU_C=\n");
  });

  it("is empty under --clear-env but for what -E sets", () => {
    const run = goemu(["--clear-env", "-E", "EMPTY=", ARGS], { env: { GREETING: "host", GOEMU_A: "1" } });
    expect(run.stdout).toBe('GREETING=""\ntrue false <>\n\n');
  });
});

describe("--cpus", () => {
  it.each(["1", "3", "64"])("%s is what the Go runtime sees", (count) => {
    const fixture = loadFixture("numcpu");
    const strace = goemu(["--cpus", count, "--strace", fixture.binary, ...fixture.args]).stderr;
    expect(strace).toMatch(/sched_getaffinity\(0, 8192, .*\) = 8/);
    const guest = folder.guest(`cpus-${count}`, (a) => {
      a.syscall(204, 0, 8, DATA)
        .load("rax", DATA)
        .bytes(0xf3, 0x48, 0x0f, 0xb8, 0xf8)
        .mov("rax", 231)
        .bytes(0x0f, 0x05);
    });
    expect(goemu(["--cpus", count, guest]).status).toBe(Number(count));
  });
});

describe("--cpu", () => {
  it("is what CPUID says", () => {
    // CPUID leaf 1: the exit status is POPCNT's bit (23 of ECX).
    const guest = folder.guest("cpuid", (a) => {
      a.mov("rax", 1).mov("rcx", 0).bytes(0x0f, 0xa2, 0xc1, 0xe9, 23, 0x83, 0xe1, 1).copy("rdi", "rcx");
      a.mov("rax", 231).bytes(0x0f, 0x05);
    });
    const status = (model: string): number | null => goemu(["--cpu", model, guest]).status;
    expect([status("x86-64-v1"), status("x86-64-v2"), status("-popcnt"), status("x86-64-v1,+popcnt")]).toEqual([
      0, 1, 0, 1,
    ]);
  });

  it("that is good enough lets a GOAMD64=v3 program run", () => {
    const fixture = loadFixture("sort-v3");
    expect(goemu(["--cpu", "x86-64-v3", fixture.binary, ...fixture.args]).stdout).toBe(fixture.expected.stdout);
  });
});

describe("--memory", () => {
  it("bounds what the guest can map; Go says so itself", () => {
    const run = goemu(["--memory", "24M", WORK]);
    expect(run.status).toBe(2);
    expect(run.stderr).toMatch(/^(fatal error|runtime): .*out of memory/m);
    expect(sortedLines(goemu(["--memory", "1G", WORK]).stdout)).toEqual(HELLO);
  });
});

describe("--address-space linux", () => {
  it("lays a Go 1.19 program out as Linux does: heap at 0xc000000000, stack below 0x7fff…", () => {
    const run = goemu(["--address-space", "linux", "--strace", fixturePath("bin/work-go1.19")]);
    expect(sortedLines(run.stdout)).toEqual(HELLO);
    expect(run.stderr).toMatch(/mmap\(0xc000000000, 67108864, PROT_NONE, .*\) = 0xc000000000\n/);
    expect(run.stderr).toMatch(/sched_getaffinity\(0, 8192, 0x7ff[0-9a-f]{9}\)/);
    const compact = goemu(["--strace", fixturePath("bin/work-go1.19")]);
    expect(compact.stderr).not.toContain("= 0xc000000000\n");
  });

  it("shows in /proc/self/maps", () => {
    const guest = folder.guest("maps", (a) => {
      a.put(DATA, 0x65732f636f72702fn).put(DATA + 8, 0x0073_7061_6d2f_666cn);
      a.syscall(257, -100, DATA, 0, 0)
        .copy("rdi", "rax")
        .mov("rsi", DATA + 64)
        .mov("rdx", 8192)
        .mov("rax", 0);
      a.bytes(0x0f, 0x05)
        .copy("rdx", "rax")
        .mov("rdi", 1)
        .mov("rsi", DATA + 64)
        .mov("rax", 1)
        .bytes(0x0f, 0x05);
    });
    const maps = goemu(["--address-space", "linux", guest]).stdout;
    expect(maps).toMatch(/^00401000-00405000 r-xp 00001000 .* \/.*\/maps$/m);
    expect(maps).toMatch(/^7ff[0-9a-f]{9}-7ffffffff000 rw-p 00000000 00:00 0 +\[stack\]$/m);
    expect(goemu([guest]).stdout).toMatch(/^[0-9a-f]{8}-[0-9a-f]{8} rw-p .*\[stack\]$/m);
  });

  it("puts a static PIE at 0x5555…", () => {
    const run = goemu(["--address-space", "linux", "--strace", fixturePath("bin/work-pie")]);
    expect(sortedLines(run.stdout)).toEqual(HELLO);
    expect(run.stderr).toMatch(/rt_sigaction\(SIGSEGV, .*0x5555[0-9a-f]{8}/);
  });
});

describe("--strace", () => {
  const LINE =
    /^\d+ (\w+\(.*\) += .*|\+\+\+ exited with 0 \+\+\+|--- SIG\w+ .*|<\.\.\. .*|\w+\(.*<unfinished \.\.\.>)$/;

  it("writes a line a call to standard error, with the thread's id", () => {
    const run = goemu(["--strace", WORK]);
    expect(sortedLines(run.stdout)).toEqual(HELLO);
    const lines = run.stderr.trimEnd().split("\n");
    expect(lines.filter((line) => !LINE.test(line))).toEqual([]);
    expect(lines.at(-1)).toMatch(/^\d+ \+\+\+ exited with 0 \+\+\+$/);
    expect(run.stderr).toMatch(/^\d+ write\(1, "hello, world in goroutine main\\n", 31\) = 31$/m);
    expect(run.stderr).toMatch(/^\d+ clone\(.*CLONE_VM\|CLONE_FS.*\) = \d+$/m);
    const threads = new Set(lines.map((line) => line.split(" ")[0]));
    expect(threads.size).toBeGreaterThan(1);
  });

  it("=FILE writes them there", () => {
    const trace = join(folder.path, "trace");
    const run = goemu([`--strace=${trace}`, WORK]);
    expect(run).toMatchObject({ stderr: "", status: 0 });
    expect(readFileSync(trace, "utf8")).toMatch(/exit_group\(0\) += \?\n\d+ \+\+\+ exited with 0 \+\+\+\n$/);
  });
});

describe("--stats", () => {
  it("prints figures at the end", () => {
    const run = goemu(["--stats", WORK]);
    for (const name of ["instructions", "time", "system calls", "threads", "guest memory"]) {
      expect(run.stderr).toMatch(new RegExp(`^goemu: ${name} +[0-9]`, "m"));
    }
  });

  it("=json prints one object, exact for a guest of a few instructions", () => {
    const guest = folder.guest("three", (a) => a.bytes(0x90, 0x90, 0x90));
    const statistics = JSON.parse(goemu(["--stats=json", guest]).stderr);
    // Three NOPs, write(2) with four MOVs and SYSCALL, exit_group(2) with two and SYSCALL.
    expect(statistics).toMatchObject({ version: 1, instructions: 11, syscalls: 2, threads: 1, peakThreads: 1 });
    expect(statistics.peakGuestMemory).toBeGreaterThan(8 << 20);
  });

  it("is printed when a signal kills the guest, too", () => {
    const guest = folder.guest("fault", (a) => a.load("rax", 8));
    const run = goemu(["--stats=json", guest]);
    expect(run.status).toBe(139);
    expect(run.stderr).toMatch(/"instructions":/);
    expect(run.stderr).toMatch(/Segmentation fault \(killed by signal 11\)\n$/);
  });
});

describe("exit statuses", () => {
  it("are the guest's", () => {
    for (const status of [0, 1, 125, 255]) {
      expect(goemu([folder.guest(`exit${status}`, (a) => a.syscall(231, status))]).status).toBe(status);
    }
    expect(goemu([folder.guest("exit256", (a) => a.syscall(231, 256 + 7))]).status).toBe(7);
  });

  it.each([
    ["SIGTERM", "Terminated"],
    ["SIGKILL", "Killed"],
    ["SIGABRT", "Aborted"],
    ["SIGUSR1", "User defined signal 1"],
  ] as const)("are 128 + N after death by %s, with a line like a shell's", (name, says) => {
    const guest = folder.guest(name, (a) => {
      a.syscall(39).copy("rdi", "rax").mov("rsi", SIGNAL[name]).mov("rax", 62).bytes(0x0f, 0x05);
    });
    const run = goemu([guest]);
    expect(run.status).toBe(128 + SIGNAL[name]);
    expect(run.stderr).toBe(`goemu: ${guest}: ${says} (killed by signal ${SIGNAL[name]})\n`);
  });

  it("say nothing of a reader that has gone, as shells do", () => {
    const guest = folder.guest("SIGPIPE", (a) => {
      a.syscall(39).copy("rdi", "rax").mov("rsi", SIGNAL.SIGPIPE).mov("rax", 62).bytes(0x0f, 0x05);
    });
    expect(goemu([guest])).toMatchObject({ status: 128 + SIGNAL.SIGPIPE, stderr: "" });
  });
});

describe("host signals", () => {
  /** Says "ready", waits, and exits with the number of the first signal that comes. */
  const waiting = (a: Assembler): void => {
    handlers(a, () => {
      a.label("handler").mov("rax", 231).bytes(0x0f, 0x05);
    });
    for (const name of ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT", "SIGWINCH"] as const) {
      install(a, SIGNAL[name], "handler", SA_RESTART);
    }
    a.put(DATA, 0x0a79_6461_6572n).syscall(1, 1, DATA, 6);
    a.label("wait").syscall(34).jmp("wait");
  };

  it.each([
    "SIGINT",
    "SIGTERM",
    "SIGHUP",
    "SIGUSR1",
    "SIGUSR2",
    "SIGQUIT",
    "SIGWINCH",
  ] as const)("%s reaches the guest's handler", async (name) => {
    const { child, ended, printed } = startGoemu([folder.guest("waiting", waiting)]);
    await printed("ready");
    child.kill(name);
    expect(await ended).toMatchObject({ status: SIGNAL[name], signal: null });
  });

  it("reach a guest that computes", async () => {
    const { child, ended, printed } = startGoemu([
      folder.guest("spinning", (a) => {
        handlers(a, () => a.label("handler").mov("rax", 231).bytes(0x0f, 0x05));
        install(a, SIGNAL.SIGINT, "handler");
        a.put(DATA, 0x0a79_6461_6572n).syscall(1, 1, DATA, 6).label("spin").jmp("spin");
      }),
    ]);
    await printed("ready");
    child.kill("SIGINT");
    expect(await ended).toMatchObject({ status: 2, signal: null });
  });

  it("kill a guest without a handler", async () => {
    const guest = folder.guest("patient", (a) => {
      a.put(DATA, 0x0a79_6461_6572n).syscall(1, 1, DATA, 6).label("wait").syscall(34).jmp("wait");
    });
    const { child, ended, printed } = startGoemu([guest]);
    await printed("ready");
    child.kill("SIGTERM");
    const outcome = await ended;
    expect(outcome.status).toBe(143);
    expect(outcome.stderr).toMatch(/Terminated \(killed by signal 15\)/);
  });
});

describe("standard input", () => {
  const text = "one two\nthree\nno newline at the end";
  const COUNTS = "2 lines, 8 words, 35 bytes\n";

  it("may be a pipe, a large one too", () => {
    expect(goemu([FILTER], { input: text })).toMatchObject({ stdout: text.toUpperCase(), stderr: COUNTS, status: 0 });
    const large = "0123456789abcdef\n".repeat(100_000);
    expect(goemu([FILTER], { input: large }).stdout).toBe(large.toUpperCase());
  });

  it("may be a pipe that is written slowly", async () => {
    const { child, ended } = startGoemu([FILTER]);
    for (const piece of ["one ", "two\nth", "ree\nno newline at the end"]) {
      child.stdin?.write(piece);
      await new Promise((resolve) => setTimeout(resolve, 150));
    }
    child.stdin?.end();
    expect(await ended).toMatchObject({ stdout: text.toUpperCase(), stderr: COUNTS });
  });

  it("may be a file, read from where it stands", () => {
    const fd = openSync(folder.file("input", text), "r");
    const run = spawnSync(process.execPath, [COMMAND, FILTER], { stdio: [fd, "pipe", "pipe"] });
    closeSync(fd);
    expect(run.stdout.toString()).toBe(text.toUpperCase());
  });

  it("may be closed, or /dev/null", () => {
    const run = (redirection: string): string => {
      const script = `"${process.execPath}" "${COMMAND}" "${FILTER}" ${redirection}`;
      return spawnSync("sh", ["-c", script]).stderr.toString();
    };
    expect(run("</dev/null")).toBe("0 lines, 0 words, 0 bytes\n");
    // With descriptor 0 closed the guest sees an empty input, or is told so.
    expect(run("<&-")).toMatch(/^0 lines, 0 words, 0 bytes\n$|bad file descriptor/);
  });
});

describe("standard output", () => {
  it("to a pipe without a reader is SIGPIPE, as natively", async () => {
    // 200,000 lines: more than any pipe holds.
    const guest = folder.guest("yes", (a) => {
      a.put(DATA, 0x0a79n).label("more").syscall(1, 1, DATA, 2).jmp("more");
    });
    const child = spawn(process.execPath, [COMMAND, guest], { stdio: ["ignore", "pipe", "ignore"] });
    child.stdout.once("data", () => child.stdout.destroy());
    const status = await new Promise((resolve) => child.on("exit", (code, signal) => resolve(code ?? signal)));
    expect(status).toBe(141);
  });

  it("and standard error to one file keep their order", () => {
    const path = join(folder.path, "both");
    const guest = folder.guest("order", (a) => {
      a.put(DATA, 0x0a31n)
        .put(DATA + 8, 0x0a32n)
        .mov("r15", 500)
        .label("more");
      a.syscall(1, 1, DATA, 2)
        .syscall(1, 2, DATA + 8, 2)
        .mov("rcx", 1)
        .sub("r15", "rcx")
        .jcc("ne", "more");
    });
    spawnSync("sh", ["-c", `"${process.execPath}" "${COMMAND}" "${guest}" >"${path}" 2>&1`]);
    expect(readFileSync(path, "latin1")).toBe("1\n2\n".repeat(500));
    spawnSync("sh", ["-c", `"${process.execPath}" "${COMMAND}" "${guest}" >>"${path}" 2>&1`]);
    expect(readFileSync(path, "latin1")).toBe("1\n2\n".repeat(1000));
  });

  it("to a full device is ENOSPC", () => {
    const guest = folder.guest("full", (a) => {
      a.syscall(1, 1, DATA, 1).bytes(0x48, 0xf7, 0xd8).copy("rdi", "rax").mov("rax", 231).bytes(0x0f, 0x05);
    });
    expect(spawnSync("sh", ["-c", `"${process.execPath}" "${COMMAND}" "${guest}" >/dev/full`]).status).toBe(28);
  });
});

describe("goemu info", () => {
  it.each(["work", "work-stripped", "work-nosections", "work-pie", "work-go1.9"])("%s", (name) => {
    const info = JSON.parse(goemu(["info", "--json", fixturePath(`bin/${name}`)]).stdout);
    expect(info).toMatchObject({ version: 1, entryFunction: "_rt0_amd64_linux" });
    expect(info.segments.length).toBeGreaterThan(2);
    expect(JSON.stringify(info)).toMatch(name === "work-go1.9" ? /go1\.9/ : /go1\.27/);
    const shown = goemu(["info", fixturePath(`bin/${name}`)]).stdout;
    expect(shown).toMatch(/_rt0_amd64_linux/);
    expect(shown).toMatch(/^goemu can run it\.$/m);
  });

  it("shows a dynamically linked program", () => {
    const info = goemu(["info", "--json", process.execPath]);
    expect(info.status).toBe(0);
    expect(JSON.parse(info.stdout)).toMatchObject({ linkage: "dynamic", runnable: { ok: true } });
  });
});

describe("goemu disasm", () => {
  it("shows a function, by name or address, in three syntaxes and as JSON, stripped or not", () => {
    const binary = fixturePath("bin/work-stripped");
    const lines = goemu(["disasm", "--json", binary, "main.main"])
      .stdout.trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines.length).toBeGreaterThan(20);
    expect(lines[0]).toMatchObject({ function: "main.main", source: { line: 14 } });
    const at = `0x${lines[0].address.toString(16)},14`;
    const short = goemu(["disasm", "--json", binary, at]).stdout.trimEnd().split("\n");
    expect(short.map((line) => JSON.parse(line))).toEqual(lines.slice(0, short.length));
    const texts = ["gas", "intel", "go"].map(
      (syntax) => goemu(["disasm", "--syntax", syntax, binary, "main.main"]).stdout,
    );
    expect(texts[0]).toMatch(/cmp +0x10\(%r14\),%rsp/);
    expect(texts[1]).toMatch(/cmp +rsp, ?\[r14 ?\+ ?(0x10|10h)\]/);
    expect(texts[2]).toMatch(/CMPQ/);
  });

  it("says so where there is no such function", () => {
    const run = goemu(["disasm", WORK, "main.nothing"]);
    expect(run.stdout).toBe("");
    expect(run.stderr).toMatch(/^goemu: .*main\.nothing.*\n$/);
    expect(run.status).toBe(125);
  });
});

describe("goemu symbols", () => {
  it.each(["work", "work-stripped", "work-nosections", "work-go1.11"])("%s", (name) => {
    const run = goemu(["symbols", "--json", fixturePath(`bin/${name}`), "^main\\.(main|work)$"]);
    const names = run.stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line).name);
    expect(names.toSorted()).toEqual(["main.main", "main.work"]);
    expect(goemu(["symbols", fixturePath(`bin/${name}`)]).stdout).toMatch(/^[0-9a-f]{16} [0-9a-f]{8} runtime\.main$/m);
  });
});

describe("goemu syscalls", () => {
  it("lists what is there", () => {
    const rows = goemu(["syscalls", "--json"])
      .stdout.trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(rows.length).toBeGreaterThan(150);
    expect(rows).toContainEqual(expect.objectContaining({ number: 202, name: "futex" }));
    expect(goemu(["syscalls"]).stdout).toMatch(/^ {2}1 write$/m);
  });

  it("to a pipe that is closed early is no error", () => {
    const script = `"${process.execPath}" "${COMMAND}" symbols "${WORK}" | head -1`;
    expect(spawnSync("sh", ["-c", script]).stderr.toString()).toBe("");
  });
});

describe("goemu itself", () => {
  it("tells its version and its options", () => {
    expect(goemu(["--version"])).toMatchObject({ stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/), status: 0 });
    expect(goemu(["--help"])).toMatchObject({ stdout: expect.stringMatching(/Usage: goemu/), status: 0 });
    expect(goemu(["run", "--help"]).stdout).toMatch(/--address-space/);
    expect(goemu([])).toMatchObject({ stdout: "", status: 125 });
  });

  it("says on an old Node that it is too old", () => {
    const preload = folder.file(
      "old.cjs",
      'Object.defineProperty(process, "versions", { value: { ...process.versions, node: "20.11.0" } });',
    );
    const run = spawnSync(process.execPath, ["--require", preload, COMMAND, WORK]);
    expect(run.stderr.toString()).toMatch(/^goemu: Node\.js 20\.11\.0 is too old \(install Node\.js 24 .*\)\n$/);
    expect(run.status).toBe(125);
    expect(run.stdout.toString()).toBe("");
  });
});
