import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as net from "node:net";
import { describeErrno, errno, SyscallError } from "../../syscalls/abi/errno.ts";
import type { HostFifo } from "../host.ts";

const NOTHING = new Uint8Array(0);

/** A FIFO that is open, by a name that leads to it as long as it is. */
export class NodeFifo implements HostFifo {
  readonly #path: string;
  #socket: net.Socket | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** Node tells of bytes only by handing them out: it gets one. */
  wait(): Promise<Uint8Array> {
    return new Promise((resolve) => {
      let fd: number;
      try {
        fd = fs.openSync(this.#path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
      } catch {
        setTimeout(() => resolve(NOTHING), 5);
        return;
      }
      const done = (bytes: Uint8Array): void => {
        this.#socket = undefined;
        socket.destroy();
        resolve(bytes);
      };
      const onread = {
        buffer: new Uint8Array(1),
        callback: (count: number, buffer: Uint8Array): boolean => {
          done(buffer.slice(0, count));
          return false;
        },
      };
      const socket = new net.Socket({ fd, readable: true, writable: false, onread });
      this.#socket = socket;
      socket.on("end", () => done(NOTHING));
      socket.on("error", () => done(NOTHING));
      // The guest's wait keeps the event loop going, not this.
      socket.unref();
      socket.resume();
    });
  }

  hasReader(): boolean {
    try {
      fs.closeSync(fs.openSync(this.#path, fs.constants.O_WRONLY | fs.constants.O_NONBLOCK));
      return true;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code !== "ENXIO";
    }
  }

  close(): void {
    this.#socket?.destroy();
  }
}

/**
 * Makes a FIFO. Node has no mkfifo(3), POSIX's command of that name has.
 * @param mode permissions, with the mask applied already
 * @throws SyscallError as mkfifo(3); EPERM if the command is missing
 */
export function makeFifo(path: string, mode: number): void {
  if (fs.lstatSync(Buffer.from(path, "latin1"), { throwIfNoEntry: false }) !== undefined) {
    throw new SyscallError("EEXIST");
  }
  // Links of /proc/self are the command's own in there.
  const name = path.replace(/^\/proc\/self\//, `/proc/${process.pid}/`);
  // Arguments are text to Node: the shell makes bytes of octal numbers.
  const octal = Array.from(name, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, "0")}`).join("");
  const script = `name=$(printf "$2x"); exec mkfifo -m "$1" -- "\${name%x}"`;
  const run = spawnSync("/bin/sh", ["-c", script, "sh", (mode & 0o777).toString(8), octal], {
    env: { PATH: process.env.PATH, LC_ALL: "C" },
    stdio: ["ignore", "ignore", "pipe"],
    encoding: "latin1",
  });
  if (run.status !== 0) throw new SyscallError(errorIn(run.stderr ?? ""));
  // The command takes nothing but permissions.
  if (mode & 0o7000) fs.chmodSync(Buffer.from(path, "latin1"), mode);
}

/** The error that a command's message ends with. */
function errorIn(message: string): keyof typeof errno {
  const line = message.trim().split("\n").pop() ?? "";
  for (const value of Object.values(errno)) {
    const found = describeErrno(value);
    if (found !== undefined && line.endsWith(`: ${found.text}`)) return found.name;
  }
  return "EPERM";
}
