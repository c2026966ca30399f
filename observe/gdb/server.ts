import { connect, createServer, type Server, type Socket } from "node:net";
import type { ExitStatus } from "../../syscalls/linux-process.ts";
import type { Machine } from "../../syscalls/machine.ts";
import { Debugger } from "../debugger/debugger.ts";
import { describeThread, goRuntimeOf } from "../debugger/go-view.ts";
import { imageBias, monitor } from "./describe.ts";
import { GoroutineThreads } from "./goroutines.ts";
import { Session } from "./session.ts";
import { MachineThreads, type ThreadModel } from "./threads.ts";

/** The port can't be had; the message says what to do. */
export class ListenError extends Error {
  override readonly name = "ListenError";
}

export interface GdbServerOptions {
  /** TCP port on 127.0.0.1; 0 for any that is free. */
  readonly port: number;
  /** Hold the guest until a client says how it goes on. */
  readonly wait: boolean;
  /** Present goroutines as threads. */
  readonly goroutines?: boolean;
}

/**
 * A debug server for gdb's remote protocol on 127.0.0.1, one client at a time. The guest stops when a client connects and
 * runs on when it goes; other clients may come later.
 */
export class GdbServer {
  readonly #machine: Machine;
  readonly #options: GdbServerOptions;
  readonly #server: Server;
  #debug: Debugger | undefined;
  #session: Session | undefined;
  #socket: Socket | undefined;
  /** Has a client let the guest go on? */
  #started: boolean;

  private constructor(machine: Machine, options: GdbServerOptions) {
    this.#machine = machine;
    this.#options = options;
    this.#started = !options.wait;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  /**
   * Opens the port; to be called before `machine.run()`.
   * @throws ListenError
   */
  static async listen(machine: Machine, options: GdbServerOptions): Promise<GdbServer> {
    const runtime = options.goroutines ? goRuntimeOf(machine) : undefined;
    if (typeof runtime === "string") throw new ListenError(`no goroutines to show as threads: ${runtime}`);
    const server = new GdbServer(machine, options);
    await new Promise<void>((resolve, reject) => {
      server.#server.once("error", (error: NodeJS.ErrnoException) => {
        const why = error.code === "EADDRINUSE" ? "is in use" : `can't be opened: ${error.code}`;
        reject(new ListenError(`port ${options.port} ${why} (choose another with --listen)`));
      });
      server.#server.listen(options.port, "127.0.0.1", resolve);
    });
    if (options.wait) machine.process.scheduler.pause();
    return server;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : this.#options.port;
  }

  /**
   * Connects to a client that listens, as lldb's debugserver does with -R; to be called before `machine.run()`. The guest
   * waits for the client. What it prints goes to the client.
   * @throws ListenError if nobody listens there
   */
  static async connect(machine: Machine, host: string, port: number): Promise<GdbServer> {
    const server = new GdbServer(machine, { port, wait: true });
    const socket = connect(port, host);
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", ({ message }) => reject(new ListenError(`no client at ${host}:${port}: ${message}`)));
    });
    socket.removeAllListeners("error");
    machine.process.scheduler.pause();
    server.#accept(socket);
    return server;
  }

  /** A signal that would kill the guest kills it also while it waits for its first client, which may never come. */
  terminate(signal: number): void {
    const { process } = this.#machine;
    if (this.#session === undefined && !this.#started) process.die(signal);
  }

  /** Passes on what the guest prints to a client that takes it. */
  print(bytes: Uint8Array): void {
    this.#session?.print(bytes);
  }

  #accept(socket: Socket): void {
    if (this.#session !== undefined || this.#machine.process.finished) {
      socket.destroy();
      return;
    }
    socket.setNoDelay(true);
    const debug = new Debugger(this.#machine);
    const threads = this.#threadModel(debug);
    const session = new Session({
      debug,
      threads,
      connection: { send: (bytes) => socket.write(bytes), close: () => socket.end() },
      attached: this.#started,
      monitor: monitor(this.#machine, threads instanceof GoroutineThreads ? threads : undefined),
      bias: imageBias(this.#machine),
    });
    this.#debug = debug;
    this.#session = session;
    this.#socket = socket;
    debug.interrupt();
    socket.on("data", (bytes: Uint8Array) => session.receive(bytes));
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#lost(session, debug));
  }

  #threadModel(debug: Debugger): ThreadModel {
    if (!this.#options.goroutines) return new MachineThreads(debug, (thread) => describeThread(this.#machine, thread));
    const runtime = goRuntimeOf(this.#machine);
    if (typeof runtime === "string") throw new Error(runtime);
    return new GoroutineThreads(debug, runtime);
  }

  /** The client has gone: the guest goes on, unless it has never been let go and is to wait for that. */
  #lost(session: Session, debug: Debugger): void {
    if (this.#session !== session) return;
    if (debug.everResumed || session.detached) this.#started = true;
    session.end();
    debug.detach();
    if (!this.#started) this.#machine.process.scheduler.pause();
    this.#session = undefined;
    this.#debug = undefined;
    this.#socket = undefined;
  }

  /** Tells the client how the guest ended, and closes the port. To be called after `machine.run()`. */
  async finish(status: ExitStatus): Promise<void> {
    if (this.#server.listening) this.#server.close();
    const socket = this.#socket;
    if (socket === undefined || socket.destroyed) return;
    this.#debug?.exited(status);
    await new Promise<void>((resolve) => socket.end(resolve));
    socket.destroy();
  }
}
