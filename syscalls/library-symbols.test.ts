// Symbols of libraries that a program has mapped, with those of the host.
import { existsSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { hostIsNative } from "../fixtures/native.ts";
import { NodeHost } from "../host/node/host.ts";
import { Machine } from "./machine.ts";

const LOADER = "/lib64/ld-linux-x86-64.so.2";
const hasGlibc = hostIsNative && existsSync(LOADER) && existsSync("/bin/true");

it.skipIf(!hasGlibc)("tells functions of libraries (skipped where the host has no glibc for x86-64)", async () => {
  const host = new NodeHost({ network: false });
  const machine = new Machine({ program: readFileSync("/bin/true"), path: "/bin/true", host });
  expect(machine.symbols.libraries.map(({ path }) => path)).toEqual([LOADER]);
  expect(await machine.run()).toEqual({ kind: "exited", status: 0 });
  const libraries = machine.symbols.libraries.map(({ path }) => path);
  expect(libraries).toContain(LOADER);
  const libc = machine.symbols.libraries.find(({ path }) => /\/libc\.so\.6$/.test(path));
  const start = machine.symbols.byName("__libc_start_main");
  if (libc === undefined || start === undefined) throw new Error("the C library is not there");
  expect(start.address).toBeGreaterThan(libc.bias);
  for (const name of ["__libc_start_main", "printf", "exit"]) {
    const func = machine.symbols.byName(name);
    expect(machine.symbols.lookup((func?.address ?? 0) + 4)).toEqual(func);
  }
  // Neither the stack nor what is not mapped has a function.
  expect(machine.symbols.lookup(Number(machine.mainThread.cpu.gpr[4]))).toBeUndefined();
  expect(machine.symbols.lookup(0x7fff_0000_0000)).toBeUndefined();
  host.close();
});

it.skipIf(!hasGlibc)("reads a library once for programs that map it at the same place (skipped likewise)", async () => {
  const host = new NodeHost({ network: false });
  const machine = new Machine({
    program: readFileSync("/bin/sh"),
    path: "/bin/sh",
    args: ["sh", "-c", "/bin/true; /bin/true; exit 3"],
    host,
  });
  const tables = new Set<unknown>();
  const { libraries } = machine.process.kernel;
  const { of } = libraries;
  let asked = 0;
  libraries.of = (...about) => {
    const table = of.apply(libraries, about);
    if (about[0].endsWith("/libc.so.6")) {
      asked++;
      tables.add(table);
    }
    return table;
  };
  machine.process.kernel.programs.closing = ({ program }) => void program.symbols.byName("printf");
  expect(await machine.run()).toEqual({ kind: "exited", status: 3 });
  expect(asked).toBeGreaterThan(1);
  expect(tables.size).toBe(1);
  host.close();
});
