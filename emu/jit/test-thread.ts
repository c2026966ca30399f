import type { CompileMessage, CompileReply, CompilerThread } from "./compile-protocol.ts";
import { CompileServers } from "./compile-server.ts";

/** A compiler thread for tests that is none: it works when it is asked for answers, as soon as a test lets it. */
export class TestThread implements CompilerThread {
  readonly #server = new CompileServers(() => 0);
  readonly #isDue: () => boolean;
  readonly #inbox: CompileMessage[] = [];
  /** What it was asked, and what it has answered. */
  readonly messages: CompileMessage[] = [];
  readonly replies: CompileReply[] = [];
  /** Why it fails from now on. */
  failure: string | undefined;
  isClosed = false;

  /** @param isDue takes it the next step now? */
  constructor(isDue: () => boolean = () => true) {
    this.#isDue = isDue;
  }

  post(message: CompileMessage): void {
    // As they are now: the guest's stops, for instance, may change.
    const copy = structuredClone(message);
    this.#inbox.push(copy);
    this.messages.push(copy);
  }

  receive(): CompileReply | undefined {
    if (!this.#isDue()) return undefined;
    const empty = { regions: [], targets: [], helpers: [], fuses: undefined, refused: [], missing: [] };
    if (this.failure !== undefined) return { ...empty, failure: this.failure, milliseconds: 0 };
    for (const message of this.#inbox.splice(0)) this.#server.receive(message);
    const reply = this.#server.work();
    if (reply === undefined) return undefined;
    this.replies.push(reply);
    return reply;
  }

  close(): void {
    this.isClosed = true;
  }
}
