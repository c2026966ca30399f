import type { CompileReply, CompilerThread } from "./compile-protocol.ts";

/** A thread that compiles for all cores of a machine, each of which sees it as its own. It is started when the first wants it. */
export class SharedThread {
  readonly #start: () => CompilerThread;
  #thread: CompilerThread | undefined;
  /** What has come for each core and was not received yet. */
  readonly #inboxes = new Map<number, CompileReply[]>();
  #nextCore = 0;
  #failure: CompileReply | undefined;

  constructor(start: () => CompilerThread) {
    this.#start = start;
  }

  /** Has it failed? Then whoever comes now does without. */
  get hasFailed(): boolean {
    return this.#failure !== undefined;
  }

  /** The thread as one more core sees it. */
  connect(): CompilerThread {
    this.#thread ??= this.#start();
    const thread = this.#thread;
    const core = this.#nextCore++;
    const inbox: CompileReply[] = [];
    this.#inboxes.set(core, inbox);
    return {
      post: (message) => thread.post({ ...message, core }),
      receive: () => {
        this.#sort(thread);
        return inbox.shift() ?? this.#failure;
      },
      close: () => {
        if (this.#inboxes.delete(core) && !this.hasFailed) thread.post({ core, isLast: true });
      },
    };
  }

  /** Looks what has come, and for whom. */
  #sort(thread: CompilerThread): void {
    if (this.#failure !== undefined) return;
    for (let reply = thread.receive(); reply !== undefined; reply = thread.receive()) {
      if (reply.failure !== undefined) {
        this.#failure = reply;
        return;
      }
      this.#inboxes.get(reply.core ?? 0)?.push(reply);
    }
  }

  /** No core wants anything any more. */
  close(): void {
    this.#thread?.close();
    this.#thread = undefined;
    this.#inboxes.clear();
  }
}
