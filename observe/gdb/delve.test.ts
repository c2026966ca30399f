import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterEach, describe, expect, test } from "vitest";
import { inRepository, RawClient } from "./testing.ts";

const hasDelve = spawnSync("dlv", ["version"]).status === 0;
const children: ChildProcess[] = [];
const servers: Server[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  for (const server of servers.splice(0)) server.close();
});

/** Starts goemu as Delve starts its debugserver, and takes the connection. */
async function start(
  program: string,
): Promise<{ client: RawClient; status: Promise<number | null>; printed: () => string }> {
  const server = createServer();
  servers.push(server);
  const connected = new Promise<Socket>((resolve) => server.once("connection", resolve));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const args = ["cli/goemu.ts", "debugserver", "--unmask-signals", "-F", "-R", `127.0.0.1:${port}`, "--", program];
  const child = spawn(process.execPath, args, { cwd: inRepository("."), stdio: ["ignore", "pipe", "pipe"] });
  children.push(child);
  let printed = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (bytes) => {
      printed += bytes;
    });
  }
  const status = new Promise<number | null>((resolve) => child.on("close", resolve));
  return { client: new RawClient(await connected), status, printed: () => printed };
}

test("the packets that Delve uses", { timeout: 60_000 }, async () => {
  const { client, status, printed } = await start("fixtures/bin/work");
  expect(await client.ask("QStartNoAckMode")).toBe("OK");
  expect(await client.ask("QThreadSuffixSupported")).toBe("OK");
  expect(await client.ask("qSupported:swbreak+;hwbreak+;no-resumed+;xmlRegisters=i386")).toContain("PacketSize=");
  const registers: string[] = [];
  for (let i = 0; ; i++) {
    const reply = await client.ask(`qRegisterInfo${i.toString(16)}`);
    if (reply.startsWith("E")) break;
    registers.push(/name:(\w+);bitsize:\d+;offset:\d+;/.exec(reply)?.[1] ?? "");
  }
  expect(registers.slice(16, 18)).toEqual(["rip", "eflags"]);
  expect(registers).toContain("fs_base");
  expect(await client.ask("QListThreadsInStopReply")).toBe("OK");
  expect(await client.ask("x0,0")).toBe("OK");
  const [, thread] = /^m([0-9a-f]+)$/.exec(await client.ask("qfThreadInfo")) ?? [];
  expect(thread).toBeDefined();
  expect(await client.ask("qsThreadInfo")).toBe("l");
  expect(await client.ask("qProcessInfo")).toMatch(new RegExp(`^pid:${thread};.*ptrsize:8;$`));
  expect(await client.ask(`P3=efbeadde00000000;thread:${thread};`)).toBe("OK");
  expect(await client.ask(`p3;thread:${thread};`)).toBe("efbeadde00000000");
  expect(await client.ask("p3;thread:7fffffff;")).toBe("E03");
  expect(await client.ask(`qThreadStopInfo${thread}`)).toMatch(new RegExp(`thread:${thread};threads:${thread};`));
  const pc = Buffer.from(await client.ask(`p10;thread:${thread};`), "hex")
    .readBigUInt64LE()
    .toString(16);
  const code = await client.ask(`x${pc},2`);
  expect(Buffer.from(code, "latin1").toString("hex")).toBe(await client.ask(`m${pc},2`));
  expect(await client.ask(`vCont;s:${thread}`)).toMatch(/^T05thread:/);
  let output = "";
  let reply = await client.ask("vCont;c");
  for (; reply.startsWith("O"); reply = await client.receive()) output += Buffer.from(reply.slice(1), "hex");
  expect(reply).toBe("W00");
  expect(output).toMatch(
    /^hello, world in goroutine \d\nhello, world in goroutine \d\nhello, world in goroutine main\n$/,
  );
  expect(await status).toBe(0);
  expect(printed()).toBe("");
});

test("nobody there to connect to is one line and status 125", { timeout: 60_000 }, () => {
  const args = [
    inRepository("cli/goemu.ts"),
    "debugserver",
    "-F",
    "-R",
    "127.0.0.1:1",
    "--",
    inRepository("fixtures/bin/work"),
  ];
  const result = spawnSync(process.execPath, args, { encoding: "utf8" });
  expect(result.stderr).toMatch(/^goemu: no client at 127\.0\.0\.1:1: .*\n$/);
  expect(result.status).toBe(125);
});

describe.skipIf(!hasDelve)("dlv (skipped where Delve is not installed)", () => {
  test("breaks, prints, steps, lists goroutines, sees the end", { timeout: 120_000 }, () => {
    const directory = mkdtempSync(join(tmpdir(), "goemu-dlv-"));
    const shim = join(directory, "debugserver");
    writeFileSync(shim, `#!/bin/sh\nexec '${process.execPath}' '${inRepository("cli/goemu.ts")}' debugserver "$@"\n`);
    chmodSync(shim, 0o755);
    const commands = join(directory, "commands");
    const lines = ["break main.work", "continue", "args", "bt", "goroutines", "clearall", "next", "continue", "exit"];
    writeFileSync(commands, `${lines.join("\n")}\n`);
    const args = ["exec", inRepository("fixtures/bin/work"), "--backend=lldb", "--check-go-version=false"];
    const { stdout } = spawnSync("dlv", [...args, "--allow-non-terminal-interactive=true", "--init", commands], {
      env: { ...process.env, DELVE_DEBUGSERVER_PATH: shim },
      encoding: "utf8",
      input: "",
    });
    // Older ones do not name the breakpoint, and cannot print arguments of a program newer than themselves.
    expect(stdout).toMatch(/Breakpoint 1\] main\.work\(\)|> main\.work\(\) .*hits goroutine/);
    expect(stdout).toMatch(/\nid = [12]\n|\n\(no args\)\n/);
    expect(stdout).toMatch(/Goroutine 1 - User: .*main\.main|Goroutine 1 - User: .*sync\.runtime_SemacquireWaitGroup/);
    expect(stdout).toMatch(/> main\.work\(\) .*go:10 /);
    expect(stdout).toMatch(/hello, world in goroutine main\n/);
    expect(stdout).toMatch(/has exited with status 0/);
  });
});
