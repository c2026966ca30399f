import { spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SyscallError } from "../../syscalls/abi/errno.ts";
import { asSyscallError } from "./errors.ts";
import { NodeHost } from "./host.ts";

const guest = `${process.execPath} ${fileURLToPath(new URL("./stdio-guest.ts", import.meta.url))}`;
let directory: string;
beforeAll(() => {
  directory = fs.mkdtempSync(`${os.tmpdir()}/goemu-stdio-`);
});
afterAll(() => fs.rmSync(directory, { recursive: true }));

/** Runs a shell command in which `guest` is the test's guest. */
function sh(command: string): { stdout: string; stderr: string; status: number | null } {
  const script = command.replaceAll("guest", guest);
  const { stdout, stderr, status } = spawnSync("/bin/sh", ["-c", script], { cwd: directory, timeout: 20_000 });
  return { stdout: stdout.toString(), stderr: stderr.toString(), status };
}

describe("standard streams of the host", () => {
  it("come through a pipe in the pieces that the writer made", () => {
    expect(sh("(printf abc; sleep 0.2; printf defgh) | guest copy 4")).toMatchObject({ stdout: "abcdefgh", status: 0 });
  });

  it("leave what the guest did not ask for in the pipe", () => {
    expect(sh("printf 'hello world' | (guest once 5; cat)").stdout).toBe("hello world");
    expect(sh("(sleep 0.4; printf 'hello world') | (guest once 5; printf '|'; cat)").stdout).toBe("hello| world");
  });

  it("share the offset of a regular file with the next program", () => {
    fs.writeFileSync(`${directory}/input`, "hello world");
    expect(sh("(guest once 5; printf '|'; cat) < input").stdout).toBe("hello| world");
  });

  it("tell that they are ready before they are read", () => {
    expect(sh("(sleep 0.2; printf abcdef) | guest poll").stdout).toBe("abcdef");
    expect(sh("guest poll < /dev/null")).toMatchObject({ stdout: "", status: 0 });
  });

  it("do not keep the program from ending while they wait", () => {
    // One that is kept never ends: the pipe has a writer, which writes nothing.
    expect(sh("mkfifo quiet; exec 3<>quiet; guest leave <&3").status).toBe(0);
  });

  it("write everything, also to a slow reader", () => {
    expect(sh("guest write 300000 | (sleep 0.3; wc -c)").stdout.trim()).toBe("300000");
  });

  it("fail with EPIPE and SIGPIPE when nobody reads", () => {
    expect(sh("guest write 300000 | true").stderr).toBe("-32 13");
  });

  it("fail with EPIPE, too, where a pipe is a socket whose reader goes while bytes are unread", async () => {
    const [node, file] = guest.split(" ");
    const child = spawn(node, [file, "inherit", "4000000"], { stdio: ["ignore", "pipe", "pipe"] });
    let told = "";
    child.stderr.on("data", (text: Buffer) => (told += text));
    // It waits once no more fits in.
    for (let before = ""; told === "" || told !== before; ) {
      before = told;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    child.stdout.destroy();
    await new Promise((resolve) => child.on("close", resolve));
    expect(told).toMatch(/^\.+EPIPE$/);
  });

  it("seek in a file", () => {
    expect(sh("(guest seek; printf '!') > out").stderr).toBe("1");
    expect(fs.readFileSync(`${directory}/out`, "utf8")).toBe("F!rst");
    expect(sh("printf 0123 > log; guest write 2 >> log; wc -c < log").stdout.trim()).toBe("6");
  });
});

describe("errors of the host", () => {
  it("have Linux's numbers", () => {
    const host = new NodeHost();
    const name = (run: () => unknown): string => {
      try {
        run();
      } catch (error) {
        if (error instanceof SyscallError) return error.message;
      }
      return "no error";
    };
    expect(name(() => host.files.open("/nonexist", 0, 0))).toBe("ENOENT");
    expect(name(() => host.files.rmdir("/etc/passwd"))).toBe("ENOTDIR");
    expect(name(() => host.files.readLink("/etc/passwd"))).toBe("EINVAL");
    expect(asSyscallError(Object.assign(new Error("x"), { code: "EOPNOTSUPP" })).message).toBe("ENOTSUP");
    expect(asSyscallError(Object.assign(new Error("x"), { code: "ERR_OUT_OF_RANGE" })).message).toBe("EINVAL");
    const unnamed = Object.assign(new Error("x"), { code: "Unknown system error -77", errno: -77 });
    expect(asSyscallError(unnamed).message).toBe(process.platform === "linux" ? "EBADFD" : "EIO");
    expect(asSyscallError(Object.assign(new Error("x"), { code: "UNKNOWN", errno: -4094 })).message).toBe("EIO");
    expect(asSyscallError("what").message).toBe("EIO");
  });

  it("the wall clock is right", () => {
    const host = new NodeHost();
    expect(Math.abs(Number(host.realtimeNs()) / 1e6 - Date.now())).toBeLessThan(20);
  });
});
