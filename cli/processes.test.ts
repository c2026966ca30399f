// Programs of the host that start others, natively and in one machine.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { hostIsNative } from "../fixtures/native.ts";
import { TestFolder } from "./testing/files.ts";
import { goemu, startGoemu } from "./testing/goemu.ts";

const folder = new TestFolder();
afterAll(() => folder.remove());

const ENV = { LC_ALL: "C", PATH: "/usr/bin:/bin", HOME: folder.path, GIT_CONFIG_GLOBAL: "/dev/null" };
const TIMEOUT = 120_000;

const hasAll = (...programs: string[]): boolean => hostIsNative && programs.every((each) => existsSync(each));

/** Runs a program natively and under goemu, and expects the same status and output. */
function expectSame(program: string, ...args: string[]): void {
  const options = { cwd: folder.path, env: ENV, timeout: TIMEOUT };
  const native = spawnSync(program, args, { ...options, encoding: "utf8", input: "" });
  const guest = goemu([program, ...args], options);
  expect(guest).toMatchObject({ status: native.status, stdout: native.stdout, stderr: native.stderr });
}

/** What shells have in common: pipes, subshells, traps, jobs, here documents, exit statuses, redirections. */
const SCRIPT = `
echo one two three | tr ' ' '\\n' | sort | while read word; do echo "<$word>"; done
(cd /; pwd; exit 3); echo "subshell: $?"
greeting=$(echo hello | sed s/l/L/g); echo "$greeting"
cat <<END
here: $((6 * 7))
END
sleep 0.05 & wait $!; echo "job: $?"
(exit 5) & wait $!; echo "job: $?"
trap 'echo trapped' USR1; kill -USR1 $$; trap 'echo bye' EXIT
sh -c 'kill -TERM $$' ; echo "killed: $?"
no-such-command 2>/dev/null; echo "not there: $?"
{ echo to; echo file; } > words; wc -l < words; rm words
true && false || echo either
for i in 1 2 3; do (sleep 0; echo $i) & done | sort
wait
kill -0 $$ && echo alive
exec sh -c 'echo replaced "$@"' name a b
`;

