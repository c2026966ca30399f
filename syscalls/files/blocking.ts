import { SyscallError } from "../abi/errno.ts";
import { SI_USER, SIGNAL } from "../abi/signals.ts";
import { Block, type SyscallResult } from "../block.ts";
import type { Process } from "../process.ts";
import type { Thread } from "../thread.ts";
import { type FileDescription, WOULD_BLOCK } from "./description.ts";
import { IoVector } from "./io-vector.ts";

/**
 * A wait that may have moved some bytes already. A signal that ends it must not restart the call: the call returns
 * `transferred` if that is not 0 (Linux: fs/pipe.c, pipe_write).
 */
export class PartialBlock extends Block {
  readonly #vector: IoVector;

  constructor(init: ConstructorParameters<typeof Block>[0], vector: IoVector) {
    super(init);
    this.#vector = vector;
  }

  /** Bytes moved so far: what an interrupted call returns, if not 0. */
  get transferred(): number {
    return this.#vector.done;
  }
}

/** A call that waits for a limited time does not start again (include/net/sock.h, sock_intr_errno). */
export const restartUnless = (deadline: number): "restart" | "eintr" =>
  deadline === Number.POSITIVE_INFINITY ? "restart" : "eintr";

/**
 * Runs a read until it has something: at once, by waiting, or with EAGAIN if the description does not wait.
 * @param attempt returns WOULD_BLOCK as long as there is nothing, or not enough
 * @param to where a read puts its bytes that may have got some, and waits for more (VMIN of terminals)
 * @param over told at the end of a wait how many bytes there were
 */
export function readOrWait(
  description: FileDescription,
  attempt: () => number,
  to = NOWHERE,
  over?: (bytes: number) => void,
): SyscallResult {
  const result = attempt();
  if (result !== WOULD_BLOCK || description.nonblocking) return result;
  const deadline = description.readDeadline();
  description.acquire();
  return new PartialBlock(
    {
      on: [description.queue],
      retry: () => {
        const count = attempt();
        return count === WOULD_BLOCK ? null : count;
      },
      deadline,
      timeout: () => WOULD_BLOCK,
      onSignal: restartUnless(deadline),
      cleanup: () => {
        description.endRead(to);
        over?.(to.done);
        description.release();
      },
    },
    to,
  );
}

const NOWHERE = IoVector.buffer(new Uint8Array(0));

/**
 * Runs a write; EPIPE comes with SIGPIPE for the calling thread (write(2)).
 * @param process undefined for no signal (send(2), MSG_NOSIGNAL)
 */
export function withBrokenPipe<T>(process: Process | undefined, thread: Thread, run: () => T): T {
  try {
    return run();
  } catch (error) {
    const broken = error instanceof SyscallError && error.message === "EPIPE";
    if (broken) process?.sendSignalToThread(thread, SIGNAL.SIGPIPE, { code: SI_USER });
    throw error;
  }
}

/**
 * Runs a write until all is written, or as much as can be without waiting. EPIPE comes as in withBrokenPipe.
 * @param over told at the end of a wait how many bytes went out
 */
export function writeOrWait(
  process: Process | undefined,
  thread: Thread,
  description: FileDescription,
  from: IoVector,
  attempt: () => number,
  over?: (bytes: number) => void,
): SyscallResult {
  let moved = 0;
  let last = -1;
  const guarded = (): number => {
    try {
      const count = withBrokenPipe(process, thread, attempt);
      if (count === WOULD_BLOCK) return count;
      moved += count;
      return moved;
    } catch (error) {
      if (moved > 0) return moved;
      throw error;
    }
  };
  /** Everything, as much as a fault or a closed end let through, or WOULD_BLOCK if the rest has to wait. */
  const run = (): number => {
    for (;;) {
      const count = guarded();
      if (count === WOULD_BLOCK || !description.writesAll || from.remaining === 0) return count;
      // After the first bytes a failure shows as no progress.
      if (moved === last) return count;
      last = moved;
    }
  };
  const result = run();
  if (result !== WOULD_BLOCK) return result;
  if (description.nonblocking) return moved > 0 ? moved : result;
  const deadline = description.writeDeadline();
  description.acquire();
  return new PartialBlock(
    {
      on: [description.queue],
      retry: () => {
        const count = run();
        return count === WOULD_BLOCK ? null : count;
      },
      deadline,
      timeout: () => (moved > 0 ? moved : WOULD_BLOCK),
      onSignal: restartUnless(deadline),
      cleanup: () => {
        over?.(moved);
        description.release();
      },
    },
    from,
  );
}
