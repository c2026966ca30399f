// Dynamically linked programs of the host, with its own libraries: on Linux on x86-64 every system has some.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
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
