// What the worker behind startCompilerThread does: it takes messages, compiles, and answers.
import { flushCompileCache } from "node:module";
import { type MessagePort, receiveMessageOnPort, workerData } from "node:worker_threads";
import type { CompileMessage, CompileReply } from "../../emu/jit/compile-protocol.ts";
import { CompileServers } from "../../emu/jit/compile-server.ts";
import { type CompilerWorkerData, failed } from "./compiler-thread.ts";

const { port, sent } = workerData as CompilerWorkerData;
// `performance` would be loaded first.
const servers = new CompileServers(() => {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e3 + nanoseconds / 1e6;
});
/** Has the compiler's own code been left to V8's compile cache? */
let isCodeKept = false;

port.on("message", (message: CompileMessage) => {
  try {
    serve(port, message);
  } catch (error) {
    send(port, failed(error instanceof Error ? error.message : String(error)));
    port.close();
  }
});

/** Takes a message and all that wait behind it, until nothing is left to compile. */
function serve(port: MessagePort, message: CompileMessage): void {
  servers.receive(message);
  do {
    for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port))
      servers.receive(next.message as CompileMessage);
    const reply = servers.work();
    if (reply !== undefined) send(port, reply);
  } while (servers.isBusy);
  if (isCodeKept) return;
  // The end of a program leaves no time for it. By now V8 has compiled most of the compiler, which is what a start waits for.
  flushCompileCache();
  isCodeKept = true;
}

function send(port: MessagePort, reply: CompileReply): void {
  port.postMessage(reply, reply.moduleBytes === undefined ? [] : [reply.moduleBytes.buffer as ArrayBuffer]);
  Atomics.add(sent, 0, 1);
}
