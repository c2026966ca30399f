import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { bytesOf, frame, PacketReader, textOf } from "./packets.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Path of a file of the repository. */
export const inRepository = (path: string): string => join(root, path);

/** Is there a gdb on this machine? */
export const hasGdb = spawnSync("gdb", ["--version"]).status === 0;

/** A goemu process with a debug server. */
export class DebuggedGuest {
  readonly #child: ChildProcess;
  stdout = "";
  stderr = "";
  readonly #exit: Promise<number | null>;
  port = 0;

  private constructor(args: readonly string[]) {
    this.#child = spawn(process.execPath, [inRepository("cli/goemu.ts"), "gdb", ...args], { cwd: root });
    this.#child.stdout?.on("data", (bytes) => {
      this.stdout += bytes;
    });
    this.#child.stderr?.on("data", (bytes) => {
      this.stderr += bytes;
    });
    this.#exit = new Promise((resolve) => this.#child.on("close", resolve));
  }

  /** Starts a guest, which waits for its debugger, and waits until its port is open. */
  static async start(
    program: string,
    args: readonly string[] = [],
    options: readonly string[] = [],
  ): Promise<DebuggedGuest> {
    const guest = new DebuggedGuest(["--listen", "0", ...options, inRepository(program), ...args]);
    await guest.until(() => /target remote :(\d+)/.test(guest.stderr));
    guest.port = Number(/target remote :(\d+)/.exec(guest.stderr)?.[1]);
    return guest;
  }

  /** Waits for something to become true. */
  async until(condition: () => boolean): Promise<void> {
    for (let i = 0; i < 600 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 50));
    if (!condition()) throw new Error(`goemu did not get there:\n${this.stdout}\n${this.stderr}`);
  }

  /** The exit status. */
  status(): Promise<number | null> {
    return this.#exit;
  }

  kill(signal: "SIGKILL" | "SIGTERM" = "SIGKILL"): void {
    this.#child.kill(signal);
  }
}

/** Runs gdb's commands in a session with the guest; returns what gdb printed. */
export async function gdb(guest: DebuggedGuest, program: string, commands: readonly string[]): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), "goemu-gdb-"));
  const script = join(directory, "commands");
  const setup = ["set pagination off", "set confirm off", "set width 0", `target remote :${guest.port}`];
  writeFileSync(script, [...setup, ...commands, ""].join("\n"));
  try {
    const symbols = program === "" ? [] : [inRepository(program)];
    const child = spawn("gdb", ["-q", "-nx", "-batch", "-x", script, ...symbols], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (bytes) => {
        output += bytes;
      });
    }
    await new Promise((resolve) => child.on("close", resolve));
    return output;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** A client that speaks the protocol packet by packet. */
export class RawClient {
  readonly #socket: Socket;
  readonly #reader = new PacketReader();
  readonly #packets: string[] = [];
  readonly #waiting: ((packet: string) => void)[] = [];
  /** Bytes that came outside of packets. */
  acknowledgements = "";
  /** Done when the server has closed the connection. */
  readonly closed: Promise<string>;

  /** @param socket a connection to the server, from whichever side it was made */
  constructor(socket: Socket) {
    this.#socket = socket;
    this.closed = new Promise((resolve) => socket.on("close", () => resolve("closed")));
    socket.on("error", () => socket.destroy());
    socket.on("data", (bytes: Uint8Array) => {
      for (const incoming of this.#reader.read(bytes)) {
        if (incoming.kind === "ack") this.acknowledgements += "+";
        else if (incoming.kind === "nak") this.acknowledgements += "-";
        else if (incoming.kind === "packet") this.#arrived(textOf(incoming.data));
      }
    });
  }

  static async connect(port: number): Promise<RawClient> {
    const socket = connect(port, "127.0.0.1");
    await new Promise((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    return new RawClient(socket);
  }

  #arrived(packet: string): void {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#packets.push(packet);
    else waiting(packet);
  }

  /** The next packet from the server. */
  receive(): Promise<string> {
    const packet = this.#packets.shift();
    if (packet !== undefined) return Promise.resolve(packet);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Sends a packet and waits for the reply. */
  ask(payload: string): Promise<string> {
    this.raw(frame(bytesOf(payload)));
    return this.receive();
  }

  raw(bytes: Uint8Array | string): void {
    this.#socket.write(typeof bytes === "string" ? bytesOf(bytes) : bytes);
  }

  close(): void {
    this.#socket.destroy();
  }
}
