// Dynamically linked programs of the host, with its own libraries: on Linux on x86-64 every system has some.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import process from "node:process";
import { afterAll, describe, expect, it } from "vitest";
import { hostIsNative } from "../fixtures/native.ts";
import { TestFolder } from "./testing/files.ts";
import { goemu } from "./testing/goemu.ts";

const LOADER = "/lib64/ld-linux-x86-64.so.2";
const hasGlibc = hostIsNative && existsSync(LOADER);
const hasCompiler = hasGlibc && spawnSync("gcc", ["--version"]).status === 0;

const folder = new TestFolder();
afterAll(() => folder.remove());

/** Runs a program natively and under goemu, and expects the same status and output. */
function expectSame(program: string, ...args: string[]): void {
  const env = { LC_ALL: "C", PATH: "/usr/bin:/bin" };
  const native = spawnSync(program, args, { cwd: folder.path, env, encoding: "utf8", timeout: 30_000 });
  const guest = goemu([program, ...args], { cwd: folder.path, env });
  expect(guest).toMatchObject({ status: native.status, stdout: native.stdout, stderr: native.stderr });
}

describe.skipIf(!hasGlibc)("dynamically linked programs (skipped where the host has no glibc for x86-64)", () => {
  it("do as natively", () => {
    folder.file("words", "b\na\nc\n");
    expectSame("/bin/ls", "-a", ".");
    expectSame("/usr/bin/sort", "words");
    expectSame("/bin/cat", "no-such-file");
  });

  it("run by their loader, named as the program", () => {
    expectSame(LOADER, "/bin/echo", "hello");
    expectSame(LOADER, "--verify", "/bin/echo");
    expectSame(LOADER, "/bin/no-such-program");
  });

  it("say what a library is", () => {
    const { status, stderr } = goemu(["/lib/x86_64-linux-gnu/libm.so.6"]);
    expect(stderr).toMatch(/^goemu: .*(is a shared library|no such file)/);
    expect([126, 127]).toContain(status);
  });
});

const THREADS = `
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <pwd.h>
#include <stdio.h>
#include <unistd.h>
static __thread int own = 1;
static pthread_mutex_t robust;
static void *dies(void *unused) { own++; pthread_mutex_lock(&robust); return unused; }
int main(void) {
  pthread_mutexattr_t kind;
  pthread_mutexattr_init(&kind);
  pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&robust, &kind);
  pthread_t thread;
  pthread_create(&thread, 0, dies, 0);
  pthread_join(thread, 0);
  printf("%d %d %s\\n", own, pthread_mutex_lock(&robust) == EOWNERDEAD, getpwuid(0)->pw_name);
  return 3;
}
`;

it.skipIf(!hasCompiler)("threads of a C library, and a mutex whose owner has died (skipped without gcc)", () => {
  const source = folder.file("threads.c", THREADS);
  const program = source.replace(/\.c$/, "");
  expect(spawnSync("gcc", ["-o", program, source, "-pthread"]).status).toBe(0);
  expectSame(program);
  expect(goemu([program]).stdout).toBe("1 1 root\n");
});

const hasGo = hasCompiler && spawnSync("go", ["version"]).status === 0;

const CGO = `package main

// #include <stdlib.h>
// extern int callback(int);
// static int twice(int n) { return callback(n) + callback(n); }
import "C"
import "fmt"

//export callback
func callback(n C.int) C.int { return n + 1 }

func main() { fmt.Println(C.twice(20)) }
`;

it.skipIf(!hasGo)(
  "cgo: callbacks from C, and C's part of the road (skipped without go and gcc)",
  () => {
    folder.file("go.mod", "module cgo\n\ngo 1.20\n");
    folder.file("main.go", CGO);
    const env = { ...process.env, CGO_ENABLED: "1", GOFLAGS: "" };
    const built = spawnSync("go", ["build", "-o", "cgo-program", "main.go"], {
      cwd: folder.path,
      env,
      encoding: "utf8",
    });
    expect(built.stderr).toBe("");
    const program = `${folder.path}/cgo-program`;
    expectSame(program);
    const road = goemu(["road", "-o", `${folder.path}/road.txt`, program]);
    expect(road).toMatchObject({ status: 0, stdout: "42\n" });
    const lines = readFileSync(`${folder.path}/road.txt`, "utf8").split("\n").slice(2, 8);
    const names = lines.map((line) => /[└├] (\S+)/.exec(line)?.[1]);
    expect(names.slice(0, 5)).toEqual([LOADER, "_start", "__libc_start_main", "main", "runtime.rt0_go"]);
  },
  120_000,
);
