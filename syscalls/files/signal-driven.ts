import { O_ASYNC } from "../abi/fcntl.ts";
import { POLLIN, POLLOUT, POLLRDNORM, POLLWRBAND, POLLWRNORM } from "../abi/poll.ts";
import { POLL_IN, POLL_OUT, SI_KERNEL, SI_SIGIO, SIGNAL } from "../abi/signals.ts";
import type { SignalInfo } from "../signals/info.ts";
import type { FileDescription } from "./description.ts";

/** F_OWNER_TID, F_OWNER_PID, F_OWNER_PGRP (fcntl(2), F_SETOWN_EX). */
export const OWNER_KINDS = ["thread", "process", "group"] as const;

/** Whom a file's signals go to (Linux: struct fown_struct). */
export interface FileOwner {
  readonly kind: (typeof OWNER_KINDS)[number];
  readonly id: number;
  /** Sends it a signal; false if there are too many in its queue. Whoever is gone by then is sent nothing. */
  send(info: SignalInfo): boolean;
}

/** Signals that have codes of their own: SI_SIGIO tells them apart (fs/fcntl.c, send_sigio_to_task). */
const OWN_CODES: ReadonlySet<number> = new Set([
  ...[SIGNAL.SIGILL, SIGNAL.SIGFPE, SIGNAL.SIGSEGV, SIGNAL.SIGBUS, SIGNAL.SIGTRAP, SIGNAL.SIGCHLD, SIGNAL.SIGSYS],
]);

/**
 * Signal-driven input and output of a file (fcntl(2), "Managing signals"; Linux: fs/fcntl.c, kill_fasync and
 * send_sigio): its owner is sent a signal when there is input, or room for output again.
 */
export class SignalDriven {
  owner: FileOwner | undefined;
  /** F_SETSIG; 0 is SIGIO without further information. */
  signal = 0;
  readonly #description: FileDescription;
  /** The descriptor that asked for it, which the signal tells. */
  #fd = -1;
  #hadRoom = false;
  readonly #look = (): void => this.#tell();

  constructor(description: FileDescription) {
    this.#description = description;
  }

  /** O_ASYNC has changed. */
  turn(fd: number): void {
    const description = this.#description;
    description.queue.remove(this.#look);
    description.onRelease.delete(this.#stop);
    if (!(description.flags & O_ASYNC)) return;
    this.#fd = fd;
    this.#hadRoom = (description.poll() & POLLOUT) !== 0;
    description.queue.add(this.#look);
    description.onRelease.add(this.#stop);
  }

  readonly #stop = (): void => this.#description.queue.remove(this.#look);

  #tell(): void {
    const mask = this.#description.poll();
    const hasRoom = (mask & POLLOUT) !== 0;
    if (mask & POLLIN) this.#send(POLL_IN, POLLIN | POLLRDNORM);
    // A pipe's writers are woken for room alone; of others it is not known what they are woken for.
    else if (hasRoom && !(this.#hadRoom && this.#description.readable))
      this.#send(POLL_OUT, POLLOUT | POLLWRNORM | POLLWRBAND);
    this.#hadRoom = hasRoom;
  }

  #send(reason: number, band: number): void {
    const { owner, signal } = this;
    if (owner === undefined) return;
    const code = OWN_CODES.has(signal) ? SI_SIGIO : reason;
    if (signal !== 0 && owner.send({ signal, code, band, fd: this.#fd })) return;
    owner.send({ signal: SIGNAL.SIGIO, code: SI_KERNEL });
  }
}
