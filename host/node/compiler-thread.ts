import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from "node:worker_threads";
import type { CompileMessage, CompileReply, CompilerThread } from "../../emu/jit/compile-protocol.ts";

/** What a worker gets to begin with. @internal */
export interface CompilerWorkerData {
  readonly port: MessagePort;
  /** How many messages the worker has sent: cheaper to look at than the port. */
  readonly sent: Int32Array;
}

/** Lies beside this module, in the sources as in the build. */
const WORKER = import.meta.url.endsWith(".ts") ? "./compiler-worker.ts" : "./compiler.cjs";
/** Most of what the compiler allocates is garbage soon. */
const YOUNG_GENERATION_MB = 16;

/** Starts a worker that compiles hot code (CompileServer). Node does not wait for it when it ends. */
export function startCompilerThread(): CompilerThread {
  return new NodeCompilerThread();
}

class NodeCompilerThread implements CompilerThread {
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #sent = new Int32Array(new SharedArrayBuffer(4));
  #received = 0;
  #failure: string | undefined;

  constructor() {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    const workerData: CompilerWorkerData = { port: port2, sent: this.#sent };
    this.#worker = new Worker(new URL(WORKER, import.meta.url), {
      workerData,
      transferList: [port2],
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
    });
    this.#worker.unref();
    const fail = (reason: string): void => {
      this.#failure ??= reason;
    };
    this.#worker.on("error", (error) => fail(error instanceof Error ? error.message : String(error)));
    this.#worker.on("exit", (status) => fail(`it ended with status ${status}`));
  }

  post(message: CompileMessage): void {
    this.#port.postMessage(
      message,
      (message.pages ?? []).map(({ bytes }) => bytes.buffer as ArrayBuffer),
    );
  }

  receive(): CompileReply | undefined {
    if (Atomics.load(this.#sent, 0) !== this.#received) {
      const received = receiveMessageOnPort(this.#port);
      if (received !== undefined) {
        this.#received++;
        return received.message as CompileReply;
      }
    }
    return this.#failure === undefined ? undefined : failed(this.#failure);
  }

  close(): void {
    void this.#worker.terminate();
  }
}

/** What a thread says that can't go on. @internal */
export function failed(failure: string): CompileReply {
  const none = { regions: [], targets: [], helpers: [], fuses: undefined, refused: [], missing: [] };
  return { ...none, failure, milliseconds: 0 };
}
