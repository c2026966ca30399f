import { SyscallError } from "../abi/errno.ts";
import { SI_USER, SIGNAL } from "../abi/signals.ts";
import { Block, type SyscallResult } from "../block.ts";
import type { Process } from "../process.ts";
import type { Thread } from "../thread.ts";
import { type FileDescription, WOULD_BLOCK } from "./description.ts";
import type { IoVector } from "./io-vector.ts";

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

/**
 * Runs a read until it has something: at once, by waiting, or with EAGAIN if the description does not wait.
 * @param attempt returns WOULD_BLOCK as long as there is nothing
 */
export function readOrWait(description: FileDescription, attempt: () => number): SyscallResult {
  const result = attempt();
  if (result !== WOULD_BLOCK || description.nonblocking) return result;
  description.acquire();
  return new Block({
    on: [description.queue],
    retry: () => {
      const count = attempt();
      return count === WOULD_BLOCK ? null : count;
    },
    cleanup: () => description.release(),
  });
}

/** Runs a write until all is written, or as much as can be without waiting. EPIPE comes with SIGPIPE (write(2)). */
export function writeOrWait(
  process: Process,
  thread: Thread,
  description: FileDescription,
  from: IoVector,
  attempt: () => number,
): SyscallResult {
  const guarded = (): number => {
    try {
      return attempt();
    } catch (error) {
      const broken = error instanceof SyscallError && error.message === "EPIPE";
      if (broken) process.sendSignalToThread(thread, SIGNAL.SIGPIPE, { code: SI_USER });
      if (from.done > 0) return from.done;
      throw error;
    }
  };
  const result = guarded();
  if (description.nonblocking || (result !== WOULD_BLOCK && !waitsForAll(description, from))) return result;
  description.acquire();
  return new PartialBlock(
    {
      on: [description.queue],
      retry: () => {
        for (;;) {
          const count = guarded();
          if (count === WOULD_BLOCK) return null;
          if (!waitsForAll(description, from)) return from.done;
          if (count === 0) return from.done;
        }
      },
      cleanup: () => description.release(),
    },
    from,
  );
}

/** Does a blocking write go on until everything is written? Streams do; files stop where the disk is full. */
function waitsForAll(description: FileDescription, from: IoVector): boolean {
  return !description.seekable && from.remaining > 0;
}