describe.skipIf(!hasAll("/bin/bash"))("bash (skipped where it is not installed)", () => {
  it("runs scripts", () => {
    folder.file("script", SCRIPT);
    expectSame("/bin/bash", "script");
  });

  it("has process substitution, coprocesses and jobs of its own", () => {
    const script = `set -m
paste <(seq 3) <(seq 4 6)
coproc tr a-z A-Z; echo loud >&\${COPROC[1]}; exec {COPROC[1]}>&-; cat <&\${COPROC[0]}; wait
sleep 100 & kill %1; wait %1; echo $?
jobs
trap 'echo child' CHLD; (exit 1)
set -o pipefail; false | true; echo "\${PIPESTATUS[@]} $?"`;
    expectSame("/bin/bash", "-c", script);
  });

  it("runs a script by its first line", () => {
    folder.file("started", '#!/bin/bash -e\necho "$0: $1"\nfalse\necho not\n');
    expectSame("/bin/sh", "-c", "./started x; echo $?");
  });

  it("tells by --strace what children do, with their numbers", () => {
    const { stderr, status } = goemu(["--strace", "/bin/sh", "-c", "/bin/true; exit 4"], {
      env: ENV,
      timeout: TIMEOUT,
    });
    expect(status).toBe(4);
    const numbers = new Set(Array.from(stderr.matchAll(/^(\d+) /gm), ([, number]) => number));
    expect(numbers.size).toBe(2);
    expect(stderr).toMatch(/^(\d+) execve\("\/bin\/true".*\n(?:.*\n)*\1 \+\+\+ exited with 0 \+\+\+$/m);
    expect(stderr).toContain("--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED");
  });

  it("is refused processes beyond --max-processes, and goes on", () => {
    const args = ["-c", "sleep 0.3 & /bin/true; echo not reached"];
    const run = goemu(["--max-processes=2", "/bin/dash", ...args], { env: ENV, timeout: TIMEOUT });
    expect(run).toMatchObject({ status: 2, stdout: "", stderr: "/bin/dash: 1: Cannot fork\n" });
    expect(goemu(["--max-processes=0", "/bin/true"], { env: ENV })).toMatchObject({ status: 125 });
  });

  it("runs what it executes on the host with --host-exec, and hears its output to the end", () => {
    const script = 'x=$(/bin/echo hi | /bin/cat); echo "got $x"; /bin/sh -c "exit 3"; echo $?';
    const run = goemu(["--host-exec", "/bin/dash", "-c", script], { env: ENV, timeout: TIMEOUT });
    expect(run).toMatchObject({ status: 0, stdout: "got hi\n3\n", stderr: "" });
  });

  it("leaves orphans behind, which end with their machine when that is told to", async () => {
    const { child, ended, printed } = startGoemu(["/bin/sh", "-c", "sleep 1000 & echo started; exit 7"], {
      env: ENV,
      timeout: TIMEOUT,
    });
    await printed("started");
    child.kill("SIGTERM");
    expect((await ended).status).toBe(7);
  });
});

describe.skipIf(!hasAll("/usr/bin/busybox"))("busybox (skipped where it is not installed)", () => {
  it("runs scripts", () => {
    folder.file("script", SCRIPT);
    expectSame("/usr/bin/busybox", "sh", "script");
  });
});

describe.skipIf(!hasAll("/usr/bin/python3"))("python3 (skipped where it is not installed)", () => {
  it("forks, starts programs, shares memory", () => {
    folder.file(
      "processes.py",
      `import subprocess, os, signal, mmap, struct
print(subprocess.run(["echo", "hi"], capture_output=True, text=True))
p = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
print(p.communicate(b"data"))
try:
    subprocess.run(["sleep", "100"], timeout=0.1)
except subprocess.TimeoutExpired:
    print("timeout")
shared = mmap.mmap(-1, 4096)
pid = os.fork()
if pid == 0:
    shared[:4] = b"abcd"
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shared[:4])
pid = os.posix_spawn("/bin/sh", ["sh", "-c", "kill -9 $$"], {})
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
r, w = os.pipe()
if os.fork() == 0:
    os.setsid()
    os.write(w, struct.pack("?", os.getsid(0) == os.getpid() == os.getpgid(0)))
    os._exit(0)
print(os.read(r, 1), os.wait()[1])
`,
    );
    expectSame("/usr/bin/python3", "processes.py");
  });
});

describe.skipIf(!hasAll("/usr/bin/git"))("git (skipped where it is not installed)", () => {
  it("clones a repository", () => {
    const git = (...args: string[]): void => {
      const done = spawnSync("/usr/bin/git", args, { cwd: join(folder.path, "source"), env: ENV });
      expect(done.stderr.toString()).toBe("");
    };
    spawnSync("/usr/bin/git", ["init", "-q", "source"], { cwd: folder.path, env: ENV });
    folder.file("source/file", "text\n");
    git("add", ".");
    git("-c", "user.name=n", "-c", "user.email=e", "commit", "-qm", "first");
    const run = goemu(["/usr/bin/git", "clone", "-q", "source", "copy"], {
      cwd: folder.path,
      env: ENV,
      timeout: TIMEOUT,
    });
    expect(run).toMatchObject({ status: 0, stdout: "", stderr: "" });
    expect(readdirSync(join(folder.path, "copy")).toSorted()).toEqual([".git", "file"]);
  });
});

describe.skipIf(!hasAll("/usr/bin/gcc"))("gcc (skipped where it is not installed)", () => {
  it("compiles as natively", () => {
    folder.file("hello.c", '#include <stdio.h>\nint main(int c, char **v) { printf("%d\\n", c); return c + 1; }\n');
    const build = (run: () => unknown): Buffer => {
      run();
      const bytes = readFileSync(join(folder.path, "hello"));
      rmSync(join(folder.path, "hello"));
      return bytes;
    };
    const args = ["-O1", "-o", "hello", "hello.c"];
    const native = build(() => spawnSync("/usr/bin/gcc", args, { cwd: folder.path, env: ENV }));
    const options = { cwd: folder.path, env: ENV, timeout: TIMEOUT };
    const guest = build(() =>
      expect(goemu(["/usr/bin/gcc", ...args], options)).toMatchObject({ status: 0, stderr: "" }),
    );
    expect(guest.equals(native)).toBe(true);
  });
});
